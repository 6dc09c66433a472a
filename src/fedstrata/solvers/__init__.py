"""Solvers for the layer-selection problem: numpy and scipy only."""

from fedstrata.solvers.solve import Solution, solve

__all__ = ["Solution", "solve"]
