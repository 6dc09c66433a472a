"""A process that is ready at once is to others what a fresh interpreter is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from warm import popen, run

SEEN = """
import atexit, os, signal, sys
atexit.register(print, "at its end")
print(__name__, sys.argv, os.getcwd(), sorted(os.environ.items()), sys.path)
print([os.readlink(f"/proc/self/fd/{n}").partition(":")[0] for n in (0, 1, 2)], len(os.listdir("/proc/self/fd")))
print([str(signal.getsignal(n)) for n in range(1, 32)], signal.pthread_sigmask(signal.SIG_BLOCK, ()), os.umask(0o22))
print(os.getppid(), os.getpgid(0), os.getsid(0), sys.stdout.line_buffering, sys.stdout.errors, sys.stderr.errors)
sys.stderr.write("a word\\n")
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they are fresh interpreters")


@pytest.mark.parametrize(
    "ending", ["", "sys.exit('too bad')", "sys.exit(3)", "sys.exit()", "raise KeyboardInterrupt", "print(1 / 0)"]
)
def test_it_sees_and_ends_as_a_fresh_interpreter(tmp_path: Path, ending: str) -> None:
    (tmp_path / "seen.py").write_text(SEEN + ending)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "/somewhere:/else", "SAID": "ä"}
    ways: list[list[str]] = [[str(tmp_path / "seen.py"), "-a", "b c"]]
    if not ending:
        environment["PYTHONPATH"] += f":{tmp_path}"
        ways = [["-m", "seen", "-m"], ["-P", "-m", "seen", "x"], *ways]
    for words in ways:
        command = [sys.executable, *words]
        fresh = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        warm = run(command, cwd=tmp_path, env=environment)
        assert (warm.returncode, warm.stdout) == (fresh.returncode, fresh.stdout)
        assert warm.stderr.splitlines()[:1] == fresh.stderr.splitlines()[:1]
        assert warm.stderr.splitlines()[-1:] == fresh.stderr.splitlines()[-1:]


def test_signals_and_kills_end_it(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(3600)")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        process = popen([sys.executable, str(tmp_path / "waits.py")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        assert process.poll() is None
        process.send_signal(number)
        process.communicate()
        assert process.returncode == -number


def test_what_an_interpreter_reads_at_its_start_is_refused() -> None:
    with pytest.raises(ValueError, match="PYTHONUTF8"):
        popen([sys.executable, "-m", "fedstrata"], env={**os.environ, "PYTHONUTF8": "0"})
