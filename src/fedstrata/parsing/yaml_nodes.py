"""YAML texts to their nodes: what PyYAML composes, of bounded depth and number, and no alias holds itself."""

from __future__ import annotations

from typing import Any

import yaml

from fedstrata.errors import ConfigError

MERGE = "tag:yaml.org,2002:merge"
MOST_DEPTH = 50
"""Lists and mappings inside each other."""
MOST_NODES = 200_000
"""Keys, values and aliases of a text."""
_SMALL = 100_000
"""Characters of a text that the reader in Python goes through in about a second."""
_IN_C = getattr(yaml, "CSafeLoader", None)
"""Ten times as fast, but its errors say less; PyYAML may be built without it."""
_PLAIN = {
    yaml.SequenceStartEvent: ("list", yaml.SequenceNode, yaml.resolver.Resolver.DEFAULT_SEQUENCE_TAG),
    yaml.MappingStartEvent: ("mapping", yaml.MappingNode, yaml.resolver.Resolver.DEFAULT_MAPPING_TAG),
}
"""What a list and a mapping begin with, become, and may be tagged as."""


def compose(text: str, name: str) -> yaml.Node | None:
    """Return the node of a text of one document, or ``None`` if there is nothing in it.

    Args:
        text: The text.
        name: What errors call it.

    Raises:
        ConfigError: It is not YAML, too deep, holds too many values, several documents, or an alias that holds itself.
    """
    if _IN_C is not None and len(text) <= _SMALL:
        try:
            return _composed(_IN_C, text, name)
        except yaml.YAMLError:
            pass  # said below by the reader that says more
    try:
        return _composed(yaml.SafeLoader if _IN_C is None or len(text) <= _SMALL else _IN_C, text, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(f"{where}: this is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: this is not YAML: {' '.join(str(error).split())}") from error


def place(at: yaml.Node | yaml.Event, name: str) -> str:
    """Return where something stands, from line 1 and column 1."""
    mark: Any = at.start_mark  # PyYAML's types allow for loaders that keep none
    return f"{name}:{mark.line + 1}:{mark.column + 1}"


def _composed(kind: Any, text: str, name: str) -> yaml.Node | None:  # noqa: ANN401  PyYAML's loaders have no common type
    loader = kind(text)
    try:
        return _Composer(loader, name).document()
    finally:
        loader.dispose()


class _Composer:
    """Nodes from a loader's events.

    Args:
        loader: One of PyYAML's.
        name: What errors call the text.
    """

    def __init__(self, loader: Any, name: str) -> None:  # noqa: ANN401
        self._loader, self._name = loader, name
        self._named: dict[str, yaml.Node | None] = {}
        self._nodes = 0

    def document(self) -> yaml.Node | None:
        """Return the only document's node."""
        self._next()  # the stream begins
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        node = self._node(self._next(), 0)
        self._next()  # the document ends
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise ConfigError(f"{place(after, self._name)}: a second document begins here; keep one in a file")
        return node

    def _next(self) -> Any:  # noqa: ANN401  one of PyYAML's events, from its reader in Python or in C
        return self._loader.get_event()

    def _node(self, event: Any, depth: int) -> yaml.Node:  # noqa: ANN401
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise ConfigError(f"{place(event, self._name)}: this text holds more than {MOST_NODES:,} keys and values")
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        name = event.anchor
        if name is not None:
            self._named[name] = None  # open until it is whole
        node = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event, depth)
        if name is not None:
            self._named[name] = node
        return node

    def _aliased(self, event: Any) -> yaml.Node:  # noqa: ANN401
        where, name = place(event, self._name), event.anchor
        if name not in self._named:
            raise ConfigError(f"{where}: there is no anchor &{name} before this alias; write the value out")
        node = self._named[name]
        if node is None:
            raise ConfigError(f"{where}: an alias (*{name}) holds itself; write the value out")
        return node

    def _scalar(self, event: Any) -> yaml.Node:  # noqa: ANN401
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        return yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark, style=event.style)

    def _collection(self, event: Any, depth: int) -> yaml.Node:  # noqa: ANN401
        where = place(event, self._name)
        if depth >= MOST_DEPTH:
            raise ConfigError(f"{where}: this lies more than {MOST_DEPTH} lists or mappings deep; write it flatter")
        word, kind, plain = _PLAIN[type(event)]
        if event.tag not in (None, "!", plain):
            raise ConfigError(f"{where}: a {word} cannot be a '{event.tag}'; leave the tag out")
        inside: list[Any] = []
        first: Any = self._next()
        while not isinstance(first, yaml.CollectionEndEvent):
            node = self._node(first, depth + 1)
            inside.append((node, self._node(self._next(), depth + 1)) if word == "mapping" else node)
            first = self._next()
        end: Any = first.end_mark
        return kind(plain, inside, event.start_mark, end)
