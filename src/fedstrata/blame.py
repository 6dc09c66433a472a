"""Whose code failed: fedstrata's, a library's, or a component or model of the user's own."""

from __future__ import annotations

import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_HERE = Path(__file__).resolve().parent
_LIBRARIES = tuple(
    Path(p).resolve()
    for p in {
        *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)
_INSTALLED = {"site-packages", "dist-packages"}
_PLAYING = "fedstrata.server."
"""Modules that play a run: what fails below them fails in training, and not when the run is prepared."""

OWN: set[str] = set()
"""Top-level names of modules that a configuration named: they are the user's wherever they lie, as a plugin does."""


def note_own(module: str) -> None:
    """Remember that a configuration named a module.

    Args:
        module: Its name; modules of fedstrata, and ``__main__``, are not noted.
    """
    top = module.partition(".")[0]
    if top not in ("fedstrata", "__main__"):  # every trace begins in __main__, whoever failed
        OWN.add(top)


def own_code(error: BaseException) -> tuple[str, int] | None:
    """Return where code of the user's own failed, as a sentence, and the exit code; ``None`` where none was at work.

    Example:
        See ``tests/cli/test_own_components.py``.
    """
    place, playing = place_of(error), any(name.startswith(_PLAYING) for _, name in _trace(error))
    if place is None:
        return None
    said = " ".join(str(error).split()) or "without a message"
    return f"{type(error).__name__}: {said}; it was raised in your own code: {place}", 4 if playing else 2


def told(error: BaseException) -> str:
    """Return an error in a sentence, which names code of the user's own that raised it."""
    own = own_code(error)
    return f"{type(error).__name__}: {error}" if own is None else own[0]


def raised(error: BaseException) -> str:
    """Return an error in one line, with the function of the user's own that raised it."""
    place = place_of(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}{f' in {place}' if place else ''}"


def place_of(error: BaseException) -> str | None:
    """Return which function of the user's own raised an error, with file and line; ``None`` where none did."""
    place = None
    for trace, name in _trace(error):
        code = trace.tb_frame.f_code
        if _is_own(name, code.co_filename):
            place = f"{code.co_qualname} ({code.co_filename}:{trace.tb_lineno})"
    return place


def kind_of(error: BaseException) -> str:
    """Return the name of an error's class; of one of the user's own, the nearest class below it that is not.

    A name that the user's own code has chosen may say anything, and so stays where that code runs.

    Example:
        >>> kind_of(KeyError("patient 17"))
        'KeyError'
    """
    return next(kind.__name__ for kind in type(error).__mro__ if not _is_own(kind.__module__, _file_of(kind)))


def _file_of(kind: type) -> str:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""


def _trace(error: BaseException) -> Iterator[tuple[TracebackType, str]]:
    """Yield where an error came through, outermost first, each with the module's name."""
    trace = error.__traceback__
    while trace is not None:
        yield trace, str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next


def _is_own(module: str, file: str) -> bool:
    top = module.partition(".")[0]
    if top in OWN:
        return True
    path = Path(file)
    if top in ("fedstrata", "__main__") or not path.is_file():  # a built-in, a frozen module, a script that calls us
        return False
    resolved = path.resolve()
    if _INSTALLED & set(resolved.parts):  # also of an environment beside this one
        return False
    return not any(resolved.is_relative_to(folder) for folder in (_HERE, *_LIBRARIES))
