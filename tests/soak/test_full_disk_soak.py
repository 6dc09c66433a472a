"""Full disks: the command line on a tmpfs that fills up at each kind of write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Said
from faults.full_disk import NO_SPACE, ROOMY, Write, disk, mount, used, watch
from fedstrata.cli.main import invoke
from small_runs import digits, essence, write_config

pytestmark = pytest.mark.soak

OPTIONS: dict[str, Any] = {
    "train": {"rounds": 4, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"},
    "round": {"keep_updates": True},
    "checkpoint": {"every": 2},
}
GOOD = "exit code 4, resumed to the same bits"
PLACES = [
    ("journal", 0),
    ("event log", 0),
    ("accepted", 0),
    ("journal", -1),
    ("event log", -1),
    ("accepted", -1),
    ("checkpoint weights", 0),
    ("checkpoint weights", -1),
    ("checkpoint state", -1),
    ("metrics.csv", 0),
    ("selection.parquet", 0),
    ("summary.json", 0),
    ("model", 0),
]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Collect the rows of the table, and print it at the end."""
    found: list[str] = []
    yield found
    print("\n".join(["", *found]))


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("full") / "disk"


@pytest.fixture(scope="module")
def roomy(mounted: Path) -> tuple[list[Write], dict[str, Any]]:
    """Return the writes of a run that has runtime_dir, and what came out of it."""
    with disk(mounted, ROOMY) as path:
        with pytest.MonkeyPatch.context() as patch:
            seen = watch(patch, path)
            assert invoke(["run", str(config_of(path)), "-q"]) == 0
        return seen, essence(path / "run")


@pytest.mark.parametrize(("name", "which"), PLACES, ids=[f"{n}-{'first' if w == 0 else 'last'}" for n, w in PLACES])
def test_a_disk_that_fills_up_before_a_write(
    roomy: tuple[list[Write], dict[str, Any]],
    cli: Callable[..., Said],
    rows: list[str],
    tmp_path: Path,
    name: str,
    which: int,
) -> None:
    seen, whole = roomy
    last = [w for w in seen if w.name == name][which]
    sizes: list[int] = []

    def fill(what: str, call: int) -> None:
        if (what, call) == (name, last.call):
            sizes.append(used(path))
            mount(path, sizes[0])

    with disk(tmp_path / "disk", ROOMY) as path:
        with pytest.MonkeyPatch.context() as patch:
            watch(patch, path, fill)
            said = cli("run", str(config_of(path)), "-q")
        rows.append(judged(path, said, cli, whole, f"{sizes[0]:>8} bytes from {name} {last.call} on"))
    assert rows[-1].endswith(GOOD)


@pytest.mark.parametrize("share", [i / 10 for i in range(10)])
def test_a_disk_that_is_too_small_from_the_start(
    roomy: tuple[list[Write], dict[str, Any]],
    cli: Callable[..., Said],
    rows: list[str],
    tmp_path: Path,
    share: float,
) -> None:
    seen, whole = roomy
    least = next(w.before for w in seen if w.name == "journal")
    size = least + round(share * (max(w.before for w in seen) - least))
    with disk(tmp_path / "disk", size) as path:
        said = cli("run", str(config_of(path)), "-q")
        rows.append(judged(path, said, cli, whole, f"{size:>8} bytes from the start"))
    assert rows[-1].endswith(GOOD)


def config_of(path: Path) -> Path:
    """Write the configuration of a run on a disk, beside the disk."""
    return write_config(path.with_suffix(".yaml"), digits(path / "run", **OPTIONS))


def judged(path: Path, said: Said, cli: Callable[..., Said], whole: dict[str, Any], case: str) -> str:
    """Make room, resume, and return the row of the table; it ends well only if all is as it should be."""
    sentence = next((line for line in said.err.splitlines() if line.startswith("fedstrata: ")), "no sentence")
    mount(path, ROOMY)
    again = cli("resume", str(path / "run"), "-q")
    wrong = [
        name
        for name, right in {
            f"code {said.code}": said.code == 4,
            "no reason": NO_SPACE in sentence,
            "no advice": "make room, then " in sentence and f"fedstrata resume {path / 'run'}" in sentence,
            "a traceback": "Traceback" not in said.err,
            "a damaged checkpoint": "cannot be read" not in again.err,
            f"resume said {again.code}: {again.err}": again.code == 0,
            "other bits": again.code == 0 and essence(path / "run") == whole,
        }.items()
        if not right
    ]
    short = sentence.removeprefix("fedstrata: ").replace(str(path), "DISK")
    return f"{case}: {short}: {', '.join(wrong) or GOOD}"
