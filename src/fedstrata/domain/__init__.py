"""Values that every part speaks of: layers, statistics, selections, costs, records, seeds. No torch."""
