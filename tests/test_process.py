"""Processes that were started: waited for, ended, and told of in words; of what they leave behind see ``services``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedstrata.process import code, end, in_words, last_words

STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"


def python(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", program], stdout=subprocess.PIPE, process_group=0)


def test_a_process_that_does_not_end_by_itself_is_killed() -> None:
    with python(STUBBORN) as process:
        assert process.stdout
        process.stdout.readline()
        process.terminate()
        assert code(process, within=0) is None
        end(process, patience=0.01)
        assert code(process, within=0) == -9


def test_a_process_that_ends_by_itself_keeps_its_code() -> None:
    with python("raise SystemExit(3)") as process:
        end(process, patience=3600)
        assert code(process, within=0) == 3
        end(process)


@pytest.mark.parametrize(
    ("number", "words"),
    [(None, "closed its pipe"), (-15, "was killed (SIGTERM)"), (-63, "crashed (signal 63)"), (0, "exited with code 0")],
)
def test_every_end_has_its_words(number: int | None, words: str) -> None:
    assert in_words(number) == words


@pytest.mark.parametrize("write", [lambda path: None, Path.mkdir, Path.touch])
def test_a_file_without_words_has_none(write: Callable[[Path], object], tmp_path: Path) -> None:
    write(tmp_path / "log")
    assert last_words(tmp_path / "log") == ""


def test_the_last_words_are_the_end_of_a_long_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 2**16 + b"\xff end\n\n")
    assert last_words(tmp_path / "log").lstrip("x") == "\N{REPLACEMENT CHARACTER} end"
