"""Reason codes: why a message, a client or a round did not count. Every loss carries one."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something did not count.

    Example:
        >>> Reason.LATE, f"{Reason.LATE}"
        (<Reason.LATE: 'LATE'>, 'LATE')
    """

    LATE = "LATE"
    """No sound answer came within the deadline."""
    DUPLICATE = "DUPLICATE"
    """The same answer came again; the first one counts."""
    CONFLICT = "CONFLICT"
    """Another answer came for work that was already answered; the first one counts."""
    STALE = "STALE"
    """The message belongs to another run, round, attempt, phase or starting point."""
    SCHEMA = "SCHEMA"
    """The message is not what was asked for: other names, shapes, types or masks, or it was damaged on its way."""
    NONFINITE = "NONFINITE"
    """A loss, a statistic or an update holds a value that is not finite."""
    NORM = "NORM"
    """An update is larger than any update may be."""
    SIZE = "SIZE"
    """The message is longer or shorter than what was asked for can be."""
    AUTH = "AUTH"
    """The message comes in the name of a client that was not asked."""
    BELOW_QUORUM = "BELOW_QUORUM"
    """Too few clients answered: the layer or the round does not count."""
    CLIENT_ERROR = "CLIENT_ERROR"
    """The client's own work failed, or its process ended."""
    REFUSED = "REFUSED"
    """The client's own limits forbid the work."""
