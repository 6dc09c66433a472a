"""Nothing stays of a trial, however it ends: no key, no socket, no runtime folder, no folder."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fedstrata.deploy.flower import remains
from fedstrata.deploy.flower.remains import Remains, clear, clear_abandoned
from fedstrata.deploy.site.runtime_dir import runtime_dir_of, runtime_folder

STARTER = """
import sys, time
from pathlib import Path
from fedstrata.deploy.flower.remains import Remains
print(Remains(Path(sys.argv[1])).place, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr("fedstrata.deploy.site.runtime_dir.LONGEST_ADDRESS", 1000)
    monkeypatch.setattr(remains, "_SETTLED", 0.1)
    return tmp_path / "run"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a trial with a site that has a runtime folder."""
    site = tmp_path / "trial" / "sites" / "a" / "site.yaml"
    site.parent.mkdir(parents=True)
    site.write_text("name: a")
    (site.parent / "key").write_text("private")
    runtime_dir_of(site).key()
    return tmp_path / "trial"


def places() -> list[Path]:
    return sorted(runtime_folder().iterdir())


def test_a_trial_that_ends_leaves_neither_sockets_nor_rooms(folder: Path) -> None:
    left = Remains(folder)
    assert left.place in places()
    left.clear(folder.glob("sites/*/site.yaml"))
    assert places() == []
    assert folder.exists()  # its owner's to delete


def test_what_a_starter_left_that_is_gone_the_next_trial_clears(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = Remains(folder)
    clear_abandoned()
    assert folder.exists()  # its starter lives
    left._life.release()
    clear_abandoned()
    assert not folder.exists()
    assert places() == []
    left._caretaker.communicate()
    clear(left.place)  # nothing is there any more


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
def test_a_starter_that_is_killed_leaves_a_caretaker_that_clears(folder: Path) -> None:
    program = f"import fedstrata.deploy.site.runtime_dir as runtime_dir\nruntime_dir.LONGEST_ADDRESS = 1000\n{STARTER}"
    starter = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    place = Path(starter.stdout.readline().strip())
    assert place.exists()
    caretaker = next(
        pid
        for pid, words in ((p.pid, p.info["cmdline"]) for p in psutil.process_iter(["cmdline"]))
        if str(place) in (words or ())
    )
    watch = os.pidfd_open(caretaker)
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    select.select([watch], [], [])  # until it has ended
    os.close(watch)
    assert not folder.exists()
    assert not place.exists()
