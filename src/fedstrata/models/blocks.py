"""Finds the blocks of any network: its outermost lists of like modules, input to output, from structure alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from fedstrata.errors import ModelError, nearest

Path = str
"""A module's dotted path inside the model, as ``named_modules`` gives it."""

Blocks = Mapping[Path, nn.Module]
"""Blocks by path, in registration order."""


def find_blocks(model: nn.Module) -> tuple[Path, ...]:
    """Return the paths of the model's blocks in registration order; empty if it has no list of blocks.

    A block list is a ``ModuleList`` or ``Sequential`` of two or more modules of one class (or of one module, if
    that class was met in a longer list). Outermost lists win: lists inside a block (experts, sub-layers) are
    part of it. A list of stages (different shapes, each holding most of its weights in one block list) is
    flattened to the blocks of its stages. Lists of bare layers such as ``Linear`` count only where no list of
    composite modules exists.

    Example:
        >>> find_blocks(nn.Sequential(nn.Embedding(9, 4), nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])))
        ('1.0', '1.1')
    """
    for leaves in (False, True):
        lists = _outermost(model, "", leaves=leaves, known=frozenset())
        if lists:
            known = frozenset(type(block) for blocks in lists for block in blocks.values())
            lists = _outermost(model, "", leaves=leaves, known=known)
            return tuple(path for blocks in lists for path in _flatten(blocks))
    return ()


def explicit_blocks(model: nn.Module, blocks: str | Sequence[str]) -> tuple[Path, ...]:
    """Return the blocks that a user asked for: ``"children"``, or paths of blocks or of lists of blocks.

    Raises:
        ModelError: A path is not a module with parameters, or one lies inside another.

    Example:
        >>> explicit_blocks(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), "children")
        ('0', '2')
    """
    modules = {path: module for path, module in model.named_modules(remove_duplicate=False) if path}
    if blocks == "children":
        return tuple(name for name, child in model.named_children() if _trainable(child))
    found: set[Path] = set()
    for path in [blocks] if isinstance(blocks, str) else blocks:
        module = modules.get(path)
        if module is None or not _trainable(module):
            what = "does not exist" if module is None else "has no parameters"
            raise ModelError(f"module '{path}' (in 'blocks') {what}; {nearest(path, modules)}")
        inside = _members(module, path, leaves=True)
        found |= set(inside) if inside or isinstance(module, nn.ModuleList) else {path}
    ordered = tuple(path for path in modules if path in found)
    for outer in ordered:
        for path in ordered:
            if path.startswith(outer + "."):
                raise ModelError(f"module '{path}' (in 'blocks') lies inside '{outer}'; name one of them")
    return ordered


def _trainable(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _outermost(module: nn.Module, path: Path, *, leaves: bool, known: frozenset[type]) -> list[Blocks]:
    """Return the outermost block lists at or below ``module``."""
    blocks = _members(module, path, leaves=leaves)
    if len(blocks) > 1 or any(type(block) in known for block in blocks.values()):
        return [blocks]
    return [
        found
        for name, child in _children(module, path)
        for found in _outermost(child, name, leaves=leaves, known=known)
    ]


def _children(module: nn.Module, path: Path) -> Iterator[tuple[Path, nn.Module]]:
    """Yield the children by full path, a shared one at each of its places."""
    for name, child in module._modules.items():
        if child is not None:
            yield (f"{path}.{name}" if path else name), child


def _members(module: nn.Module, path: Path, *, leaves: bool) -> Blocks:
    """Return the members of a list of like modules, or nothing if ``module`` is no such list."""
    if not isinstance(module, (nn.ModuleList, nn.Sequential)):
        return {}
    members = dict(_children(module, path))
    alike = len({type(m) for m in members.values()}) == 1
    composite = all(m._modules for m in members.values())
    return members if alike and (composite or leaves) and all(map(_trainable, members.values())) else {}


def _flatten(blocks: Blocks) -> Iterator[Path]:
    """Yield the blocks of a list, one level down where its members are stages."""
    inner = [_stage_blocks(path, stage) for path, stage in blocks.items()]
    shapes = {tuple((n, p.shape) for n, p in stage.named_parameters()) for stage in blocks.values()}
    classes = {type(block) for found in inner for block in found.values()}
    if len(shapes) > 1 and len(classes) == 1 and all(inner):
        for found in inner:
            yield from found
    else:
        yield from blocks


def _stage_blocks(path: Path, stage: nn.Module) -> Blocks:
    """Return the blocks of a stage: its direct list that holds at least half of its weights, or nothing."""
    total = sum(p.numel() for p in stage.parameters())
    for name, child in _children(stage, path):
        blocks = _members(child, name, leaves=False)
        if blocks and 2 * sum(p.numel() for p in child.parameters()) >= total:
            return blocks
    return {}
