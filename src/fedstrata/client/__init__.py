"""The client's side of a round: probe, train, evaluate, on one resident model."""
