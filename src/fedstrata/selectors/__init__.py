"""Selectors: the layers that each client of a round trains."""
