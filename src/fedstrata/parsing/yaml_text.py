"""YAML that may be anything: every value with the place where it stands, and no text that takes for ever or too much.

Bytes, depth and the values that come out are bounded; values are counted as often as aliases (``*name``) and merges
(``<<``) repeat them, so nine aliases of nine aliases of nine end early. No key is given twice. A tag that does not fit
its value is an error with its place, as any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from fedstrata.errors import ConfigError, shortened
from fedstrata.parsing.bounded_files import MEBIBYTE, is_text
from fedstrata.parsing.yaml_nodes import MERGE, compose, place

MOST_BYTES = 4 * MEBIBYTE
"""Bytes of a text."""
MOST_VALUES = 100_000
"""Values that come out of a text, those inside others counted."""
MOST_NUMBER = 100
"""Characters of a number."""
_WHOLE = range(-(2**63), 2**63)
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

Loc = tuple[str | int, ...]
"""Path of a value, such as ``("train", "lr")``."""


def yaml_value(text: str, name: str) -> tuple[Any, dict[Loc, str]]:
    """Return the value of a YAML text, and where each value in it stands, such as ``my.yaml:4:3``.

    Args:
        text: The text; nothing in it is ``None``.
        name: What errors call it, such as its file's name.

    Raises:
        ConfigError: It is not YAML, gives a key twice, is too large or too deep, or holds something that is not what
            its tag says.

    Example:
        >>> yaml_value("train: {lr: 0.1}", "my.yaml")
        ({'train': {'lr': 0.1}}, {(): 'my.yaml:1:1', ('train',): 'my.yaml:1:1', ('train', 'lr'): 'my.yaml:1:9'})
    """
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{name} is larger than {MOST_BYTES // MEBIBYTE} MiB; is it the right file?")
    if not is_text(text):
        raise ConfigError(f"{name}: this is not a text in UTF-8")
    node = compose(text, name)
    if node is None:
        return None, {}
    reading = _Reading(name)
    return reading.value(node, ()), reading.marks


@dataclass(slots=True)
class _Reading:
    """One text on its way to values."""

    name: str
    marks: dict[Loc, str] = field(default_factory=dict)
    values: int = 0
    constructor: Any = field(default_factory=yaml.constructor.SafeConstructor)

    def value(self, node: yaml.Node, loc: Loc) -> Any:  # noqa: ANN401  YAML values
        """Return a node's value, noting where each key stands."""
        self.values += 1
        if self.values > MOST_VALUES:
            raise ConfigError(
                f"{place(node, self.name)}: with its aliases written out this holds more than {MOST_VALUES:,} values"
            )
        self.marks.setdefault(loc, place(node, self.name))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*loc, i)) for i, child in enumerate(node.value)]
        return self.scalar(node, loc)

    def mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        for merged in self.merged(node):
            out |= self.value(merged, loc)
        own = set()
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                continue
            where = place(key_node, self.name)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{where}: a key has to be a word, not a list or mapping")
            key = self.scalar(key_node, loc)
            if key in own:
                raise ConfigError(f"{where}: '{shortened(str(key))}' is given twice; keep one")
            own.add(key)
            self.marks[(*loc, key)] = where
            out[key] = self.value(value_node, (*loc, key))
        return out

    def merged(self, node: yaml.MappingNode) -> list[yaml.MappingNode]:
        """Return what ``<<:`` merges into a mapping, the weakest first."""
        found: list[yaml.MappingNode] = []
        for key_node, value_node in node.value:
            if key_node.tag != MERGE:
                continue
            parts = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            if not all(isinstance(part, yaml.MappingNode) for part in parts):
                where = place(value_node, self.name)
                raise ConfigError(f"{where}: '<<' takes in a mapping or a list of mappings; put it in quotes for a key")
            found += reversed(parts)
        return found

    def scalar(self, node: yaml.Node, loc: Loc) -> Any:  # noqa: ANN401  YAML values
        """Return the value of a node that holds no others; ``loc`` is what it belongs to."""
        text, kind = str(node.value), node.tag.removeprefix("tag:yaml.org,2002:")
        where = place(node, self.name)
        if loc:
            where += ": " + ".".join(shortened(str(part)) for part in loc)
        if node.tag in _NUMBERS and len(text) > MOST_NUMBER:
            raise ConfigError(f"{where}: this number has {len(text):,} characters; put a text in quotes")
        try:
            found = self.constructor.construct_object(node, deep=True)
        except yaml.MarkedYAMLError as error:
            raise ConfigError(f"{where}: this is not YAML: {error.problem}") from error
        except ValueError as error:
            raise ConfigError(f"{where}: '{shortened(text)}' is no value: {error}; put it in quotes") from error
        except Exception as error:  # PyYAML's constructors raise whatever they stumble over
            raise ConfigError(
                f"{where}: '{shortened(text)}' is no {kind}, as its tag says; leave the tag out"
            ) from error
        if type(found) is int and found not in _WHOLE:
            raise ConfigError(f"{where}: {shortened(text)} is beyond whole numbers of 64 bits; put a text in quotes")
        if isinstance(found, str) and not is_text(found):
            shown = ascii(shortened(found))
            raise ConfigError(f"{where}: {shown} holds half a surrogate pair, which no file can hold; leave it out")
        return found
