"""A site's runtime folder: one per site file, and for its user alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fedstrata.deploy.site.runtime_dir import LONGEST_ADDRESS, runtime_dir_of
from fedstrata.errors import StorageError
from fedstrata.locks import Lock
from other_user import NOBODY, no_other_user


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr("fedstrata.deploy.site.runtime_dir.LONGEST_ADDRESS", 1000)
    return folder


def test_a_file_has_one_room_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "site.yaml").touch()
    (tmp_path / "link").symlink_to("a")
    runtime_dir = runtime_dir_of(tmp_path / "a" / "site.yaml")
    assert (
        runtime_dir_of(tmp_path / "link" / ".." / "a" / "site.yaml")
        == runtime_dir
        == runtime_dir_of(tmp_path / "link" / "site.yaml")
    )
    assert runtime_dir_of(tmp_path / "a" / "other.yaml") != runtime_dir


def test_nobody_else_may_enter(tmp_path: Path, runtime: Path) -> None:
    runtime_dir = runtime_dir_of(tmp_path / "site.yaml")
    assert [stat.S_IMODE(p.stat().st_mode) for p in (runtime_dir.path, runtime_dir.path.parent)] == [0o700, 0o700]
    key = runtime_dir.key()
    assert (len(key), runtime_dir_of(tmp_path / "site.yaml").key()) == (32, key)
    assert [(p.name, stat.S_IMODE(p.stat().st_mode)) for p in runtime_dir.path.iterdir()] == [("key", 0o600)]
    assert runtime_dir.path.parent.parent == runtime


@pytest.mark.parametrize("trap", ["open", "link", "file"])
def test_a_folder_that_somebody_prepared_is_passed_over(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    """Once for each place that is for all; then the home serves, and if it does not, it is said what is wrong."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr("fedstrata.deploy.site.runtime_dir.tempfile.gettempdir", lambda: str(runtime))
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr("fedstrata.deploy.site.runtime_dir._SHARED", str(runtime))
    path = runtime / f"fedstrata-{os.getuid()}"
    if trap == "open":
        path.mkdir()
        path.chmod(0o755)
    elif trap == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        path.symlink_to(tmp_path / "theirs")
    else:
        path.touch()
    assert runtime_dir_of(tmp_path / "site.yaml").path.parent.parent == home
    (own,) = home.iterdir()
    own.chmod(0o750)
    wrong = r"no folder for the worker's socket: .*(is not a folder of this user alone|cannot be made).*; set XDG_"
    with pytest.raises(StorageError, match=wrong):
        runtime_dir_of(tmp_path / "site.yaml")


@pytest.mark.skipif(no_other_user() is not None, reason=str(no_other_user()))
def test_another_user_who_takes_the_name_first_denies_nobody_a_worker(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedstrata.deploy.site.runtime_dir.tempfile.gettempdir", lambda: str(runtime))
    monkeypatch.setattr("fedstrata.deploy.site.runtime_dir._SHARED", str(runtime))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    taken = runtime / f"fedstrata-{os.getuid()}"
    taken.mkdir(mode=0o700)
    os.chown(taken, NOBODY, NOBODY)
    assert runtime_dir_of(tmp_path / "site.yaml").path.parent.parent == tmp_path


def test_a_runtime_folder_with_too_long_a_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedstrata.deploy.site.runtime_dir.LONGEST_ADDRESS", LONGEST_ADDRESS)
    long = tmp_path / ("x" * 100)
    long.mkdir()
    short = tmp_path / "short"
    short.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr("tempfile.tempdir", str(long))
    runtime_dir = runtime_dir_of(tmp_path / "site.yaml")
    assert len(str(runtime_dir.socket)) <= LONGEST_ADDRESS
    assert runtime_dir.path.parent.parent == Path("/tmp")


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.take(within=0)
    assert not second.take(within=0.05)
    with pytest.raises(TimeoutError, match="is locked by another process"), Lock(tmp_path / "lock", within=0):
        pass
    first.release()
    assert (first.held, second.take(within=0), second.held) == (False, True, True)
    second.release()
