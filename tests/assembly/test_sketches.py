"""Which runs have their error measured, and which probes send sketches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedstrata.assembly.client_plans import check_sketches, sketch_plan, theory_sketch
from fedstrata.config.load import Loaded, check_config
from fedstrata.errors import ConfigError
from small_runs import digits, events, start


def loaded(**sections: Any) -> Loaded:  # noqa: ANN401  a section of any kind
    return check_config(digits(Path("out"), **sections))


def test_off_is_off_however_yaml_reads_it() -> None:
    assert [loaded(theory=value).config.theory for value in (False, "off", "exact")] == ["off", "off", "exact"]
    assert loaded().config.theory == "off"


def test_sketches_are_sent_where_somebody_reads_them() -> None:
    bound = {"kind": "periodic", "every": 2, "inner": {"kind": "bound", "sketch": 32}}
    plans = [sketch_plan(loaded(**k)) for k in ({}, {"theory": "exact"}, {"theory": "sketch"}, {"selector": bound})]
    assert [plan and plan.dimension for plan in plans] == [None, None, 128, 32]
    assert theory_sketch(loaded(theory="sketch")) == 128


def test_runs_of_one_seed_have_one_hash() -> None:
    one, same, other = (sketch_plan(loaded(theory="sketch", seed=seed)) for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"theory": "exact", "engine": "flower"}, "engine: flower leaves the rows at the sites"),
        ({"theory": "exact", "engine": "flower-simulation"}, "set theory: sketch"),
        ({"theory": "sketch", "probe": {"piggyback": True}}, "piggybacked sketches are one aggregate old"),
        ({"theory": "both"}, "theory"),
        ({"selector": {"kind": "bound", "sketch": 100}}, "power of two from 16 to 4096"),
    ],
)
def test_what_cannot_be_measured_is_refused(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(**sections)


def test_sketches_need_probes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="theory: sketches come with probes, and selector 'top' asks for none"):
        start(digits(tmp_path / "run", selector={"kind": "top"}, theory="sketch"))
    check_sketches("consensus", [object()])  # type: ignore[list-item]


def test_a_configured_run_is_measured_and_selected_by_its_bound(tmp_path: Path) -> None:
    few = {"kind": "digits", "partition": {"kind": "iid", "clients": 20}}
    short = {"selector": {"kind": "bound"}, "sampler": {"kind": "uniform", "clients_per_round": 2}, "data": few}
    for theory in ("exact", "sketch"):
        start(digits(tmp_path / theory, **short, train={"rounds": 1, "steps": 1}, theory=theory))
    exact, sketch = (events(tmp_path / theory, "round")[0] for theory in ("exact", "sketch"))
    assert (exact["theory"]["estimated"], sketch["theory"]["estimated"]) == (False, True)
    assert exact["theory"]["loss_before"] is not None
    assert sketch["theory"]["loss_before"] is None
    assert exact["certificate"] == sketch["certificate"]
    bound = sketch["theory"]["missing_layers"] + sketch["theory"]["wrong_weights"]
    assert -sketch["certificate"]["objective"] == pytest.approx(bound, rel=1e-6)
