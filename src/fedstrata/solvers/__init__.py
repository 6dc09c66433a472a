"""Solvers for the layer-selection problem: numpy and scipy only."""

from fedstrata.solvers.p1 import Solution, solve

__all__ = ["Solution", "solve"]
