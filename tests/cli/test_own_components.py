"""A component of the user's own that does not fit or fails is never called a bug of fedstrata: whose it is, is said."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands import Said
from fedstrata.blame import OWN, own_code
from fedstrata.config.catalog import CATALOG, load_object
from fedstrata.extensions.interface import PROTOCOLS, missing
from small_runs import digits, write_config

CODE = """
from dataclasses import dataclass

from fedstrata.aggregators.layerwise_mean import LayerwiseMean
from fedstrata.aggregators.protocol import AggregatorState
from fedstrata.budgets.unlimited import Unlimited


@dataclass(frozen=True)
class Sampler:
    def sample(self, clients, rng):
        return clients[7000]


@dataclass(frozen=True)
class Aggregator:
    def init(self, weights, layers):
        return AggregatorState()

    def apply(self, weights, updates, state):
        return {}["nothing"]


@dataclass(frozen=True)
class NoSelect:
    def init(self, layers):
        return {}

    def probes(self, round, cohort, state):
        return ()


@dataclass(frozen=True)
class OtherArguments:
    def assign(self, clients):
        return {}
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget the module of one test before the next one."""
    yield
    sys.modules.pop("own_parts", None)
    OWN.discard("own_parts")


@pytest.mark.parametrize(
    ("section", "code", "message"),
    [
        ({"sampler": "own_parts:Sampler"}, 2, r"IndexError: .* in your own code: Sampler.sample \(.*own_parts.py:12\)"),
        ({"aggregator": "own_parts:Aggregator"}, 4, r"KeyError: 'nothing'; .* Aggregator.apply \(.*own_parts.py:21\)"),
        (
            {"selector": "own_parts:NoSelect"},
            2,
            r"no selector: it has no method select\(problem, state\)",
        ),
        (
            {"budget": "own_parts:OtherArguments"},
            2,
            r"assign\(clients\) does not take \(clients, seeds, yardstick\)",
        ),
    ],
    ids=["fails before the run", "fails in a round", "lacks a method", "takes other arguments"],
)
def test_own_components_are_told_from_bugs(
    tmp_path: Path, cli: Callable[..., Said], section: dict[str, object], code: int, message: str
) -> None:
    (tmp_path / "own_parts.py").write_text(CODE)
    said = cli("run", str(write_config(tmp_path / "c.yaml", digits(tmp_path / "run", **section))), "-q")
    assert said.code == code, said.err
    assert re.search(message, said.err), said.err
    assert "bug" not in said.err


@pytest.mark.parametrize(("family", "kind"), [(f, k) for f in PROTOCOLS for k in CATALOG[f]])
def test_every_component_of_the_catalog_has_its_family_s_interface(family: str, kind: str) -> None:
    assert missing(family, kind, load_object(CATALOG[family][kind])) is None


def test_what_fails_in_fedstrata_or_a_library_is_nobody_else_s() -> None:
    with pytest.raises(ValueError) as caught:
        int("x")
    caught.value.__traceback__ = None
    assert own_code(caught.value) is None
