"""Every error that fedstrata raises, and the exit code that the command line gives it.

FedstrataError                     1   anything below; catch this to catch all
├── ConfigError                    2   the configuration, or what it names, is wrong (all problems at once)
│   ├── LayerError                 2   a layer that does not exist, is tied, or may not be selected
│   ├── ModelError                 2   a model folder that is missing, unreadable, or has the wrong head
│   ├── BudgetError                2   a budget that nobody can spend, or that a selector cannot honour
│   └── ComponentError             2   a component of one's own that returns what its family does not
├── DataError                      3   a file, column, label or client without usable rows
│   └── LabelError                 3   a row whose label the run does not have
└── TrainingError                  4   a run that cannot go on
    ├── AbandonedError             4   a round that too few clients answered; it did not happen
    ├── ClientError                4   a client's local work failed (crosses the engine as a ``Failure`` value)
    ├── SelectionError             4   a selector broke its contract
    ├── StorageError               4   a run folder that cannot be written, such as a full disk
    └── CheckpointError            4   a run folder that cannot be read or resumed
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

INTERRUPTED = 130
"""Exit code of a run that Ctrl-C ended early; it is saved and can be resumed."""


class FedstrataError(Exception):
    """The base of every error that a caller may act on."""

    exit_code = 1


class ConfigError(FedstrataError):
    """The configuration, or something that it names, is wrong."""

    exit_code = 2


class LayerError(ConfigError):
    """A layer does not exist, is tied to another, or may not be selected."""


class ModelError(ConfigError):
    """A model cannot be loaded or does not fit the task."""


class BudgetError(ConfigError):
    """A budget cannot be spent or honoured."""


class ComponentError(ConfigError):
    """A component of the user's own returns what its family does not."""


class DataError(FedstrataError):
    """The data cannot be read or do not fit the task."""

    exit_code = 3


class LabelError(DataError):
    """A row has a label that the run does not have."""


class TrainingError(FedstrataError):
    """A run cannot go on."""

    exit_code = 4


class ClientError(TrainingError):
    """A client's local work failed; ``reason`` is the code that the records count."""

    def __init__(self, message: str, *, reason: str = "CLIENT_ERROR") -> None:
        super().__init__(message)
        self.reason = reason


class AbandonedError(TrainingError):
    """Too few clients answered, so the round did not happen; ``facts`` are those that the log keeps."""

    def __init__(self, message: str, facts: Any) -> None:  # noqa: ANN401  a value of a floor above
        super().__init__(message)
        self.facts = facts


class SelectionError(TrainingError):
    """A selector returned something that its problem does not allow."""


class StorageError(TrainingError):
    """A run folder cannot be written."""


class CheckpointError(TrainingError):
    """A run folder cannot be read or resumed."""


_COMPARED = 200
"""Characters of words that are compared: comparing texts takes the product of their lengths."""


def nearest(word: str, known: Iterable[str], *, count: int = 3) -> str:
    """Return a hint that names the known words nearest to ``word``, or all of them if none is near.

    Example:
        >>> nearest("slector", ["selector", "sampler"])
        "did you mean 'selector'?"
        >>> nearest("zzz", ["full", "top"])
        'known: full, top'
    """
    words = list(known)
    short = [w for w in words if len(w) <= _COMPARED] if len(word) <= _COMPARED else []
    close = get_close_matches(word, short, n=count, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(f"'{w}'" for w in close) + "?"
    shown = ", ".join(map(shortened, words[:12]))
    return f"known: {shown}" + (f", ... ({len(words)} in all)" if len(words) > 12 else "")


def shortened(text: str, most: int = 80) -> str:
    """Return a text as an error quotes it: in one line, and cut if it is long.

    Example:
        >>> shortened("layer"), shortened("vit.encoder.layer.1", 12)
        ('layer', 'vit.encod...')
    """
    line = " ".join(text.split()) if "\n" in text or "\r" in text else text
    return line if len(line) <= most else f"{line[: most - 3]}..."
