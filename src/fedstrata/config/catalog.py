"""The catalog: which class a ``kind`` names, in every family. A component's own dataclass is its config schema.

Third parties add kinds through entry points (group ``fedstrata.selectors`` and so on), or name a class directly as
``module:Class``, found on the path or in the folder of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from fedstrata.blame import note_own, raised
from fedstrata.errors import ConfigError, FedstrataError, nearest
from fedstrata.extensions.checked import HOLDERS, held
from fedstrata.extensions.interface import PROTOCOLS, missing
from fedstrata.parsing.problems import Loc, Problem, dotted, problems_of

CATALOG: Mapping[str, Mapping[str, str]] = {
    "score": {
        "gradient-norm": "fedstrata.scores.gradient_norm:GradientNorm",
        "relative-gradient-norm": "fedstrata.scores.relative_gradient_norm:RelativeGradientNorm",
        "signal-to-noise": "fedstrata.scores.signal_to_noise:SignalToNoise",
    },
    "cost": {
        "layers": "fedstrata.costs.layer_count:LayerCount",
        "measured": "fedstrata.costs.measured:Measured",
    },
    "budget": {
        "fixed": "fedstrata.budgets.fixed:Fixed",
        "half-normal": "fedstrata.budgets.half_normal:HalfNormal",
        "per-client": "fedstrata.budgets.table:PerClient",
        "device": "fedstrata.budgets.device:Device",
        "unlimited": "fedstrata.budgets.unlimited:Unlimited",
    },
    "sampler": {
        "uniform": "fedstrata.samplers.uniform:Uniform",
        "only": "fedstrata.samplers.only:Only",
    },
    "selector": {
        "full": "fedstrata.selectors.ends:Full",
        "head-only": "fedstrata.selectors.ends:HeadOnly",
        "top": "fedstrata.selectors.ends:Top",
        "bottom": "fedstrata.selectors.ends:Bottom",
        "both": "fedstrata.selectors.ends:Both",
        "fixed": "fedstrata.selectors.fixed:FixedLayers",
        "random": "fedstrata.selectors.random:Random",
        "cyclic": "fedstrata.selectors.cyclic:Cyclic",
        "independent": "fedstrata.selectors.independent:Independent",
        "common": "fedstrata.selectors.common:Common",
        "consensus": "fedstrata.selectors.consensus:Consensus",
        "bound": "fedstrata.selectors.bound:Bound",
        "periodic": "fedstrata.selectors.periodic:Periodic",
        "warmup": "fedstrata.selectors.warmup:Warmup",
    },
    "trainer": {
        "sgd": "fedstrata.trainers.sgd:Sgd",
        "fedprox": "fedstrata.trainers.fedprox:FedProx",
        "augmented": "fedstrata.trainers.augmented:Augmented",
    },
    "aggregator": {"layerwise-mean": "fedstrata.aggregators.layerwise_mean:LayerwiseMean"},
    "data": {
        "files": "fedstrata.data.kinds:Files",
        "digits": "fedstrata.data.kinds:Digits",
        "remote": "fedstrata.data.kinds:Remote",
        "own": "fedstrata.data.kinds:Own",
    },
    "partition": {
        "iid": "fedstrata.data.partition:Iid",
        "dirichlet": "fedstrata.data.partition:Dirichlet",
        "shard": "fedstrata.data.partition:Shard",
        "natural-id": "fedstrata.data.natural:NaturalId",
    },
}
"""Family -> kind -> ``module:Class``."""

UNADVERTISED = frozenset({"own"})
"""Kinds that no configuration is written with: a site makes them for itself."""


def nested(hint: object) -> str | None:
    """Return the family of the components that a field holds, by the field's type; ``None`` of other fields.

    Example:
        >>> from fedstrata.selectors.protocol import Selector
        >>> nested(Selector), nested(Selector | None), nested(float)
        ('selector', 'selector', None)
    """
    types = [one for one in (hint, *get_args(hint)) if isinstance(one, type)]
    for family, protocol in PROTOCOLS.items():
        if protocol in types or any(_path(one) in CATALOG[family].values() for one in types):
            return family
    return None


def ships(family: str, spec: object) -> bool:
    """Return whether a component, and every one that it holds, comes with fedstrata.

    Example:
        >>> inner = {"kind": "periodic", "every": 2, "inner": "my:Own"}
        >>> ships("selector", "top"), ships("selector", "my:Own"), ships("selector", inner)
        (True, False, False)
    """
    values = {"kind": spec} if isinstance(spec, str) else spec
    if not isinstance(values, Mapping) or not isinstance(kind := values.get("kind"), str):
        return False
    if kind not in CATALOG[family]:
        return False
    hints = get_type_hints(load_object(CATALOG[family][kind]))
    held_in = {name: inner for name, hint in hints.items() if (inner := nested(hint)) is not None}
    return all(ships(inner, values[name]) for name, inner in held_in.items() if name in values)


class BuildError(Exception):
    """The problems of one component, before their places in the file are known."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


def build(family: str, spec: object, loc: Loc) -> Any:  # noqa: ANN401  a component of any family
    """Build a component from its tagged mapping, such as ``{kind: consensus, rho: 0.3}``, or its bare kind.

    Args:
        family: Key of ``CATALOG``.
        spec: The mapping, or a kind alone.
        loc: Path of the mapping in the configuration.

    Raises:
        BuildError: Unknown kind or field, wrong type or value; all problems of the component at once.

    Example:
        >>> build("selector", {"kind": "top"}, ("selector",))
        Top()
    """
    values = {"kind": spec} if isinstance(spec, str) else spec
    if not isinstance(values, Mapping) or not isinstance(values.get("kind"), str):
        raise BuildError([Problem(loc, _needs_a_kind(family))])
    component = _component(family, values["kind"], (*loc, "kind"))
    given = {str(k): v for k, v in values.items() if k != "kind"}
    problems = _unknown(component, given, loc)
    arguments: dict[str, Any] = {}
    hints = _hints(component, values["kind"], loc)
    for field in fields(component):
        try:
            if field.name in given:
                arguments[field.name] = _value(field.name, hints[field.name], given[field.name], loc)
            elif field.default is MISSING and field.default_factory is MISSING:
                problems.append(Problem(loc, f"kind '{values['kind']}' needs '{field.name}'"))
        except BuildError as error:
            problems += error.problems
    if problems:
        raise BuildError(problems)
    try:
        made = component(**arguments)
    except ConfigError as error:
        message = str(error).removeprefix(f"{dotted(loc)}: ")
        raise BuildError([Problem(_blamed(message, arguments, loc), message)]) from error
    except Exception as error:  # whatever the user's own class raises
        raise BuildError([Problem(loc, f"{values['kind']} refused its options: {raised(error)}")]) from error
    return made if _path(component) in CATALOG[family].values() else held(family, made)


def _blamed(message: str, arguments: Mapping[str, object], loc: Loc) -> Loc:
    """Return the option that a component's own message is about, or the component."""
    about = [name for name in arguments if f" has {name}: " in message]
    return (*loc, about[0]) if len(about) == 1 else loc


def _hints(component: Any, kind: str, loc: Loc) -> dict[str, Any]:  # noqa: ANN401  a dataclass of any family
    try:
        return get_type_hints(component)
    except NameError as error:
        message = f"the types of {kind}'s fields are not known at run time: {error}; import them outside TYPE_CHECKING"
        raise BuildError([Problem((*loc, "kind"), message)]) from error


def describe(component: object) -> dict[str, Any]:
    """Return a built component as the mapping that builds it again, every default written out.

    Example:
        >>> describe(build("selector", {"kind": "consensus", "rho": 0.5}, ()))
        {'kind': 'consensus', 'rho': 0.5, 'time_limit': None}
    """
    component = component.own if isinstance(component, HOLDERS) else component
    path = _path(type(component))
    kind = next((k for kinds in _all_kinds().values() for k, p in kinds.items() if p == path), path)
    values = {f.name: getattr(component, f.name) for f in fields(component)}  # type: ignore[arg-type]
    hints = get_type_hints(type(component))
    return {"kind": kind} | {
        name: describe(value) if is_dataclass(value) and nested(hints[name]) else _plain(value)
        for name, value in values.items()
    }


def _path(component: type) -> str:
    return f"{component.__module__}:{component.__qualname__}"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, (tuple, frozenset)) else value


def _all_kinds() -> dict[str, dict[str, str]]:
    return {family: _kinds(family) for family in CATALOG}


def _kinds(family: str) -> dict[str, str]:
    return {**_plugins(family), **CATALOG[family]}


@cache
def _plugins(family: str) -> Mapping[str, str]:
    """Return the kinds that installed packages add; looked up once, since the search takes its time."""
    return {e.name: e.value for e in entry_points(group=f"fedstrata.{family}s")}


def _component(family: str, kind: str, loc: Loc) -> Any:  # noqa: ANN401  a dataclass of any family
    kinds = _kinds(family)
    if kind not in CATALOG[family] and (family == "data" or (kind not in kinds and ":" not in kind)):
        raise BuildError([Problem(loc, f"no {family} is called '{kind}'; {nearest(kind, _advertised(family))}")])
    try:
        component = load_object(kinds.get(kind, kind))
    except FedstrataError as error:
        raise BuildError([Problem(loc, str(error))]) from error
    if not isinstance(component, type) or not is_dataclass(component):
        raise BuildError([Problem(loc, f"{kind} has to be a dataclass; its fields are its options")])
    lacking = None if kind in CATALOG[family] else missing(family, kind, component)
    if lacking is not None:
        raise BuildError([Problem(loc, lacking)])
    return component


def load_object(path: str) -> Any:  # noqa: ANN401  whatever the path names
    """Return what ``module:name`` names.

    Raises:
        ConfigError: The module cannot be imported or has no such name.
    """
    module_name, _, name = path.partition(":")
    note_own(module_name)
    try:
        module = import_module(module_name)
    except Exception as error:  # whatever the user's own module raises
        raise ConfigError(f"cannot import '{module_name}' of '{path}': {raised(error)}") from error
    if not hasattr(module, name):
        raise ConfigError(f"'{module_name}' has no '{name}'; {nearest(name, public_names(module))}")
    return getattr(module, name)


def public_names(module: object) -> list[str]:
    """Return the names that a module offers."""
    return [n for n in dir(module) if not n.startswith("_")]


def _unknown(component: Any, given: Mapping[str, object], loc: Loc) -> list[Problem]:  # noqa: ANN401
    known = [f.name for f in fields(component)]
    return [
        Problem((*loc, name), f"no such option; {nearest(name, known) if known else 'it takes none'}")
        for name in given
        if name not in known
    ]


def _value(name: str, hint: Any, value: object, loc: Loc) -> Any:  # noqa: ANN401
    family = nested(hint)
    if family is not None and isinstance(value, (Mapping, str)):
        return build(family, value, (*loc, name))
    if family is not None and value is not None:
        raise BuildError([Problem((*loc, name), _needs_a_kind(family))])
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise BuildError(problems_of(error, value, at=(*loc, name))) from error


def _needs_a_kind(family: str) -> str:
    return f"has to be a kind, or a mapping with a kind and its options; {nearest('', _advertised(family))}"


def _advertised(family: str) -> list[str]:
    return [kind for kind in _kinds(family) if kind not in UNADVERTISED]
