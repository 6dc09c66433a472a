"""Ctrl-C and the signals of schedulers and closed terminals: the first finishes the round, the next stops at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_Handler = Callable[[int, FrameType | None], Any]


@dataclass(slots=True)
class StopFlag:
    """Set by the first signal; asked by the run after each round.

    Attributes:
        wanted: Whether a signal came.
        number: The last one; before there is one, that of Ctrl-C.
    """

    wanted: bool = False
    number: int = signal.SIGINT

    def __call__(self) -> bool:
        """Return whether the run should end after this round."""
        return self.wanted

    @property
    def code(self) -> int:
        """Exit code of a run that it ended: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
        return 128 + self.number


@contextmanager
def finishing_the_round(stop: StopFlag, console: Console) -> Iterator[None]:
    """Turn the first signal into a wish to stop after the round; the second one stops at once."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        again, stop.number = stop.wanted, number
        if again:
            raise KeyboardInterrupt
        stop.wanted = True
        word = "finishing this round and saving"
        if number == signal.SIGINT:
            line = f"{word}; press Ctrl-C again to stop at once"
        else:
            line = f"{signal.Signals(number).name}: {word}; another signal stops at once"
        console.print(line, markup=False, soft_wrap=True)

    with _handled({signal.SIGINT: on_signal, **dict.fromkeys(_ending(), on_signal)}):
        yield


@contextmanager
def ending_well() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end this process as ``SystemExit`` does, so that what it has begun is cleaned up."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handled(dict.fromkeys(_ending(), end)):
        yield


def ended_by(error: SystemExit) -> str | None:
    """Return the name of the signal for which ``ending_well`` raised, or ``None``.

    Example:
        >>> ended_by(SystemExit(143)), ended_by(SystemExit(2)), ended_by(SystemExit("no"))
        ('SIGTERM', None, None)
    """
    codes = {128 + number: number.name for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))}
    return codes.get(error.code) if isinstance(error.code, int) else None


def _ending() -> list[signal.Signals]:
    """Return the signals that end a process, but for those that the parent had it ignore, as nohup does."""
    known = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def _handled(handlers: dict[signal.Signals, _Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
