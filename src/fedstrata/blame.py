"""Whose code failed: fedstrata's, a library's, or a component or model of the user's own."""

from __future__ import annotations

import site
import sysconfig
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
        module: Its name; modules of fedstrata are not noted.
    """
    top = module.partition(".")[0]
    if top != "fedstrata":
        OWN.add(top)


def own_code(error: BaseException) -> tuple[str, int] | None:
    """Return where code of the user's own failed, as a sentence, and the exit code; ``None`` where none was at work.

    Example:
        See ``tests/cli/test_own_components.py``.
    """
    place, playing = None, False
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        name = str(frame.f_globals.get("__name__", ""))
        playing = playing or name.startswith(_PLAYING)
        if _is_own(name, frame.f_code.co_filename):
            place = f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    if place is None:
        return None
    said = " ".join(str(error).split()) or "without a message"
    return f"{type(error).__name__}: {said}; it was raised in your own code: {place}", 4 if playing else 2


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
