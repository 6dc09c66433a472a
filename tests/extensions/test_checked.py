"""A component of one's own that returns what its family does not is told by name, file and line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from commands import Said
from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.blame import OWN
from fedstrata.config.catalog import CATALOG, BuildError, build, describe
from fedstrata.costs.protocol import Facts
from fedstrata.data.split import Split
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.prices import Prices
from fedstrata.domain.selection import Certificate, Selection
from fedstrata.domain.stats import LayerStats, Statistic
from fedstrata.errors import ComponentError
from fedstrata.extensions.checked import HELD, held
from fedstrata.extensions.interface import PROTOCOLS
from fedstrata.selectors.ends import HeadOnly
from small_runs import digits, write_config
from toys import toy_model

WRONG: Mapping[str, object] = {"nothing": None, "a text": "text", "a list": [1, [2], None]}
METHODS = (
    ("score", "needs"),
    ("score", "__call__"),
    ("cost", "bind"),
    ("cost", "prices"),
    ("budget", "assign"),
    ("sampler", "sample"),
    ("selector", "init"),
    ("selector", "probes"),
    ("selector", "select"),
    ("trainer", "batch"),
    ("trainer", "loss"),
    ("trainer", "optimizer"),
    ("trainer", "rate"),
    ("trainer", "cost"),
    ("trainer", "end"),
    ("aggregator", "init"),
    ("aggregator", "apply"),
    ("partition", "split"),
)
A, B = ClientId("a"), ClientId("b")
WEIGHTS = {TensorName("w"): torch.zeros(2)}


@dataclass(frozen=True)
class Returns:
    """Returns one value from every method of every family."""

    value: Any

    @property
    def needs(self) -> Any:  # noqa: ANN401
        return self.value

    def __call__(self, *_: object) -> Any:  # noqa: ANN401
        return self.value

    def any(self, *_: object, **__: object) -> Any:  # noqa: ANN401
        return self.value

    bind = prices = assign = sample = init = probes = select = split = batch = loss = optimizer = rate = any
    cost = end = any

    @property
    def reads(self) -> Any:  # noqa: ANN401
        return self.value

    def apply(self, weights: object, updates: Iterator[object], state: object) -> Any:  # noqa: ANN401
        list(updates)
        return self.value


CALLS: Mapping[tuple[str, str], Callable[[Any], object]] = {
    ("score", "needs"): lambda own: own.needs,
    ("score", "__call__"): lambda own: own(LayerStats((), 1)),
    ("cost", "bind"): lambda own: own.bind(_facts()),
    ("cost", "prices"): lambda own: own.bind(_facts()).prices(A, None),
    ("budget", "assign"): lambda own: own.assign([A, B], None, None),
    ("sampler", "sample"): lambda own: own.sample([A, B], None),
    ("selector", "init"): lambda own: own.init(None),
    ("selector", "probes"): lambda own: own.probes(0, [A, B], {}),
    ("selector", "select"): lambda own: own.select(None, {}),
    ("trainer", "batch"): lambda own: own.batch({"x": torch.zeros(2)}, torch.zeros(2)),
    ("trainer", "loss"): lambda own: own.loss(None, None, {}, None),
    ("trainer", "optimizer"): lambda own: own.optimizer({}, None, ()),
    ("trainer", "rate"): lambda own: own.rate(0, 1),
    ("trainer", "cost"): lambda own: own.cost(None),
    ("trainer", "end"): lambda own: own.end(None, {}, {"w": None}),
    ("aggregator", "init"): lambda own: own.init(WEIGHTS, None),
    ("aggregator", "apply"): lambda own: own.apply(WEIGHTS, [], AggregatorState()),
    ("partition", "split"): lambda own: own.split(np.zeros(3, dtype=np.int64), seed=0),
}


def _facts() -> Facts:
    return Facts(toy_model().layers, None, None, {})  # type: ignore[arg-type]


def call(family: str, method: str, value: object) -> object:
    """Return what a method of a component returns that returns a value."""
    own = Returns(Returns(value) if method == "prices" else value)
    return CALLS[family, method](held(family, own))


def test_what_a_trainer_reads_is_a_name_or_nothing() -> None:
    assert [held("trainer", Returns(value)).reads for value in (None, "pixel_values")] == [None, "pixel_values"]
    with pytest.raises(
        ComponentError, match=r"reads .* returned 3 \(int\); it must return the name of an input, or None"
    ):
        held("trainer", Returns(3)).reads  # noqa: B018


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"u": {}}, r"something for 'u' \(str\), which was not trained"),
        ({"w": 3}, r"3 \(int\)"),
        ({"w": {"m": 3}}, r"as 'm' \(str\) of w 3 \(int\)"),
        ({"w": {"a/b": torch.zeros(1)}}, r"as 'a/b' \(str\) of w"),
        ({"w": {3: torch.zeros(1)}}, r"as 3 \(int\) of w"),
    ],
)
def test_a_client_s_state_is_tensors_by_name_of_what_was_trained(state: object, said: str) -> None:
    with pytest.raises(ComponentError, match=rf"end .* returned {said}"):
        held("trainer", Returns(state)).end(None, {}, {"w": None})


def test_every_family_and_method_is_tried() -> None:
    assert {family for family, _ in METHODS} == set(HELD) == set(PROTOCOLS) == set(CATALOG) - {"data"}
    assert set(METHODS) == set(CALLS)


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(("family", "method"), METHODS)
def test_what_is_no_result_at_all_is_told(family: str, method: str, value: object) -> None:
    with pytest.raises(ComponentError, match=rf"{__name__}:Returns\..* \({__file__}:\d+\) returned .*; it must return"):
        call(family, method, value)


ONE = Prices(("flops",), np.zeros(1), np.zeros((1, 3)), np.zeros((1, 3)))
SPLIT = Split({A: np.array([0, 2])})
STATE = AggregatorState()
CLOSE: tuple[tuple[str, str, object, str], ...] = (
    ("score", "needs", {"norm"}, "frozenset of Statistic"),
    ("score", "__call__", torch.zeros(2), "a number"),
    ("cost", "prices", replace(ONE, units=("euros",)), "'euros' .*which is no unit of layers, flops"),
    ("cost", "prices", replace(ONE, base=None), "prices whose base is"),  # type: ignore[arg-type]
    ("cost", "prices", replace(ONE, each=np.zeros((1, 99))), r"each has the shape \(1, 99\), and not \(1, "),
    ("budget", "assign", {A: Cost()}, "no budget for client b"),
    ("budget", "assign", {A: Cost(), B: 3}, r"for client b 3 \(int\)"),
    ("budget", "assign", {A: Cost(), B: Cost(layers="2")}, "for client b Cost"),  # type: ignore[arg-type]
    ("sampler", "sample", (A, "c"), r"'c' \(str\), which is none of them"),
    ("sampler", "sample", (A, A), "none twice"),
    ("sampler", "sample", (B, A), "in ascending order"),
    ("selector", "init", {"masks": {1, 2}}, "a memory that JSON cannot hold"),
    ("selector", "probes", ["c"], "which is none of them"),
    ("selector", "select", ({A: frozenset()}, {}), "a pair whose first is"),
    ("selector", "select", (Selection([]), {}), r"whose masks are \[\]"),  # type: ignore[arg-type]
    ("selector", "select", (Selection({A: [1]}), {}), r"as the mask of client a \[1\]"),  # type: ignore[dict-item]
    ("selector", "select", (Selection({A: frozenset({True})}), {}), "as the mask of client a"),
    ("selector", "select", (Selection({A: frozenset({"x"})}), {}), "as the mask"),  # type: ignore[arg-type]
    ("selector", "select", (Selection({}, "proven"), {}), "whose certificate is 'proven'"),  # type: ignore[arg-type]
    ("selector", "select", (Selection({}, Certificate("1", 2.0, 0.0, "mine")), {}), "whose certificate is"),  # type: ignore[arg-type]
    ("selector", "select", (Selection({}), None), r"returned None; it must return a pair"),
    ("aggregator", "apply", ({}, STATE), "weights without w"),
    ("aggregator", "apply", ({"w": torch.zeros(2), "v": 1}, STATE), "weights with a new v"),
    ("aggregator", "apply", ({"w": 1}, STATE), r"as w 1 \(int\)"),
    ("aggregator", "apply", ({"w": torch.zeros(3)}, STATE), r"shape \[3\] of torch.float32, and not \[2\]"),
    ("aggregator", "apply", (WEIGHTS, AggregatorState({TensorName("m"): 1})), "memory whose m"),  # type: ignore[dict-item]
    ("partition", "split", Split({}), "a Split without clients"),
    ("partition", "split", Split({ClientId("A b"): np.array([0])}), "'A b' .*as the name of a client"),
    ("partition", "split", Split({A: np.array([0.5])}), "as the rows of client a"),
    ("partition", "split", Split({A: [[0], [1, 2]]}), "as the rows of client a"),  # type: ignore[dict-item]
    ("partition", "split", Split({A: np.array([0])}, 0, [A]), "whose natural_ids are"),  # type: ignore[arg-type]
    ("partition", "split", Split({A: np.array([3])}), "row 3 for client a"),
    ("partition", "split", Split({A: np.array([0]), B: np.array([0])}), "row 0 more than once"),
)


@pytest.mark.parametrize(("family", "method", "value", "words"), CLOSE)
def test_what_is_nearly_a_result_is_told_too(family: str, method: str, value: object, words: str) -> None:
    with pytest.raises(ComponentError, match=words):
        call(family, method, value)


def test_an_aggregator_has_to_read_every_update() -> None:
    class Hasty(Returns):
        apply = Returns.any

    with pytest.raises(ComponentError, match=r"returned before it had read all updates"):
        held("aggregator", Hasty((WEIGHTS, STATE))).apply(WEIGHTS, [], STATE)


@pytest.mark.parametrize("value", [*WRONG.values(), 17, 1 << 13, 16.0])
def test_a_selector_reads_sketches_of_a_size_that_there_is(value: object) -> None:
    class Sketched(Returns):
        @property
        def sketch(self) -> Any:  # noqa: ANN401
            return self.value

    with pytest.raises(ComponentError, match=r"Sketched.sketch .* a power of two from 16 to 4096"):
        _ = held("selector", Sketched(value)).sketch
    assert [held("selector", Sketched(right)).sketch for right in (0, 16)] == [0, 16]


def test_right_results_pass_and_numbers_of_numpy_become_plain() -> None:
    assert call("score", "needs", {Statistic.NORM}) == frozenset({Statistic.NORM})
    assert call("score", "__call__", np.float64(2)) == 2.0
    assert call("sampler", "sample", [A, B]) == (A, B)
    assert call("selector", "probes", ()) == ()
    masks: Any = {A: {np.int64(1)}}
    selection, memory = cast("tuple[Selection, object]", call("selector", "select", (Selection(masks), {})))
    assert (selection.masks, memory) == ({A: frozenset({1})}, {})
    assert [type(index) for index in selection.masks[A]] == [int]
    assert call("aggregator", "apply", (WEIGHTS, STATE)) == (WEIGHTS, STATE)
    split = call("partition", "split", SPLIT)
    assert isinstance(split, Split)
    assert (split.rows[A].tolist(), split.left_over) == ([0, 2], 1)


def test_what_holds_is_described_as_what_it_holds_also_inside_another() -> None:
    own = f"{__name__}:Own"
    made = build("selector", {"kind": "periodic", "every": 2, "inner": own}, ())
    assert describe(made) == {"kind": "periodic", "every": 2, "inner": {"kind": own}}
    assert made.inner.own == Own()


@dataclass(frozen=True)
class Own(HeadOnly):
    """A selector of one's own."""


def test_kinds_of_data_are_a_closed_set() -> None:
    with pytest.raises(BuildError) as caught:
        build("data", f"{__name__}:Own", ("data",))
    assert "no data is called" in caught.value.problems[0].message


CODE = """
from dataclasses import dataclass

from torch import nn

from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.budgets.unlimited import Unlimited
from fedstrata.costs.layer_count import LayerCount
from fedstrata.data.partition import Iid
from fedstrata.samplers.uniform import Uniform
from fedstrata.scores.gradient_norm import GradientNorm
from fedstrata.selectors.ends import Top
from fedstrata.trainers.sgd import Sgd

SCORE, COST, BUDGET, SAMPLER, SELECTOR = GradientNorm, LayerCount, Unlimited, Uniform, Top
AGGREGATOR, PARTITION, TRAINER = LayerwiseMean, Iid, Sgd


@dataclass(frozen=True)
class Own({base}):
{body}


def net(labels):
    return {value!r}
"""
BODIES = {
    "needs": "    @property\n    def needs(self):\n        return {!r}",
    "prices": "    def bind(self, facts):\n        return self\n\n    def prices(self, *_):\n        return {!r}",
    "split": "    def split(self, labels, *, seed):\n        return {!r}",
    "apply": "    def apply(self, weights, updates, state):\n        list(updates)\n        return {!r}",
}
USUAL = "    def {}(self, *_):\n        return {{!r}}"


@pytest.fixture
def module() -> Iterator[str]:
    """Return the name of a module that is forgotten after the test."""
    yield "own_results"
    sys.modules.pop("own_results", None)
    OWN.discard("own_results")


@pytest.mark.parametrize(("family", "method"), METHODS)
def test_a_run_ends_with_one_sentence_that_names_it(
    tmp_path: Path, cli: Callable[..., Said], module: str, family: str, method: str
) -> None:
    value = list(WRONG.values())[METHODS.index((family, method)) % len(WRONG)]
    body = BODIES.get(method, USUAL.format(method)).format(value)
    file = tmp_path / f"{module}.py"
    file.write_text(CODE.format(base=family.upper(), body=body, value=value))
    own: dict[str, Any] = {family: {"kind": f"{module}:Own"}}
    if family == "partition":
        own = {"data": {"kind": "digits", "partition": {"kind": f"{module}:Own", "clients": 3}}}
    if family == "score":
        own |= {"selector": "consensus"}
    said = cli("run", str(write_config(tmp_path / "c.yaml", digits(tmp_path / "run", **own))), "-q")
    assert said.code == 2, said.err
    assert re.search(rf"{module}:Own\.{method} \({file}:\d+\) returned .*; it must return", said.err), said.err
    assert "Traceback" not in said.err
    assert "bug" not in said.err
