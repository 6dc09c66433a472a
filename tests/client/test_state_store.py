"""The states that clients keep between rounds, as files: whole, by version, and within a limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from fedstrata.client.state_store import StateStore, kept_apart
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.errors import ClientError
from fedstrata.wire.messages import Origin, StateVersion, Train, TrainPlan

U, V = TensorName("block.u"), TensorName("block.v")


def request(round: int, *states: StateVersion, attempt: int = 0, run: str = "r", client: str = "a") -> Train:
    return Train(ClientId(client), round, {}, frozenset(), TrainPlan(), Origin(run, attempt), states=states)


def files(store: StateStore) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_what_is_written_is_read_and_what_was_not_trained_stays(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    assert store.read(request(0), [U, V]) == {}
    odd = torch.tensor([0.1, -0.0, 3e-39], dtype=torch.float32)
    store.write(request(0), {U: {"SGD.momentum_buffer": odd, "step": torch.tensor(3.0)}})
    store.write(request(2, (0, 0)), {V: {"m": torch.ones(2, 2, dtype=torch.bfloat16)}})
    read = store.read(request(3, (2, 0), (0, 0)), [U, V])
    assert read[U]["SGD.momentum_buffer"].numpy().tobytes() == odd.numpy().tobytes()
    assert read[U]["step"].shape == ()
    assert torch.equal(read[V]["m"], torch.ones(2, 2, dtype=torch.bfloat16))
    assert list(store.read(request(3, (2, 0)), [V])) == [V]
    assert store.read(request(3, (0, 0)), [V]) == {}


def test_it_is_safetensors_that_its_owner_alone_may_read(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "states")
    store.write(request(0), {U: {"m": torch.ones(3)}})
    (path,) = (tmp_path / "states").glob("*/a/0000-0.safetensors")
    with safe_open(path, framework="pt") as file:
        assert list(file.keys()) == ["block.u/m"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (path.parent, path.parent.parent)} == {0o700}


def test_versions_that_no_request_can_name_any_more_are_deleted(tmp_path: Path) -> None:
    """The attempts 1-0 and 1-1 were in vain; 2-0 may still be named; 7-0 is of rounds that are played again."""
    store, state = StateStore(tmp_path), {U: {"m": torch.ones(1)}}
    for round, attempt in ((0, 0), (7, 0), (1, 0), (1, 1), (2, 0)):
        store.write(request(round, *([(0, 0)] if round else []), attempt=attempt), state)
    assert files(store) == ["0000-0.safetensors", "0002-0.safetensors", "0007-0.safetensors"]
    store.write(request(3, (2, 0)), state)
    assert files(store) == ["0002-0.safetensors", "0003-0.safetensors", "0007-0.safetensors"]


def test_clients_and_runs_have_states_of_their_own(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    for number, (run, client) in enumerate((("r", "a"), ("r", "b"), ("../r", "a"))):
        store.write(request(0, run=run, client=client), {U: {"m": torch.tensor([float(number)])}})
    for number, (run, client) in enumerate((("r", "a"), ("r", "b"), ("../r", "a"))):
        read = store.read(request(1, (0, 0), run=run, client=client), [U])
        assert float(read[U]["m"]) == number
    assert {path.parent.parent.parent for path in tmp_path.rglob("*.safetensors")} == {tmp_path}


def test_a_version_that_is_gone_or_damaged_is_an_error_and_not_a_new_beginning(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.write(request(4), {U: {"m": torch.zeros(64)}})
    with pytest.raises(ClientError, match=r"what the client kept after round 2 is not there any more \(0001-0"):
        store.read(request(5, (1, 0)), [U])
    (path,) = tmp_path.rglob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    for names in ([U], [V]):
        with pytest.raises(ClientError, match=r"after round 5 is not as it was written .* start a new run"):
            store.read(request(5, (4, 0)), names)
    path.write_bytes(data[:40])
    with pytest.raises(ClientError, match="after round 5 cannot be read"):
        store.read(request(5, (4, 0)), [U])


def test_states_of_other_runs_make_room_and_the_run_s_own_do_not(tmp_path: Path) -> None:
    store, state = StateStore(tmp_path, limit=3000), {U: {"m": torch.zeros(256)}}
    for number, run in enumerate(("old", "new")):
        store.write(request(0, run=run), state)
        (folder,) = {p.parent.parent for p in tmp_path.rglob("*.safetensors") if p.stat().st_mtime > number}
        os.utime(folder, (number, number))
        for path in folder.rglob("*.safetensors"):
            os.utime(path, (number, number))
    store.write(request(1, (0, 0), run="new"), state)
    with pytest.raises(ClientError, match="not there any more"):
        store.read(request(1, (0, 0), run="old"), [U])
    with pytest.raises(ClientError, match=r"takes [0-9,]+ bytes more than its site allows \(3,000, client_state_bytes"):
        store.write(request(2, (1, 0), (0, 0), run="new"), state)
    assert float(store.read(request(2, (1, 0), run="new"), [U])[U]["m"].sum()) == 0


def test_a_full_disk_costs_an_answer_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StateStore(tmp_path)
    store.write(request(0), {U: {"m": torch.zeros(4)}})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fedstrata.client.state_store.sync", full)
    with pytest.raises(ClientError, match="keeps between rounds cannot be written: No space left on device"):
        store.write(request(1, (0, 0)), {U: {"m": torch.ones(4)}})
    assert files(store) == ["0000-0.safetensors"]


def test_what_is_kept_shares_no_memory_with_what_goes_on_changing() -> None:
    weight, moment = torch.zeros(4), torch.zeros(4)
    state = kept_apart({U: {"last": weight[:2], "m": moment}}, [weight])
    weight += 1
    assert state[U]["last"].tolist() == [0.0, 0.0]
    assert state[U]["m"].data_ptr() == moment.data_ptr()
