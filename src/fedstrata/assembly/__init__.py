"""From a checked configuration to a run that is ready to start: model, rows, clients, prices, engine and folder."""
