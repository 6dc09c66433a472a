"""Processes that end with whoever started them, from their first moment on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedstrata.parents import bound

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


@linux
def test_a_bound_command_is_the_command(tmp_path: Path) -> None:
    words = bound([sys.executable, "-I", "-S", "-c", "import sys; print(sys.argv[1:], end='')", "a", "b c"])
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.communicate()[0] == "['a', 'b c']"
    assert process.returncode == 0


@linux
def test_a_process_whose_parent_has_ended_before_it_was_bound_does_nothing(tmp_path: Path) -> None:
    """What is asked of Linux comes too late then: the end has been."""
    words = bound([sys.executable, "-I", "-S", "-c", f"open({str(tmp_path / 'done')!r}, 'w')"])
    other = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])  # any process that is not the parent
    words[words.index(str(os.getpid()))] = str(other.pid)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    other.wait()
    assert (done.returncode, done.stderr) == (1, "whoever started this has ended\n")
    assert not (tmp_path / "done").exists()


@linux
def test_a_bound_process_gets_its_signal_when_its_parent_is_killed() -> None:
    child = "import signal, time; print('up', flush=True); time.sleep(600)"
    program = (
        "import subprocess, sys, time; from fedstrata.parents import bound; import signal\n"
        f"subprocess.Popen(bound([sys.executable, '-S', '-c', {child!r}], signal.SIGTERM)); time.sleep(600)"
    )
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", program], stdout=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        assert said.readline() == b"up\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert said.read() == b""  # the pipe's end: the child is gone, too


def test_elsewhere_a_command_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert bound(["a", "b"]) == ["a", "b"]
