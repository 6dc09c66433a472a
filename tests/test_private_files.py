"""Updates, weights, rows, keys and logs are for their owner alone, whatever the umask."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fedstrata.data.cache import cached
from fedstrata.deploy.flower.trial import Trial
from fedstrata.deploy.site.audit_log import AuditLog
from fedstrata.deploy.site.cache import LayerCache
from fedstrata.files import append, new_folder, private_folder, write_atomic, write_private
from file_modes import open_to_others, umask
from small_runs import after, digits, resume, start


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o177])
def test_what_is_made_is_private_under_every_umask(tmp_path: Path, mask: int) -> None:
    place = tmp_path / "place"
    with umask(mask):
        private_folder(place)
        write_private(place / "a", "one")
        write_atomic(place / "b", "two")
        append(place / "c", b"three", durable=False)
        with new_folder(place / "d") as folder:
            (folder / "e").write_text("as a library writes it")
    assert [mode(p) for p in (place, place / "d")] == [0o700, 0o700]
    assert [mode(place / name) for name in ("a", "b", "c", "d/e")] == [0o600] * 4


def test_what_is_passed_on_follows_the_umask(tmp_path: Path) -> None:
    with umask(0o027):
        write_atomic(tmp_path / "table.csv", "a,b\n", shared=True)
        with new_folder(tmp_path / "model", shared=True) as folder:
            (folder / "weights").touch()
    assert [mode(tmp_path / name) for name in ("table.csv", "model", "model/weights")] == [0o640, 0o750, 0o640]


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    assert mode(private_folder(tmp_path)) == 0o750
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        private_folder(tmp_path / "file")


def test_a_run_folder_is_private_and_single_updates_go_with_the_run_s_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDSTRATA_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    with umask(0):
        start(digits(run, round={"keep_updates": True}), stop=after(1))
        assert sorted(path.suffix for path in (run / "accepted").iterdir()) == [".frames"] * 2
        assert open_to_others(run) == []
        resume(run)
    assert open_to_others(run, but="model") == []
    assert (run / "model" / "model.safetensors").exists()
    assert not (run / "accepted").exists()


def test_caches_and_a_site_s_logs_are_private(tmp_path: Path) -> None:
    def write(path: Path) -> dict[str, object]:
        from safetensors.numpy import save_file

        save_file({}, path)
        return {}

    with umask(0):
        cached(tmp_path / "rows", {"key": 1}, write)
        LayerCache(tmp_path / "layers", 100).put("a" * 64, b"x" * 60)
        AuditLog(tmp_path / "state").tell("sent nothing", {"run": "a", "kind": "evaluation"})
    folders = [tmp_path / name for name in ("rows", "layers", "state")]
    assert [len(list(folder.iterdir())) for folder in folders] == [2, 1, 3]
    assert open_to_others(*folders) == []


def test_a_trial_is_private_and_leaves_no_room(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "trial", {"a": {}, "b": {}})
    with umask(0):
        trial.prepare()
        trial.home.connect("trial", trial.address, trial.certificates.authority)
    place = trial.sockets
    try:
        assert open_to_others(place) == []
        public = {"ca.crt", "server.pem", "a.pub", "b.pub", "key.pub"}  # in folders that nobody else enters
        readable = open_to_others(trial.folder)
        assert {Path(line.rpartition(" ")[0]).name for line in readable} == public
        assert mode(trial.folder) == 0o700
    finally:
        trial.stop()
    assert not place.exists()
