"""Methods that are compared with one seed have the same rows, cohorts, batches and start, whatever they probe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drawn_rows import Notes, watch
from fedstrata.assembly.engine import engine_of
from fedstrata.assembly.run import prepare_run
from fedstrata.config.load import check_config
from fedstrata.server.observers import Quiet
from small_runs import digits, events, never

STEPS, ROUNDS, PER_ROUND = 2, 3, 3
DATA = {"kind": "digits", "held_out": 0.1, "partition": {"kind": "dirichlet", "clients": 5, "alpha": 0.5}}
METHODS: dict[str, dict[str, Any]] = {
    "cyclic": {"selector": "cyclic"},
    "random": {"selector": {"kind": "random", "shared": False}, "budget": 2},
    "consensus": {"selector": "consensus"},
    "consensus that piggybacks": {"selector": "consensus", "budget": 3, "probe": {"batch_size": 8, "piggyback": True}},
}


def _play(folder: Path, patch: pytest.MonkeyPatch, *, seed: int = 5, **sections: object) -> tuple[Path, Notes]:
    """Play a run of a few clients of five; return its folder and which rows were taken."""
    put = watch(patch)
    values = {
        "seed": seed,
        "cost": "layers",
        "data": DATA,
        "sampler": {"kind": "uniform", "clients_per_round": PER_ROUND},
        "train": {"rounds": ROUNDS, "steps": STEPS, "batch_size": 8, "lr": 0.1},
        **sections,
    }
    loaded = check_config(digits(folder, **values), base=Path())
    prepared = prepare_run(loaded)
    engine, notes = put(engine_of(loaded, prepared.resident, prepared.data))
    prepared.run(observer=Quiet(), stop=never, engine=engine).start(prepared.weights)
    return folder, notes


def _cohorts(folder: Path) -> list[list[str]]:
    return [[e["client"] for e in events(folder, "client") if e["round"] == t] for t in range(1, ROUNDS + 1)]


def _start(folder: Path) -> object:
    """Return what was measured before the first round."""
    (baseline,) = events(folder, "baseline")
    return {key: baseline[key] for key in ("test", "validation", "client_accuracy")}


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Notes]]:
    """The run that the others are held against."""
    with pytest.MonkeyPatch.context() as patch:
        yield _play(tmp_path_factory.mktemp("same") / "top", patch, selector="top")


@pytest.mark.parametrize("name", METHODS)
def test_a_row_s_methods_differ_in_what_they_select_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: tuple[Path, Notes], name: str
) -> None:
    folder, notes = _play(tmp_path / "other", monkeypatch, **METHODS[name])
    drawn = notes.train(STEPS)
    assert (folder / "data_card.json").read_bytes() == (top[0] / "data_card.json").read_bytes()
    assert _start(folder) == _start(top[0])
    assert _cohorts(folder) == _cohorts(top[0])
    assert drawn == top[1].train(STEPS)
    assert {key[1:] for key in drawn} == {(t, c) for t, cohort in enumerate(_cohorts(folder)) for c in cohort}
    assert {len(batches) for batches in drawn.values()} == {STEPS}


def test_another_seed_changes_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: tuple[Path, Notes]
) -> None:
    folder, notes = _play(tmp_path / "other", monkeypatch, selector="top", seed=6)
    assert (folder / "data_card.json").read_bytes() != (top[0] / "data_card.json").read_bytes()
    assert _cohorts(folder) != _cohorts(top[0])
    first, second = ({tuple(batches) for batches in n.train(STEPS).values()} for n in (notes, top[1]))
    assert not first & second


def test_a_client_alone_has_the_batches_and_probes_of_the_full_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local-only baseline; scores of the first round are equal to the bit, since the start is the same."""
    together, everything = _play(tmp_path / "all", monkeypatch, selector="consensus", sampler="uniform")
    alone, own = _play(
        tmp_path / "one", monkeypatch, selector="consensus", sampler={"kind": "only", "clients": "client-03"}
    )
    assert _cohorts(alone) == [["client-03"]] * ROUNDS
    assert _cohorts(together)[0] == [f"client-0{i}" for i in range(5)]
    for phase in ("probe", "train"):
        theirs, mine = (
            {t: rows for (p, t, client), rows in notes.drawn.items() if (p, client) == (phase, "client-03")}
            for notes in (everything, own)
        )
        assert len(mine) == ROUNDS
        assert mine == theirs
    first, whole = (next(e for e in events(f, "client") if e["client"] == "client-03") for f in (alone, together))
    assert first["scores"] == whole["scores"]
