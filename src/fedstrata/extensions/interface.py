"""Whether a component of the user's own has the methods that its family needs: asked when it is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from fedstrata.aggregators.protocol import Aggregator
from fedstrata.budgets.protocol import Budget
from fedstrata.costs.protocol import CostModel
from fedstrata.data.split import Partitioning
from fedstrata.samplers.protocol import Sampler
from fedstrata.scores.protocol import Score
from fedstrata.selectors.protocol import Selector
from fedstrata.trainers.protocol import Trainer

PROTOCOLS: Mapping[str, type] = {
    "score": Score,
    "cost": CostModel,
    "budget": Budget,
    "sampler": Sampler,
    "selector": Selector,
    "trainer": Trainer,
    "aggregator": Aggregator,
    "partition": Partitioning,
}
"""What each family's components have; ``data`` is a closed set, since what reads it has to know it."""


def missing(family: str, kind: str, component: type) -> str | None:
    """Return what a class lacks to be of a family, in one sentence, or ``None``.

    Args:
        family: Key of ``CATALOG``.
        kind: What the configuration calls it.
        component: The class.

    Example:
        >>> class Odd:
        ...     def sample(self, clients): ...
        >>> print(missing("sampler", "my:Odd", Odd))
        my:Odd is no sampler: its sample(clients) does not take (clients, rng); a sampler has sample(clients, rng)
    """
    protocol = PROTOCOLS.get(family)
    if protocol is None:
        return None
    wrong = next(_wrong(protocol, component), None)
    if wrong is None:
        return None
    needs = ", ".join(_shown(name, member) for name, member in _members(protocol))
    return f"{kind} is no {family}: {wrong}; a {family} has {needs}"


def _members(protocol: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(protocol).items():
        if isinstance(member, property) or (inspect.isfunction(member) and _public(name)):
            yield name, member


def _public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def _wrong(protocol: type, component: type) -> Iterator[str]:
    for name, member in _members(protocol):
        found = getattr(component, name, None)
        if isinstance(member, property):
            if not hasattr(component, name) and name not in getattr(component, "__annotations__", {}):
                yield f"it has no {name}"
        elif not callable(found) or (name == "__call__" and "__call__" not in dir(component)):
            yield f"it has no method {_shown(name, member)}"
        elif not _takes(found, member):
            yield f"its {_shown(name, found)} does not take ({', '.join(_parameters(member))})"


def _takes(found: Any, member: Any) -> bool:  # noqa: ANN401  functions
    try:
        wanted = inspect.signature(member).parameters
        named = {name: name for name, one in wanted.items() if one.kind is one.KEYWORD_ONLY}
        inspect.signature(found).bind(*(name for name in wanted if name not in named), **named)
    except TypeError:
        return False
    except ValueError:  # a function written in C says nothing of what it takes
        return True
    return True


def _shown(name: str, member: Any) -> str:  # noqa: ANN401  a function or property
    return name if isinstance(member, property) else f"{name}({', '.join(_parameters(member))})"


def _parameters(member: Any) -> list[str]:  # noqa: ANN401  a function
    return [name for name in inspect.signature(member).parameters if name != "self"]
