"""What a training step costs: operations and memory by lowest trained layer, measured without weights."""
