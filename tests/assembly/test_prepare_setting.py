"""What a budget may be, said before the run: too small, in a unit without a price, a share, over several units."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest

from fedstrata.assembly.affordable import Prepared
from fedstrata.assembly.client_plans import train_plan
from fedstrata.assembly.prepare_setting import prepare_setting
from fedstrata.config.load import check_config
from fedstrata.costs.protocol import Workload
from fedstrata.domain.cost import ClientRound, Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Mask
from fedstrata.domain.profile import StepProfile
from fedstrata.errors import ConfigError, ModelError
from price_lists import LAYERS, profile
from toys import toy_clients

A, B = ClientId("a"), ClientId("b")
CLIENTS = {A: Workload(((4, None),), ((4, None),)), B: Workload(((2, None),), ((2, None),))}


def prepare(*, refuse: bool = True, base: Path = Path(), measured: bool = True, **sections: object) -> Prepared:
    plain: dict[str, object] = {"model": {"path": "embedded:vit-digits"}, "data": {"kind": "digits"}, "selector": "top"}
    values = plain | sections

    def measure(_: object) -> tuple[StepProfile, ...]:
        if not measured:
            raise ModelError("it cannot run on shapes alone")
        return (profile(),)

    return prepare_setting(
        check_config(values, base=base),
        layers=LAYERS,
        clients=CLIENTS,
        examples={A: 4, B: 2},
        measure=measure,
        parameter_bytes=404,
        refuse=refuse,
    )


def test_rows_held_out_are_known_where_the_rows_are() -> None:
    loaded = check_config({"model": {"path": "embedded:vit-digits"}, "data": {"kind": "digits"}, "selector": "top"})
    rows = toy_clients({"a": 4}, held_out=3)[A]
    prepared = prepare_setting(
        loaded,
        layers=LAYERS,
        clients={A: rows, B: CLIENTS[B]},
        examples={A: 4, B: 2},
        measure=lambda _: (profile(),),
        parameter_bytes=404,
    )
    assert [p.held_out for p in prepared.setting.profiles.values()] == [3, None]


@pytest.mark.parametrize(
    ("train", "new_head", "rate"),
    [
        ({}, True, 5e-3),
        ({}, False, None),
        ({"optimizer": "sgd"}, True, None),
        ({"lr": 0.01}, True, 0.1),
        ({"always_lr": 0.5}, True, 0.5),
        ({"always_lr": None}, True, None),
    ],
)
def test_a_new_head_learns_ten_times_faster_under_adamw(
    train: dict[str, object], new_head: bool, rate: float | None
) -> None:
    values = {"model": {"path": "embedded:vit-digits"}, "data": {"kind": "digits"}, "train": train}
    assert train_plan(check_config(values), new_head=new_head).always_lr == (rate and pytest.approx(rate))


def test_the_key_piggyback_reaches_the_setting() -> None:
    assert not prepare().setting.piggyback
    assert prepare(probe={"piggyback": True}).setting.piggyback


def test_a_sampler_s_name_that_nobody_has_is_said_before_the_run() -> None:
    assert prepare(sampler={"kind": "only", "clients": "b"}).setting.cohort(3, 0) == (B,)
    with pytest.raises(ConfigError, match=r"sampler: .* no client is called 'bb'; did you mean 'b'\?"):
        prepare(sampler={"kind": "only", "clients": ["a", "bb"]})


def masks(prepared: Prepared) -> dict[ClientId, Mask]:
    setting = prepared.setting
    problem = setting.problem(0, {c: ClientRound() for c in setting.profiles}, None)
    return dict(setting.method.selector.select(problem, {})[0].masks)


def test_a_share_is_of_each_clients_own_full_fine_tuning() -> None:
    budgets = {c: p.budget for c, p in prepare(budget={"flops": "50%"}).setting.profiles.items()}
    assert budgets[B].flops < budgets[A].flops < inf
    assert budgets[A].layers == inf


def test_limits_in_several_units_hold_at_once() -> None:
    assert masks(prepare(budget={"bytes_up": 120, "layers": 3})) == {A: {2, 3}, B: {2, 3}}
    assert masks(prepare(budget={"bytes_up": 120, "layers": 1})) == {A: {3}, B: {3}}


def test_a_client_that_can_pay_for_no_layer_trains_the_head_and_it_is_said() -> None:
    budget = {"kind": "per-client", "clients": {"a": {"bytes_up": 30}}, "default": {"layers": 1}}
    prepared = prepare(budget=budget)
    assert masks(prepared) == {A: frozenset(), B: {3}}
    (note,) = prepared.notes
    assert "1 of 2 clients cannot pay for a single layer, the first is a" in note
    assert "budget is 30 B up and the cheapest layer needs 60 B up" in note
    with pytest.raises(ConfigError, match=r"budget: 1 of 2 clients.*set below_budget: head-only"):
        prepare(budget=budget, below_budget="error")


def test_a_budget_that_no_client_can_spend_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no client can pay for a single layer: client a's budget is 0 layers"):
        prepare(budget=0)


def test_a_budget_that_does_not_pay_for_the_head_is_refused_with_the_price() -> None:
    with pytest.raises(
        ConfigError,
        match=r"client a cannot take part: .* needs 20 B up, .* is 19.*would fit: upload.encoding: int8",
    ):
        prepare(budget={"bytes_up": 19})


def test_the_probe_counts_towards_what_a_client_must_be_able_to_pay() -> None:
    assert prepare(budget={"bytes_up": 60}).setting is not None
    with pytest.raises(ConfigError, match=r"no client can pay for a single layer.*the cheapest layer needs 76 B up"):
        prepare(budget={"bytes_up": 60}, selector="consensus")


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"budget": {"seconds": 5}},
            r"budget in seconds, which needs the client's machine: add its profile",
        ),
        ({"budget": {"flops": 5}, "cost": "layers"}, r"budget in flops, which has no price here: use cost: measured"),
        ({"budget": {"seconds": "5%"}}, r"5% of the seconds of full fine-tuning, which are not known"),
        ({"budget": {"kind": "device"}}, r"needs the machine of client 'a'"),
    ],
)
def test_a_budget_in_a_unit_without_price_is_refused(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        prepare(**sections)


def test_a_model_that_cannot_be_measured_still_runs_on_layers_and_bytes() -> None:
    prepared = prepare(budget=1, measured=False)
    assert prepared.notes == ("FLOPs, memory and seconds are not priced: it cannot run on shapes alone",)
    with pytest.raises(ConfigError, match="budget in bytes_peak, which has no price here"):
        prepare(budget={"bytes_peak": "1 GB"}, measured=False)


def test_machines_price_seconds(tmp_path: Path) -> None:
    phone = "name: phone\nforward: 100\ncarry: 50\nweight: 25\nupdate: 1000\n"
    (tmp_path / "phone.yaml").write_text(phone, encoding="utf-8")
    setting = prepare(base=tmp_path, devices={"a": "phone.yaml"}, train={"optimizer": "sgd"}).setting
    prices = [setting.method.cost.prices(c, ClientRound()).of(frozenset()) for c in (A, B)]
    assert prices[0].seconds == pytest.approx(172 / 100 + 2 / 25 + 4 * (3 + 6) * 5 / 1000)
    assert not prices[1].fits(Cost.limits(seconds=1e9))


def test_what_a_run_would_refuse_can_be_asked_for_instead() -> None:
    assert "cannot take part" in " ".join(prepare(refuse=False, budget={"bytes_up": 19}).refusals)
