"""The layer language: how configs and commands name layers, the same everywhere.

A specification is one term, or several separated by commas or given as a list; the mask is their union.

========================  ================================================================================
``3``, ``-1``             one layer by 0-based index; negative counts from the output
``0-2``                   a range, both ends included
``first:2``, ``last:2``   so many layers nearest the input, nearest the output
``bottom:25%``            a share nearest the input (``top:25%``: the output), rounded down, at least one
``vit.layers.3``          a name; or its dotted ending (``layers.3``); or parts of it in order (``vit.3``)
``name:head``             a name, even one that reads like another kind of term
``/attn|mlp/``            every name in which the regular expression is found (``domain/regex.py``)
``all``, ``none``         every layer that is not tied; no layer
========================  ================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fedstrata.domain.layers import Layer, LayerMap, Mask
from fedstrata.domain.regex import PatternError, pattern_of
from fedstrata.errors import LayerError, nearest, shortened

LayerSpec = str | int | Sequence[str | int]
"""What a user may write where layers are asked for."""

MOST_TERMS = 1000
"""Terms of a specification."""
MOST_CHARACTERS = 1000
"""Characters of a term, and of all patterns of a specification; it may be somebody else's."""
_TERM = re.compile(r"\s*(/(?:\\.|[^/\\])*/\s*(?=,|$)|[^,]*)(,|$)")
_INDEX = re.compile(r"-?\d+")
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")
_END = re.compile(r"(first|bottom|last|top)\s*:\s*(.*)")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)")


def parse_layers(spec: LayerSpec, layers: LayerMap) -> Mask:
    """Return the layers that a specification names.

    Terms that describe many layers (``all``, ``/regex/``, a percentage) leave tied layers out, since no mask
    may hold them; terms that name layers (an index, a range, a count, a name) refuse them.

    Raises:
        LayerError: A term matches nothing, is ambiguous, or names a tied layer.

    Example:
        >>> from fedstrata.domain.layers import Role
        >>> from fedstrata.domain.ids import LayerName
        >>> layers = LayerMap(tuple(Layer(LayerName(f"vit.layers.{i}"), Role.LAYER, ()) for i in range(6)))
        >>> sorted(parse_layers("0, last:2", layers)), sorted(parse_layers("top:25%", layers))
        ([0, 4, 5], [5])
        >>> parse_layers("layers.9", layers)
        Traceback (most recent call last):
        fedstrata.errors.LayerError: no layer is named 'layers.9'; did you mean 'vit.layers.5' or \
'vit.layers.4' or 'vit.layers.3'?
    """
    names = [str(name) for name in layers.names]
    tied = {i for i, layer in enumerate(layers) if layer.tied_with}
    chosen: set[int] = set()
    for term in split_terms(spec):
        found = resolve_term(term, names)
        if _describes(term):
            if found and not found - tied:
                raise _tied(term, layers.layers[min(found)])
            found -= tied
        elif found & tied:
            raise _tied(term, layers.layers[min(found & tied)])
        chosen |= found
    return frozenset(chosen)


def parse_blocks(spec: LayerSpec, layers: LayerMap) -> tuple[Layer, ...]:
    """Return the blocks, of whatever role, that a specification names, from input to output.

    Numbers count layers. Names and patterns search all blocks; ``head`` stands for the ``always`` blocks and
    ``embeddings`` for the ``never`` blocks (write ``name:head`` for a block that is really called so).

    Raises:
        LayerError: A term matches nothing or is ambiguous.

    Example:
        >>> from fedstrata.domain.layers import Role
        >>> from fedstrata.domain.ids import LayerName
        >>> head = Layer(LayerName("classifier"), Role.ALWAYS, ())
        >>> layers = LayerMap((Layer(LayerName("h.0"), Role.LAYER, ()),), (head,))
        >>> [block.name for block in parse_blocks(["head", 0], layers)]
        ['h.0', 'classifier']
    """
    blocks = (*layers.never, *layers.layers, *layers.always)
    names = [str(block.name) for block in blocks]
    offset = len(layers.never)
    chosen: set[int] = set()
    for term in split_terms(spec):
        if term == "head":
            chosen |= set(range(offset + len(layers), len(blocks)))
        elif term == "embeddings":
            chosen |= set(range(offset))
        elif counts_layers(term):
            chosen |= {offset + i for i in resolve_term(term, names[offset : offset + len(layers)])}
        else:
            chosen |= resolve_term(term, names, noun="block")
    return tuple(blocks[i] for i in sorted(chosen))


def split_terms(spec: LayerSpec) -> list[str]:
    """Return the terms of a specification; commas inside ``/.../`` do not separate.

    Example:
        >>> split_terms("0-2, /a{1,2}/"), split_terms([3, "last:1"])
        (['0-2', '/a{1,2}/'], ['3', 'last:1'])
    """
    if isinstance(spec, bool) or not isinstance(spec, (str, int, Sequence)):
        raise LayerError(f"layers must be text, a number or a list of these, got {spec!r}")
    if isinstance(spec, int):
        return [str(spec)]
    terms = _written(spec) if isinstance(spec, str) else [term for item in spec for term in split_terms(item)]
    if len(terms) > MOST_TERMS:
        raise LayerError(f"layers are given by {len(terms)} terms, {MOST_TERMS} at most; use a range or a pattern")
    if sum(len(term) for term in terms if term.startswith("/")) > MOST_CHARACTERS:
        raise LayerError(f"patterns of layers have {MOST_CHARACTERS} characters in all at most; write them shorter")
    return terms


def _written(spec: str) -> list[str]:
    terms: list[str] = []
    position, separator = 0, ","
    while separator:
        match = _TERM.match(spec, position)
        term = match[1].strip() if match else ""
        if match is None or not term:
            raise LayerError(f"empty term in layers {shortened(spec)!r}; write 'none' for no layer")
        if len(term) > MOST_CHARACTERS:
            raise LayerError(f"'{shortened(term)}' has {len(term)} characters, as no layer has; write it shorter")
        terms.append(term)
        position, separator = match.end(), match[2]
    return terms


def resolve_term(term: str, names: Sequence[str], *, noun: str = "layer") -> set[int]:
    """Return the 0-based indices into ``names`` that one term stands for, tied or not.

    Raises:
        LayerError: The term matches nothing or is ambiguous.
    """
    if term == "all":
        return set(range(len(names)))
    if term == "none":
        return set()
    if _INDEX.fullmatch(term):
        return {_index(int(term), len(names))}
    if match := _RANGE.fullmatch(term):
        return _range(int(match[1]), int(match[2]), len(names))
    if match := _END.fullmatch(term):
        return _end(term, match[1] in ("first", "bottom"), match[2], len(names))
    if term.startswith("/"):
        return _regex(term, names, noun)
    return _named(term.removeprefix("name:").strip(), names, noun)


def _describes(term: str) -> bool:
    return term == "all" or term.startswith("/") or (counts_layers(term) and term.endswith("%"))


def counts_layers(term: str) -> bool:
    """Return whether a term names layers by their numbers, and so never any other block.

    Example:
        >>> counts_layers("last:2"), counts_layers("head")
        (True, False)
    """
    return any(p.fullmatch(term) for p in (_INDEX, _RANGE, _END)) or term in ("all", "none")


def _tied(term: str, layer: Layer) -> LayerError:
    return LayerError(
        f"layer '{layer.name}' (named by '{term}') shares weights with '{layer.tied_with[0]}'; "
        "no mask may hold it: leave it out, or move both to 'never'"
    )


def _valid(count: int) -> str:
    return f"the model has {count} layers, 0..{count - 1} (or -{count}..-1)" if count else "the model has none"


def _index(index: int, count: int) -> int:
    if not -count <= index < count:
        raise LayerError(f"layer {shortened(str(index))} does not exist: {_valid(count)}")
    return index % count


def _range(low: int, high: int, count: int) -> set[int]:
    if low > high:
        raise LayerError(f"range {shortened(f'{low}-{high}')} runs backwards; write {shortened(f'{high}-{low}')}")
    return set(range(_index(low, count), _index(high, count) + 1))


def _end(term: str, from_input: bool, amount: str, count: int) -> set[int]:  # noqa: FBT001
    match = _AMOUNT.fullmatch(amount.strip())
    if match is None or (not match[2] and "." in match[1]):
        raise LayerError(
            f"cannot read '{shortened(amount)}' in '{shortened(term)}'; write a count (last:2) or a share (top:25%)"
        )
    value = float(match[1])
    if match[2] and not 0 < value <= 100:
        raise LayerError(f"the share in '{shortened(term)}' must be above 0% and at most 100%")
    size = max(1, int(count * value / 100 + 1e-9)) if match[2] else int(match[1])
    if not 1 <= size <= count:
        raise LayerError(f"'{shortened(term)}' asks for {shortened(str(size))} layers: {_valid(count)}")
    return set(range(size)) if from_input else set(range(count - size, count))


def _regex(term: str, names: Sequence[str], noun: str) -> set[int]:
    if len(term) < 3 or not term.endswith("/"):
        raise LayerError(f"pattern '{shortened(term)}' must be written between slashes, as in /attn/")
    try:
        pattern = pattern_of(term[1:-1])
    except PatternError as error:
        raise LayerError(f"pattern {shortened(term)} cannot be used: {error}") from error
    found = {i for i, name in enumerate(names) if pattern.found_in(name)}
    if not found:
        raise LayerError(f"pattern {shortened(term)} matches no {noun}; {nearest(term[1:-1], names)}")
    return found


def _named(word: str, names: Sequence[str], noun: str) -> set[int]:
    if word in names:
        return {names.index(word)}
    parts = word.split(".")
    for match in (_is_ending, _is_abbreviation):
        found = [i for i, name in enumerate(names) if match(parts, name.split("."))]
        if len(found) == 1:
            return set(found)
        if found:
            some = ", ".join(f"'{names[i]}'" for i in found[:4])
            raise LayerError(f"{noun} name '{word}' is ambiguous: it could be {some}; write more of the path")
    raise LayerError(f"no {noun} is named '{shortened(word)}'; {nearest(word, names)}")


def _is_ending(parts: Sequence[str], name: Sequence[str]) -> bool:
    return list(name[-len(parts) :]) == list(parts)


def _is_abbreviation(parts: Sequence[str], name: Sequence[str]) -> bool:
    if parts[-1] != name[-1]:
        return False
    rest = iter(name)
    return all(part in rest for part in parts)
