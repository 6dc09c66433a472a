"""Fuzzing of event logs through the report's reader, and of what is made of them.

Whatever a log holds, the reader takes it or refuses it with a ``CheckpointError``; of what it takes a line of results
can be made, and of one in twenty the whole page; see ``driver.py`` for the options.
"""

from __future__ import annotations

import sys
from atexit import register
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from zlib import crc32

from driver import Target, main
from fedstrata.comparison.outcome import outcome_of
from fedstrata.errors import FedstrataError
from fedstrata.report.write_report import write_report
from fedstrata.runs.reading import read_run
from texts import json_lines

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from report.synthetic_run import lost_attempt, write_run

PAGES = 20
"""Of so many logs that are taken, about one becomes a page."""


def target(*, pages: int = PAGES) -> Target:
    """Return what is fuzzed."""
    memory = Path("/dev/shm")
    place = Path(mkdtemp(prefix="fuzz-events-", dir=memory if memory.is_dir() else None))
    register(rmtree, place, ignore_errors=True)
    names = ("north", "south")
    run = write_run(place / "run", rounds=2, names=names, layers=3, abandoned=[lost_attempt(1)], failing="south")
    for name in ("data_card.json", "env.json", "summary.json", "metrics.csv"):
        (run / name).unlink()
    whole = (run / "events.jsonl").read_bytes()
    events = whole.splitlines(keepends=True)
    cut = (
        b"".join(events[:4])
        + events[4][:40]
        + b'\n{"event": "resume", "schema": %d, "round": 1}\n' % _schema(events[0])
    )

    def test(data: bytes) -> None:
        (run / "events.jsonl").write_bytes(data)
        found = read_run(run)
        outcome_of(found, row="", size="", method="", budget="")
        if crc32(data) % pages == 0:
            write_report([run], place / "report.html")

    return Target("events", (whole, cut), json_lines, test, (FedstrataError,), most_seconds=5.0)


def _schema(header: bytes) -> int:
    return int(header.partition(b'"schema": ')[2].partition(b",")[0])


if __name__ == "__main__":
    sys.exit(main(target(), sys.argv[1:]))
