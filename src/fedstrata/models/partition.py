"""Splits any network into layers that clients select, blocks that everyone trains, and blocks that stay frozen.

Every parameter belongs to exactly one block. What the model registers before its first block is ``never``
(embeddings, patch stem), what comes after its last block is ``always`` (final norm, pooler, head); what lies
between two blocks (patch merging, an inner stack's final norm) joins the neighbour it shares more of its path
with, the earlier one on a tie. Three exceptions: what a ``transformers`` model adds to its base model is
``always``; lookup tables outside blocks, and those that only one block of a list holds (T5's relative positions),
are ``never``; so is what has no parameters. With ``units="halves"`` every block becomes two layers, its attention half
and its MLP half, in the order in which they run (``models/sublayers.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.domain.layer_language import LayerSpec, parse_blocks, resolve_term, split_terms
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.errors import LayerError, ModelError
from fedstrata.models.blocks import Path, explicit_blocks, find_blocks
from fedstrata.models.form import Units
from fedstrata.models.sublayers import Half, halves


@dataclass(slots=True)
class _Unit:
    """A module, or a parameter that a container holds directly, on its way to becoming a block."""

    path: Path
    role: Role | None = None
    parameters: dict[str, Tensor] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)
    table: bool = False
    head: bool = False
    parts: tuple[Path, ...] = ()


def partition(
    model: nn.Module,
    *,
    candidates: LayerSpec = "all",
    always: LayerSpec = (),
    never: LayerSpec = (),
    blocks: str | Sequence[str] | None = None,
    units: Units = "blocks",
) -> LayerMap:
    """Return the model's blocks with their roles, from input to output.

    Args:
        model: Any network, on any device (``meta`` included).
        candidates: Layers that clients may select; the others are frozen.
        always: Blocks to train by everyone, beyond the default; numbers count the layers found.
        never: Blocks to freeze, beyond the default.
        blocks: Where automatic discovery does not fit: paths of blocks or of lists of blocks, or ``"children"``.
        units: Whether a layer is a block, or its attention half or MLP half.

    Raises:
        ModelError: No blocks are found, ``blocks`` names none, or a block has no halves.
        LayerError: A term matches nothing, or a block is asked to be both ``always`` and ``never``.

    Example:
        >>> block = lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        >>> net = nn.Sequential(nn.Embedding(9, 4), nn.Sequential(block(), block()), nn.Linear(4, 2))
        >>> found = partition(net)
        >>> found.names, [b.name for b in found.always], [b.name for b in found.never]
        (('1.0', '1.1'), ['2'], ['0'])
    """
    paths = find_blocks(model) if blocks is None else explicit_blocks(model, blocks)
    if not paths:
        children = ", ".join(f"'{name}'" for name, _ in model.named_children())
        raise ModelError(
            f"{type(model).__name__} has no list of two or more like blocks to select from; set model.blocks to "
            f"'children' or to a list of module paths (its children: {children or 'none'})"
        )
    found_units = [half for unit in _units(model, paths) for half in _split(model, unit, units)]
    _assign_roles(found_units)
    found = _layer_map(_join_between(found_units), model)
    return _override(found, candidates=candidates, always=always, never=never)


def _units(model: nn.Module, paths: Sequence[Path]) -> list[_Unit]:
    """Return blocks and whatever lies outside them, in registration order."""
    base = getattr(model, "base_model", model)
    base_path = next((path for path, module in model.named_modules() if module is base), "")
    tables = _private_tables(model, paths)
    units = [u for u in _walk(model, "", set(paths), tables) if u.parameters or u.buffers]
    for unit in units:
        unit.head = bool(base_path) and not (unit.path + ".").startswith(base_path + ".")
    return units


def _walk(module: nn.Module, path: Path, blocks: set[Path], tables: set[Path]) -> Iterator[_Unit]:
    """Yield units at and below ``module``: blocks, maximal modules without blocks, single parameters."""
    if path in blocks or not any(block.startswith(f"{path}." if path else "") for block in blocks):
        yield _module_unit(module, path, Role.LAYER if path in blocks else None, tables)
        for table in sorted(t for t in tables if t.startswith(path + ".")):
            yield _module_unit(module.get_submodule(table.removeprefix(path + ".")), table, Role.NEVER, set())
        return
    prefix = f"{path}." if path else ""
    for name, parameter in module.named_parameters(recurse=False):
        yield _Unit(prefix + name, parameters={prefix + name: parameter})
    for name, _ in module.named_buffers(recurse=False):
        yield _Unit(prefix + name, buffers=[prefix + name])
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, prefix + name, blocks, tables)


def _module_unit(module: nn.Module, path: Path, role: Role | None, tables: set[Path]) -> _Unit:
    def mine(name: str) -> bool:
        return not any(name.startswith(table + ".") for table in tables)

    named = module.named_parameters(prefix=path, remove_duplicate=False)
    parameters: dict[str, Tensor] = {name: p for name, p in named if mine(name)}
    buffers = [n for n, _ in module.named_buffers(prefix=path, remove_duplicate=False) if mine(n)]
    embedded = {id(p) for m in module.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    table = bool(parameters) and all(id(p) in embedded for p in parameters.values())
    return _Unit(path, role, parameters, buffers, table=table)


def _split(model: nn.Module, unit: _Unit, units: Units) -> list[_Unit]:
    """Return a block's halves where layers are halves, and any other unit as it is."""
    if unit.role is not Role.LAYER or units == "blocks":
        return [unit]
    return [_half(unit, half) for half in halves(model.get_submodule(unit.path), unit.path)]


def _half(unit: _Unit, half: Half) -> _Unit:
    def mine(name: str) -> bool:
        return half.holds(name.removeprefix(f"{unit.path}."))

    parameters = {name: p for name, p in unit.parameters.items() if mine(name)}
    buffers = [name for name in unit.buffers if mine(name)]
    parts = tuple(f"{unit.path}.{part}" for part in half.parts)
    return _Unit(f"{unit.path}.{half.name}", Role.LAYER, parameters, buffers, parts=parts)


def _private_tables(model: nn.Module, paths: Sequence[Path]) -> set[Path]:
    """Return the lookup tables that a block has and another block of its list has not."""
    inside = {
        path: {name for name, module in model.get_submodule(path).named_modules() if isinstance(module, nn.Embedding)}
        for path in paths
    }
    return {
        f"{path}.{name}"
        for path, names in inside.items()
        for name in names
        if any(name not in other for p, other in inside.items() if p.rpartition(".")[0] == path.rpartition(".")[0])
    }


def _assign_roles(units: Sequence[_Unit]) -> None:
    """Give a role to every unit but those between two blocks."""
    places = [i for i, unit in enumerate(units) if unit.role is Role.LAYER]
    for i, unit in enumerate(units):
        if unit.role is not None:
            continue
        if not unit.parameters:
            unit.role = Role.NEVER
        elif unit.head:
            unit.role = Role.ALWAYS
        elif unit.table or i < places[0]:
            unit.role = Role.NEVER
        elif i > places[-1]:
            unit.role = Role.ALWAYS


def _join_between(units: Sequence[_Unit]) -> list[_Unit]:
    """Fold units between two blocks into one of them."""
    whole = [unit for unit in units if unit.role is not None]
    for i, unit in enumerate(units):
        if unit.role is None:
            before = next(u for u in reversed(units[:i]) if u.role is Role.LAYER)
            after = next(u for u in units[i:] if u.role is Role.LAYER)
            nearer = after if _shared(unit.path, after.path) > _shared(unit.path, before.path) else before
            nearer.parameters |= unit.parameters
            nearer.buffers += unit.buffers
    return whole


def _shared(a: Path, b: Path) -> int:
    """Return how many leading parts two paths share."""
    count = 0
    for left, right in zip(a.split("."), b.split("."), strict=False):
        if left != right:
            break
        count += 1
    return count


def _layer_map(units: Sequence[_Unit], model: nn.Module) -> LayerMap:
    """Give each parameter one owner (``never`` first, then the earliest), and say which blocks share it."""
    canonical = {id(p): name for name, p in model.named_parameters()}
    users: dict[int, list[int]] = {}
    for i, unit in enumerate(units):
        for key in dict.fromkeys(id(p) for p in unit.parameters.values()):
            users.setdefault(key, []).append(i)
    owner = {key: min(who, key=lambda i: (units[i].role is not Role.NEVER, i)) for key, who in users.items()}
    made: Mapping[Role, list[Layer]] = {role: [] for role in Role}
    for i, unit in enumerate(units):
        own = {id(p): p for p in unit.parameters.values() if owner[id(p)] == i}
        ties = {j for p in unit.parameters.values() for j in users[id(p)] if j != i}
        role = unit.role or Role.NEVER
        made[role].append(
            Layer(
                LayerName(unit.path),
                role,
                tuple(_spec(canonical[key], p) for key, p in own.items()),
                tuple(TensorName(name) for name in unit.buffers),
                tuple(LayerName(units[j].path) for j in sorted(ties)),
                unit.parts,
            )
        )
    return LayerMap(tuple(made[Role.LAYER]), tuple(made[Role.ALWAYS]), tuple(made[Role.NEVER]))


def _spec(name: str, parameter: Tensor) -> TensorSpec:
    return TensorSpec(TensorName(name), tuple(parameter.shape), parameter.element_size())


def _override(found: LayerMap, *, candidates: LayerSpec, always: LayerSpec, never: LayerSpec) -> LayerMap:
    """Return the map with the user's wishes about roles carried out."""
    names = [str(name) for name in found.names]
    keep = {names[i] for term in split_terms(candidates) for i in resolve_term(term, names)}
    if not keep:
        raise LayerError(f"candidates {candidates!r} leave no layer to select; {len(names)} layers were found")
    trained = {block.name for block in parse_blocks(always, found)}
    frozen = {block.name for block in parse_blocks(never, found)}
    if both := sorted(trained & frozen):
        raise LayerError(f"block '{both[0]}' is named by both 'always' and 'never'; keep one")
    made: Mapping[Role, list[Layer]] = {role: [] for role in Role}
    for block in (*found.never, *found.layers, *found.always):
        role = Role.NEVER if block.role is Role.LAYER and block.name not in keep else block.role
        role = Role.ALWAYS if block.name in trained else Role.NEVER if block.name in frozen else role
        made[role].append(replace(block, role=role))
    if not made[Role.LAYER]:
        raise LayerError("'always' and 'never' leave no layer to select")
    return LayerMap(tuple(made[Role.LAYER]), tuple(made[Role.ALWAYS]), tuple(made[Role.NEVER]))
