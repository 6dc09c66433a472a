"""How rounds are numbered: requests, states and selectors count the rounds that are done, people count from 1."""

from __future__ import annotations


def number(phase: str, done: int) -> int:
    """Return the round that people say a request belongs to; 0 is the starting point, before any training.

    Args:
        phase: Phase of the request. An evaluation looks at the weights after a round, every other phase works in one.
        done: Rounds that were done when it was asked for, as the request says; -1 before the run began.

    Example:
        >>> number("train", 0), number("evaluate", 1), number("evaluate", 0), number("join", -1)
        (1, 1, 0, 0)
    """
    return done if phase == "evaluate" else done + 1
