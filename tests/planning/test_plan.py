from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensor

from fedstrata.config.load import check_config
from fedstrata.errors import ConfigError, DataError
from fedstrata.planning.plan import Plan, make_plan
from fedstrata.planning.plan_json import plan_json
from fedstrata.planning.subject import Assumed
from fedstrata.planning.warnings import plan_warnings
from small_runs import digits

LAYER, ALWAYS, MASK, PROBE = 133_888, 3_112, 1, 24
FULL = 6 * LAYER + ALWAYS

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 16,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def planned(selectors: tuple[str, ...] = (), **sections: object) -> Plan:
    return make_plan(check_config(digits(Path("never"), **sections)), selectors=selectors)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Return the plan of three clients, 25 % of full fine-tuning's bytes each."""
    return planned(budget={"bytes_up": "25%"}, selector={"kind": "periodic", "every": 2, "inner": "consensus"})


@pytest.fixture
def llama(tmp_path: Path) -> Callable[..., Plan]:
    """Return a planner of a folder that holds a config.json alone, with no data behind it."""
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text(json.dumps(LLAMA))
    data = {"train": "none.parquet", "test_fraction": 0.1, "text": "note", "partition": {"kind": "iid", "clients": 2}}

    def make(assumed: Assumed, **sections: object) -> Plan:
        values = {"model": {"path": "llama"}, "data": data, "budget": 3, "train": {"batch_size": 8}, **sections}
        return make_plan(check_config(values, base=tmp_path), assumed=assumed)

    return make


def test_blocks_are_those_of_the_model_and_add_up(plan: Plan) -> None:
    blocks = plan_json(plan)["blocks"]
    found = [(b["role"], b["index"], b["bytes_up"]) for b in blocks if b["role"] != "between"]
    layers = [("layer", i, LAYER) for i in range(6)]
    assert found == [("never", None, 0), *layers, ("always", None, 512), ("always", None, 2600)]
    assert sum(b["parameters"] for b in blocks) == 203_082


def test_the_first_layer_alone_pays_for_carrying_gradients_through_all(plan: Plan) -> None:
    alone = [b.alone for b in plan.blocks if b.alone is not None]
    flops, peaks = [a.flops for a in alone], [a.bytes_peak for a in alone]
    assert flops == sorted(flops, reverse=True)
    assert peaks == sorted(peaks, reverse=True)
    assert flops[0] > 1.5 * flops[5]
    assert {a.bytes_up for a in alone} == {LAYER + ALWAYS}
    first = next(b for b in plan.blocks if b.index == 0)
    last = next(b for b in plan.blocks if b.index == 5)
    assert (first.forward, first.weight) == (last.forward, last.weight)


def test_a_client_is_told_what_its_budget_pays_for(plan: Plan) -> None:
    client = plan_json(plan)["clients"][0]
    assert client["client"] == "client-00"
    assert client["budget"] == {
        "layers": None,
        "bytes_up": FULL / 4,
        "flops": None,
        "bytes_peak": None,
        "seconds": None,
    }
    assert client["affordable_layers"] == [0, 1, 2, 3, 4, 5]
    assert (client["deepest_layer"], client["layers_from_output"], client["largest_mask"]) == (0, 1, 1)
    assert client["head_only"]["bytes_up"] == ALWAYS + PROBE
    assert client["full"]["bytes_up"] == FULL + PROBE
    assert client["full_fits"] is False
    assert client["full"]["seconds"] is None


def test_the_selectors_inside_and_beside_are_planned_too(plan: Plan) -> None:
    assert [f.name for f in plan.selectors] == ["periodic-consensus", "consensus (inner)"]
    both = planned(("top", "random", "top"), selector="consensus")
    assert [f.name for f in both.selectors] == ["consensus", "top", "random"]


def test_json_is_json_and_has_no_nan(plan: Plan) -> None:
    assert json.loads(json.dumps(plan_json(plan), allow_nan=False)).keys() == {
        "planned",
        "blocks",
        "reference",
        "clients",
        "selectors",
        "full",
        "head_only",
        "warnings",
        "refusals",
    }


def test_a_flops_budget_pays_for_the_upper_layers_only() -> None:
    plan = planned(selector="top", budget={"flops": "50%"}, train={"rounds": 1, "steps": 4, "batch_size": 8})
    masks = plan.clients[0].masks
    assert masks.singles == tuple(range(min(masks.singles), 6))
    assert min(masks.singles) > 0
    price, budget = plan.clients[0].everything, plan.clients[0].budget
    assert budget.flops == pytest.approx(price.flops / 2)


def test_a_memory_budget_that_pays_for_no_layer_is_said() -> None:
    table = {"kind": "per-client", "default": {"bytes_peak": "100%"}, "clients": {"client-01": {"bytes_peak": "16%"}}}
    plan = planned(selector="top", budget=table, train={"rounds": 1, "steps": 2, "batch_size": 32})
    poor = plan.clients[1].masks
    assert (poor.singles, poor.most, poor.cheapest) == ((), 0, None)
    assert any("1 of 3 clients cannot pay for a single layer, the first is client-01" in w for w in plan_warnings(plan))


def test_seconds_come_from_device_profiles(tmp_path: Path) -> None:
    (tmp_path / "phone.yaml").write_text("forward: 1.0e9\ncarry: 1.0e9\nweight: 1.0e9\nupdate: 1.0e18\n")
    values = digits(Path("never"), selector="top", budget={"seconds": "60%"}, devices="phone.yaml")
    plan = make_plan(check_config(values, base=tmp_path))
    full, top = plan.full.mean, plan.selectors[0].mean
    assert full is not None
    assert top is not None
    # 1 GFLOP/s; the update's operations, 2 per parameter, take no time at this rate
    assert full.high.seconds == pytest.approx((full.high.flops - 2 * FULL / 4) / 1e9)
    assert 0.5 * full.high.seconds < top.high.seconds <= 0.6 * full.high.seconds
    assert 1 <= plan.clients[0].masks.most < 6
    assert not any("seconds need" in w for w in plan_warnings(plan))


def test_missing_profiles_full_and_the_probe_are_warned_of() -> None:
    train = {"rounds": 1, "steps": 1, "batch_size": 4}
    said = plan_warnings(planned(budget=2, probe={"batch_size": 16}, train=train))
    assert any(w.startswith("seconds need device profiles, no client has one") for w in said)
    assert "full fine-tuning is over the budget of 3 of 3 clients: client-00, client-01, client-02" in said
    assert any("times the FLOPs of one local step of full fine-tuning" in w for w in said)


def test_units_without_price_are_named() -> None:
    plan = planned(cost="layers", budget=2)
    said = plan_warnings(plan)
    assert any(w.startswith("not priced: bytes_up, flops, bytes_peak;") for w in said)
    assert plan_json(plan)["selectors"][0]["run"]["high"] == {
        "layers": 12.0,
        **dict.fromkeys(("flops", "bytes_up", "bytes_down", "bytes_peak", "seconds")),
    }


def test_no_weight_is_read_or_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(safetensors, "safe_open", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", refuse)
    network = planned(budget=1).subject.network.model
    assert all(isinstance(p, FakeTensor) for p in network.parameters())


def test_a_folder_with_a_config_alone_is_planned_without_data(llama: Callable[..., Plan]) -> None:
    plan = llama(Assumed(clients=4, rows=100, length=32), probe={"batch_size": 8})
    about = plan_json(plan)["planned"]
    assert (about["clients"], about["layers"], about["length"], about["steps"]) == (4, 16, 32, [13, 13])
    assert about["data"] == "planned without data, for 4 clients of 100 rows, 32 tokens"
    # q, k, v, o: 4 * 64 * 64; gate, up, down: 3 * 64 * 128; two norms: 2 * 64
    layer = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64
    assert {b.parameters for b in plan.blocks if b.role == "layer"} == {layer}
    assert plan.clients[0].masks.most == 3
    assert plan.selectors[0].mean is not None
    assert plan.selectors[0].mean.high.bytes_up == 4 * (3 * layer + 64 + 2 * 64 + 16)
    assert any(w.startswith("a run needs the weights too:") for w in plan_warnings(plan))


def test_assumed_texts_that_do_not_fit_are_refused(llama: Callable[..., Plan]) -> None:
    with pytest.raises(ConfigError, match="--length 65 is more than the model's 64 positions; give 64 or fewer"):
        llama(Assumed(1, 10, 65))
    with pytest.raises(ConfigError, match="needs the length of the texts too"):
        llama(Assumed(1, 10))
    with pytest.raises(ConfigError, match="--length is for texts"):
        make_plan(check_config(digits(Path("never"))), assumed=Assumed(1, 10, 8))


def test_texts_longer_than_a_run_keeps_are_warned_of(llama: Callable[..., Plan]) -> None:
    data = {"train": "x.csv", "test_fraction": 0.1, "text": "note", "max_length": 16}
    plan = llama(Assumed(1, 16, 32), data={**data, "partition": {"kind": "iid", "clients": 1}})
    assert any(w.startswith("a run cuts texts to 16 tokens") for w in plan_warnings(plan))


def test_without_data_or_assumptions_the_data_are_the_error(tmp_path: Path) -> None:
    values = digits(Path("never"), data={"train": "no.parquet", "test_fraction": 0.1, "image": "i", "partition": "iid"})
    values["data"]["partition"] = {"kind": "iid", "clients": 2}
    with pytest.raises(DataError, match=r"no\.parquet"):
        make_plan(check_config(values, base=tmp_path))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"path": "embedded:vit-digit"}, "did you mean 'embedded:vit-digits'"),
        ({"path": "embedded:vit-digits", "candidates": "last:9"}, "model.candidates"),
    ],
)
def test_a_wrong_model_section_is_placed(model: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(model=model)


def test_a_selector_with_options_cannot_be_named_by_its_kind() -> None:
    with pytest.raises(ConfigError, match="--selector fixed: kind 'fixed' needs 'layers'; name it in the config"):
        planned(("fixed",))
    with pytest.raises(ConfigError, match="did you mean 'consensus'"):
        planned(("consnsus",))


def test_assumed_batches_are_those_of_real_rows() -> None:
    from fedstrata.assembly.client_plans import probe_plan, train_plan
    from fedstrata.assembly.pricing import workload
    from fedstrata.data.tensors import ClientRows, TensorRows
    from fedstrata.domain.ids import ClientId
    from fedstrata.domain.seeds import Seeds
    from fedstrata.planning.subject import assumed_workload

    rows = TensorRows({"pixel_values": torch.zeros(21, 1)}, torch.zeros(21, dtype=torch.int64))
    mine = ClientRows(rows, torch.arange(21), torch.arange(0))
    for score in ("gradient-norm", "relative-gradient-norm", "signal-to-noise"):
        for batches in (0, 2):
            train = {"epochs": 2, "batch_size": 8}
            loaded = check_config(
                digits(Path("n"), score=score, train=train, probe={"batches": batches, "batch_size": 4})
            )
            real = workload(mine, ClientId("c"), train=train_plan(loaded), probe=probe_plan(loaded), seeds=Seeds(0))
            assert assumed_workload(loaded, Assumed(1, 21)) == real
