"""Trying something as another user of this machine, which a test can where it runs as root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NOBODY = 65534
_AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def no_other_user() -> str | None:
    """Return why nothing can be tried as another user here, or ``None``."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        return "needs root and setpriv, to become another user"
    tried = subprocess.run([*_AS_NOBODY, sys.executable, "-I", "-c", ""], capture_output=True, check=False)
    return f"another user cannot run {sys.executable}" if tried.returncode else None


def tries(*, paths: Iterable[Path] = (), addresses: Iterable[str] = ()) -> dict[str, Any]:
    """Return what ``stranger.py`` makes of it as another user."""
    asked = {"paths": [str(path) for path in paths], "addresses": list(addresses)}
    program = Path(__file__).with_name("stranger.py").read_text(encoding="utf-8")
    done = as_another(sys.executable, "-I", "-c", program, said=json.dumps(asked))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def as_another(
    *command: str, said: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as another user."""
    return subprocess.run(
        [*_AS_NOBODY, *command], input=said, env=environment, cwd="/", capture_output=True, text=True, check=False
    )
