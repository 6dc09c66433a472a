"""Aggregators: how updates become the next global weights, layer by layer."""
