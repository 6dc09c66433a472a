"""The optimizer's state that clients keep: what is refused before a run, and what a plan says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from fedstrata.assembly.run import prepare_run
from fedstrata.assembly.runtime import rehearse_trainer
from fedstrata.cli.plan_table import show
from fedstrata.cli.terminal import output
from fedstrata.config.load import check_config
from fedstrata.domain.ids import TensorName
from fedstrata.errors import ComponentError, ConfigError
from fedstrata.extensions.checked import held
from fedstrata.planning.plan import make_plan
from fedstrata.planning.plan_json import plan_json
from fedstrata.trainers.augmented import Augmented
from fedstrata.trainers.fedprox import FedProx
from fedstrata.trainers.protocol import ClientState
from fedstrata.trainers.sgd import Sgd
from fedstrata.wire.messages import TrainPlan
from small_runs import digits

KEPT = {"kind": "fedprox", "optimizer_state": "kept"}
W = TensorName("w")


def config(folder: Path, optimizer: str, trainer: object) -> dict[str, Any]:
    return digits(folder, trainer=trainer, train={"rounds": 2, "steps": 1, "lr": 0.1, "optimizer": optimizer})


@pytest.mark.parametrize("trainer", [KEPT, {"kind": "augmented", "inner": KEPT}])
def test_sgd_has_nothing_to_keep_and_it_is_said_before_the_run(tmp_path: Path, trainer: object) -> None:
    with pytest.raises(ConfigError, match=r"trainer: optimizer_state: kept has nothing to keep, since train.optimizer"):
        prepare_run(check_config(config(tmp_path / "run", "sgd", trainer)))
    with pytest.raises(ConfigError, match=r"trainer\.optimizer_state: .*'new' or 'kept'"):
        check_config(config(tmp_path / "run", "adamw", {"kind": "sgd", "optimizer_state": "old"}))


def test_a_trainer_around_another_keeps_what_that_one_keeps() -> None:
    plan = TrainPlan(optimizer="adamw")
    assert [t.cost(plan).kept_copies for t in (Sgd(), Sgd("kept"), FedProx("kept"), Augmented(inner=Sgd("kept")))] == [
        0,
        2,
        2,
        2,
    ]


def test_moments_of_another_optimizer_are_left_alone() -> None:
    """A run that goes on with ``train.optimizer: momentum`` has no use for what AdamW left."""
    weight = nn.Parameter(torch.zeros(2))
    optimizer = SGD([weight], lr=0.1, momentum=0.9)
    Sgd("kept").begin(optimizer, {W: {"AdamW.exp_avg": torch.ones(2)}}, {W: weight})
    assert not optimizer.state
    Sgd("kept").begin(optimizer, {W: {"SGD.momentum_buffer": torch.ones(2)}}, {W: weight})
    weight.grad = torch.zeros(2)
    optimizer.step()
    assert weight.tolist() == pytest.approx([-0.09, -0.09])


@pytest.mark.parametrize(("optimizer", "copies"), [("momentum", 1), ("adamw", 2)])
def test_a_plan_says_what_each_client_keeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], optimizer: str, copies: int
) -> None:
    plan = make_plan(check_config(config(tmp_path / "run", optimizer, KEPT)))
    layers = plan.subject.prepared.setting.layers
    assert plan_json(plan)["planned"]["client_state_bytes"] == copies * sum(b.bytes for b in layers.trainable)
    show(plan, "my.yaml", output())
    said = " ".join(capsys.readouterr().out.split())
    assert "state each client keeps " in said
    assert " between rounds at most, in up to 4 versions on its disk; none of it is sent" in said
    plain = make_plan(check_config(config(tmp_path / "run", optimizer, "sgd")))
    assert plan_json(plain)["planned"]["client_state_bytes"] == 0
    show(plain, "my.yaml", output())
    assert "each client keeps" not in capsys.readouterr().out


@dataclass(frozen=True)
class Forgetful(Sgd):
    """Keeps something, and does not say so in ``cost``."""

    def end(
        self, optimizer: Optimizer, state: ClientState, parameters: Mapping[TensorName, nn.Parameter]
    ) -> ClientState:
        return {name: {"last": p.detach()} for name, p in parameters.items()}


def test_a_trainer_of_one_s_own_that_keeps_something_says_so(tmp_path: Path) -> None:
    prepared = prepare_run(check_config(config(tmp_path / "run", "sgd", "sgd")))
    own = held("trainer", Forgetful())
    loaded = replace(prepared.loaded, components=replace(prepared.loaded.components, trainer=own))
    with pytest.raises(
        ComponentError, match=r"Forgetful\.cost .* returned kept_copies of 0; it must return kept_copies"
    ):
        rehearse_trainer(loaded, prepared.resident, prepared.data)
