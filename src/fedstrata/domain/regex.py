"""Regular expressions over layer names, whose matching takes at most the pattern's length times the name's.

A pattern may come from somebody else, such as the server of a run, and Python's own matcher tries every way in which it
could fit: ``(a+)+b`` against thirty letters takes minutes. Here all ways are followed side by side, a character at a
time. Ken Thompson, "Regular Expression Search Algorithm", Communications of the ACM, 1968,
https://doi.org/10.1145/363347.363387.

What needs more than that (back references, looking ahead or behind) is refused; all else means what it means in ``re``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MOST_CHARACTERS = 200
"""Characters of a pattern."""
MOST_STATES = 400
"""States of a pattern, with its repetitions written out."""

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?:|\(\?|.", re.DOTALL)
_REPEAT = re.compile(r"(?:([*+?])|\{(?!\})(\d*)(?:(,)(\d*))?\})([?+]?)", re.ASCII)
_NAMING = re.compile(r"\\[A-Za-z0-9](?<![dDsSwWbBAZnrtfv])")
"""A backslash and a letter or digit that name a group or a character; the others mean something of one place."""
_WIDTHLESS = frozenset({"^", "$", r"\A", r"\Z", r"\b", r"\B"})
_ENDLESS = {"*": (0, None), "+": (1, None), "?": (0, 1)}

_Part = Callable[[int], int]
"""Adds a part of a pattern in front of a state, and returns the state that it begins with."""


class PatternError(ValueError):
    """A text is no pattern; the message says why in a few words."""


@dataclass(frozen=True, slots=True)
class _State:
    """Where a match may stand: what has to come next, if anything, and the states behind it."""

    takes: re.Pattern[str] | None
    widthless: bool
    then: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that has been read.

    Attributes:
        states: Of its automaton; the first one is the end.
        start: Number of the state that a match begins with.
    """

    states: tuple[_State, ...]
    start: int

    def found_in(self, name: str) -> bool:
        """Return whether the pattern fits some part of a name.

        Example:
            >>> pattern_of("layers[.][0-2]$").found_in("vit.layers.1")
            True
        """
        reached: set[int] = set()
        for at in range(len(name) + 1):
            active = self._without_moving({self.start, *reached}, name, at)
            if 0 in active:
                return True
            reached = {
                follower
                for state in map(self.states.__getitem__, active)
                if state.takes is not None and not state.widthless and state.takes.match(name, at)
                for follower in state.then
            }
        return False

    def _without_moving(self, states: set[int], name: str, at: int) -> set[int]:
        """Return these states and those that can be had from them without taking a character."""
        found, waiting = set(states), list(states)
        while waiting:
            state = self.states[waiting.pop()]
            if state.takes is None or (state.widthless and state.takes.match(name, at)):
                new = [follower for follower in state.then if follower not in found]
                found.update(new)
                waiting += new
        return found


def pattern_of(text: str) -> Pattern:
    """Return the pattern that a text writes.

    Raises:
        PatternError: It is too long, no regular expression, or one that cannot be matched step by step.

    Example:
        >>> pattern_of("attn|mlp").found_in("h.0.mlp")
        True
        >>> pattern_of("(?=a)b")
        Traceback (most recent call last):
        fedstrata.domain.regex.PatternError: '(?=' is not understood; use characters, classes, groups and | * + ? {}
    """
    if len(text) > MOST_CHARACTERS:
        raise PatternError(f"it has {len(text)} characters, and {MOST_CHARACTERS} are the most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of sets in sets, which mean today what they always meant
            re.compile(text)
            return _Reader(text).pattern()
    except (re.error, OverflowError) as error:
        raise PatternError(f"it is not a regular expression: {error}") from error
    except RecursionError as error:
        raise PatternError("it has too many groups inside each other") from error


@dataclass(slots=True)
class _Reader:
    """One text on its way to a pattern; ``re`` has said that it is well formed."""

    text: str
    at: int = 0
    flags: re.RegexFlag = re.NOFLAG
    states: list[_State] = field(default_factory=lambda: [_State(None, widthless=True, then=())])
    work: int = 0

    def pattern(self) -> Pattern:
        if self.text.startswith("(?i)"):
            self.at, self.flags = 4, re.IGNORECASE
        start = self.choice()(0)
        return Pattern(tuple(self.states), start)

    def choice(self) -> _Part:
        """Read alternatives up to the end of their group."""
        branches = [self.sequence()]
        while self.text.startswith("|", self.at):
            self.at += 1
            branches.append(self.sequence())
        if len(branches) == 1:
            return branches[0]
        return lambda end: self.state(None, tuple(branch(end) for branch in branches))

    def sequence(self) -> _Part:
        parts = list(self.parts())

        def add(end: int) -> int:
            for part in reversed(parts):
                end = part(end)
            return end

        return add

    def parts(self) -> Iterator[_Part]:
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            part = self.part()
            if repeat := _REPEAT.match(self.text, self.at):
                self.at = repeat.end()
                part = self.repeated(part, repeat)
            yield part

    def part(self) -> _Part:
        match = _TOKEN.match(self.text, self.at)
        token = match[0] if match else self.text[self.at]
        self.at += len(token)
        if token in ("(", "(?:"):
            inner = self.choice()
            self.at += 1  # the group's end
            return inner
        if token == "(?":
            raise _unknown(self.text[self.at - 2 : self.at + 1])
        if _NAMING.fullmatch(token):
            raise _unknown(token)
        takes = re.compile(token, self.flags)
        return lambda end: self.state(takes, (end,), widthless=token in _WIDTHLESS)

    def repeated(self, part: _Part, repeat: re.Match[str]) -> _Part:
        if repeat[5] == "+":
            raise _unknown(repeat[0])
        least, most = _bounds(repeat)

        def add(end: int) -> int:
            if most is None:
                end = self.loop(part, end)
            for _ in range(0 if most is None else most - least):
                end = self.state(None, (part(end), end))
            for _ in range(least):
                end = part(end)
                self.count()
            return end

        return add

    def loop(self, part: _Part, end: int) -> int:
        """Add a part that may come any number of times."""
        again = self.state(None, ())
        self.states[again] = _State(None, widthless=True, then=(part(again), end))
        return again

    def state(self, takes: re.Pattern[str] | None, then: tuple[int, ...], *, widthless: bool = True) -> int:
        self.count()
        self.states.append(_State(takes, widthless, then))
        return len(self.states) - 1

    def count(self) -> None:
        self.work += 1
        if self.work > MOST_STATES:
            raise PatternError(
                f"with its repetitions written out it has more than {MOST_STATES} parts; write it shorter"
            )


def _bounds(repeat: re.Match[str]) -> tuple[int, int | None]:
    if repeat[1]:
        return _ENDLESS[repeat[1]]
    least = int(repeat[2] or 0)
    if not repeat[3]:
        return least, least
    return least, int(repeat[4]) if repeat[4] else None


def _unknown(shown: str) -> PatternError:
    return PatternError(f"'{shown}' is not understood; use characters, classes, groups and | * + ? {{}}")
