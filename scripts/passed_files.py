"""Counts the source files whose code runs in one round, and in its training phase, in one process.

python scripts/passed_files.py        # a digits run of two rounds; the second one is counted
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import FrameType

import fedstrata

SOURCE = Path(fedstrata.__file__).parent
ROUND, TRAINING = ("server/round.py", "play_round"), ("aggregators/layerwise_mean.py", "apply")
"""Functions that last as long as a round, and as its training phase: updates are drawn while they are added up."""


def main() -> None:
    """Print both counts, and the files of the training phase."""
    passed: dict[tuple[str, str], list[set[str]]] = {ROUND: [], TRAINING: []}
    under: list[tuple[str, str]] = []

    def look(frame: FrameType, event: str, _: object) -> None:
        path = frame.f_code.co_filename
        if not path.startswith(str(SOURCE)):
            return
        name = path[len(str(SOURCE)) + 1 :]
        here = (name, frame.f_code.co_name)
        if event == "call" and here in passed:
            under.append(here)
            passed[here].append(set())
        for kind in under:
            passed[kind][-1].add(name)
        if event == "return" and here in passed:
            under.remove(here)

    with tempfile.TemporaryDirectory() as folder:
        run = {
            "model": {"path": "embedded:vit-digits"},
            "data": {"kind": "digits", "shift": "input"},
            "train": {"rounds": 2, "steps": 1},
            "output": f"{folder}/run",
        }
        sys.setprofile(look)
        fedstrata.run(run)
        sys.setprofile(None)
    print(f"files that a round passes through           {len(passed[ROUND][-1])}")
    print(f"files that its training phase passes through {len(passed[TRAINING][-1])}")
    print(*(f"  {name}" for name in sorted(passed[TRAINING][-1])), sep="\n")


if __name__ == "__main__":
    main()
