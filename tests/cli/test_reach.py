"""Files and folders that somebody names and that are out of reach are told by name, and called no bug."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedstrata.cli.reach import out_of_reach

LONG = "x" * 300
VERBS = ("init", "run", "plan", "layers", "resume", "report", "compare", "sites", "sweep")
OF_FLOWER = ("new", "key", "certificates", "up")


@pytest.mark.parametrize("verb", [*((verb,) for verb in VERBS), *(("flower", verb) for verb in OF_FLOWER)])
def test_a_name_that_is_too_long_is_told_by_every_verb(cli: Callable[..., Any], verb: tuple[str, ...]) -> None:
    done = cli(*verb, LONG)
    assert done.code == (4 if verb == ("resume",) else 2)
    assert f"'{LONG[:40]}...' is a name of 300 bytes; 255 at most" in done.err
    assert "bug" not in done.err


@pytest.mark.parametrize(
    ("number", "code", "advice"),
    [
        (errno.EACCES, 2, "have its owner let you in, or name another one"),
        (errno.ELOOP, 2, "its links lead in a circle; name what they should lead to"),
        (errno.ENOSPC, 4, "make room"),
        (errno.EROFS, 4, "name a folder that can be written to"),
    ],
)
def test_what_the_system_says_of_a_path_is_passed_on(number: int, code: int, advice: str) -> None:
    said = f"rows/of/others cannot be used: {os.strerror(number)}; {advice}"
    assert out_of_reach(OSError(number, os.strerror(number), "rows/of/others")) == (said, code)


def test_other_errors_are_left_to_whoever_calls_them_bugs() -> None:
    assert out_of_reach(FileNotFoundError(errno.ENOENT, "No such file or directory", "ours")) is None
    assert out_of_reach(OSError(errno.ENOSPC, "No space left on device")) is None
    assert out_of_reach(ValueError("x")) is None


@pytest.mark.parametrize("path", ["there", "/proc/no-such.yaml", "/dev/full"])
def test_where_init_cannot_write_it_says_so(cli: Callable[..., Any], path: str) -> None:
    Path("there").mkdir()
    done = cli("init", path, "--force")
    assert done.code == 2
    assert done.err.startswith(f"fedstrata: {path} ")
    assert "; name " in done.err
