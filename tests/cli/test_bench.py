"""``fedstrata bench client``: the profile that it writes prices seconds, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from commands import Said
from fedstrata.assembly.device_profiles import read_device
from fedstrata.cli import bench_cases
from fedstrata.cli.bench_cases import bench, cases, training_case
from fedstrata.client.speed import Work
from fedstrata.costs.measured import Measured
from fedstrata.costs.protocol import Facts, Workload
from fedstrata.domain.cost import ClientRound
from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import ClientId
from fedstrata.wire.messages import ProbePlan, TrainPlan
from toys import ToyNet, toy_layers, toy_rows

Cli = Callable[..., Said]
CONFIG = """
model: {path: embedded:vit-digits}
data: {kind: digits, partition: {kind: dirichlet, clients: 2, alpha: 1}}
selector: {kind: head-only}
train: {rounds: 1, steps: 1, batch_size: 4, optimizer: adamw}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the path of a configuration of a small model."""
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    return path


def toy_bench(rows: int = 8) -> bench_cases.Bench:
    net, data = ToyNet(), toy_rows(rows)
    batch, plan = torch.arange(rows), TrainPlan()
    return bench("toy", net, toy_layers(net), rows=data, batch=batch, plan=plan, device=torch.device("cpu"))


def test_a_profile_is_written_that_a_run_can_read(cli: Cli, config: Path, tmp_path: Path) -> None:
    limits = ("--upload", "5MB", "--download", "20 MB", "--memory", "8GiB")
    said = cli("bench", "client", str(config), "--out", "mine.yaml", "--seconds", "0", *limits)
    assert said.code == 0, said.err
    profile = read_device(tmp_path / "mine.yaml")
    assert (profile.upload, profile.download, profile.memory) == (5e6, 2e7, 8 * 2**30)
    assert profile.name.endswith("CPU, 1 thread")
    heading = (tmp_path / "mine.yaml").read_text()
    for fact in ("embedded:vit-digits", "[4, 1, 8, 8]", "adamw", "threads 1", torch.__version__, "predicted/measured"):
        assert fact in heading
    assert "predicted/measured from" in said.out


def test_a_file_is_kept_unless_forced(cli: Cli, config: Path, tmp_path: Path) -> None:
    (tmp_path / "device.yaml").write_text("mine")
    said = cli("bench", "client", str(config), "--seconds", "0")
    assert said.code == 2
    assert "--force" in said.err
    assert (tmp_path / "device.yaml").read_text() == "mine"


def test_force_overwrites_and_json_holds_the_profile_and_every_time(cli: Cli, config: Path, tmp_path: Path) -> None:
    (tmp_path / "device.yaml").write_text("mine")
    said = cli("bench", "client", str(config), "--seconds", "0", "--force", "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    written = read_device(tmp_path / "device.yaml")
    assert DeviceProfile(**told["profile"]) == written
    assert {row["work"] for row in told["timed"]} >= {"forward pass", "update alone", "probe", "train every layer"}
    assert all(row["ratio"] == pytest.approx(row["predicted"] / row["seconds"]) for row in told["timed"])
    assert written.memory is not None
    assert written.memory > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--upload", "5 parsecs"), "--upload"),
        (("--memory", "50%"), "a number of bytes above 0"),
        (("--download", "0"), "a number of bytes above 0"),
        (("--device", "cudda"), "did you mean 'cuda'?"),
        (("--set", "train.lr=1"), "name a YAML file"),
    ],
)
def test_what_is_refused_before_anything_is_timed(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    said = cli("bench", "client", *arguments)
    assert said.code == 2
    assert words in said.err
    assert len(said.err.splitlines()) == 1


def test_a_gpu_that_is_not_there_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = cli("bench", "client", "--device", "cuda")
    assert said.code == 2
    assert "torch finds none" in said.err


def test_requests_ask_what_the_step_was_measured_to_ask() -> None:
    made = toy_bench()
    asked = {case.name: case.work for case in cases(made)}
    forward = 2 * 8 * (4 * 6 + 3 * 6 * 6 + 6 * 3)  # a multiply-add is two; rows, then every linear layer
    head, block = 2 * 8 * 6 * 3, 2 * 8 * 6 * 6
    assert asked["forward pass"] == Work(forward=forward, visits=1)
    assert asked["train no layer"].carry == 0
    assert asked["train layer 2"].carry == head
    assert asked["train layer 0"].carry == head + 2 * block
    assert asked["train layer 0"].weight == head + block
    assert asked["train every layer"].weight == head + 3 * block
    assert asked["update alone"].update == 4 * 3 * (3 * 42 + 21)  # SGD touches three tensors of float32 per tensor
    assert asked["train no layer, two steps"].steps == 2


def test_every_request_runs_and_leaves_the_model_alone() -> None:
    made = toy_bench()
    before = {name: tensor.clone() for name, tensor in made.model.weights().items()}
    for case in cases(made):
        case.run()
    after = made.model.weights()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_priced_seconds_are_the_hand_calculation() -> None:
    made = toy_bench()
    device = DeviceProfile(forward=1e3, carry=2e3, weight=4e3, update=8e3, step=0.5, visit=3.0)
    client = ClientId("c")
    facts = Facts(
        layers=made.model.layers,
        train=TrainPlan(),
        probe=ProbePlan(),
        workloads={client: Workload(((8, None),) * 2, ((8, None),))},
        devices={client: device},
        profiles=lambda: (made.profile,),
    )
    prices = Measured().bind(facts).prices(client, ClientRound())
    step = training_case(made, "middle", frozenset({1})).work
    passes = 2 * (step.forward / 1e3 + step.carry / 2e3 + step.weight / 4e3 + 0.5)
    touched = (2 * 3 + 6) * 4 * (42 + 21)  # two updates of three touches; clone, delta and check six more per visit
    assert prices.of(frozenset({1})).seconds == pytest.approx(passes + touched / 8e3 + 3.0)
