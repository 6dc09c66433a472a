"""Closed, full and broken standard streams: the work goes on, and what is lost is told where it matters."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedstrata.cli.streams import Sink, lost

SCRIPT = """\
import os, sys
from fedstrata.cli.streams import forgiving, lost, open_all
open_all()
out, err = forgiving()
own = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for number in range(5000):
    print("a line of output", number)
    print("a line of progress", number, file=sys.stderr)
sys.stdout.flush()
os.system("echo a child says something; echo and something more >&2")
os.write(own, f"{own} {sys.stdin.read()!r} {lost(out)}".encode())
"""
"""Writes much to both streams, and then says in a file of its own what became of it."""


def work(folder: Path, redirections: str) -> list[str]:
    """Return the descriptor of the script's own file, what it read, and what it lost; it has to end well."""
    told = folder / "told"
    command = f'exec "$0" -c "$1" "$2" {redirections}'
    words = ["sh", "-c", command, sys.executable, SCRIPT, str(told)]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Exception" not in done.stderr
    return told.read_text().split(" ", 2)


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere_and_give_their_numbers_to_no_file(tmp_path: Path, redirections: str) -> None:
    own, read, gone = work(tmp_path, redirections)
    assert int(own) > 2
    assert (read, gone) == ("''", "None")


def test_what_the_streams_cannot_encode_stops_nothing() -> None:
    script = "from fedstrata.cli.streams import forgiving; forgiving(); print('50 – 60', '\\udce9')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"50 \\u2013 60 \\udce9\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("redirections", "told"),
    [
        (">/dev/full", "standard output cannot be written: No space left on device; what was asked for is done"),
        ("2>/dev/full", "None"),
    ],
)
def test_full_streams_stop_nothing_and_lost_output_is_told(tmp_path: Path, redirections: str, told: str) -> None:
    assert work(tmp_path, redirections)[2] == told


@pytest.mark.parametrize("redirections", ["| head -1", "2>&1 | head -1", "2>&1 >/dev/null | head -1"])
def test_a_reader_that_has_read_enough_stops_nothing(tmp_path: Path, redirections: str) -> None:
    command = f'"$0" -c "$1" "$2" {redirections}'
    words = ["sh", "-c", command, sys.executable, SCRIPT, str(tmp_path / "told")]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert b"Exception" not in done.stderr
    assert (tmp_path / "told").read_text().endswith("'' None")


def test_a_sink_writes_until_its_descriptor_fails() -> None:
    reader, writer = os.pipe()
    sink = Sink(writer)
    try:
        assert sink.write(b"first") == 5
        assert os.read(reader, 9) == b"first"
        os.close(reader)
        assert sink.write(b"second") == 6
        assert sink.failed is not None
        assert sink.failed.errno == errno.EPIPE
        assert lost(sink) is None
        assert sink.write(b"third") == 5
    finally:
        os.close(writer)


def test_a_sink_waits_for_a_descriptor_that_does_not() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sink = Sink(writer)
    try:
        first = sink.write(b"x" * 2**20)
        assert 0 < first < 2**20
        os.read(reader, 2**20)
        assert sink.write(b"y") == 1
        assert sink.failed is None
    finally:
        os.close(reader)
        os.close(writer)
