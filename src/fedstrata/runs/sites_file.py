"""``sites.json`` of a run folder: what each site declared when the run began, which counts until it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from fedstrata.domain.ids import ClientId
from fedstrata.errors import CheckpointError
from fedstrata.files import write_atomic
from fedstrata.parsing.json_text import read_json
from fedstrata.parsing.typed import shown
from fedstrata.runs.folder import RunFolder
from fedstrata.wire.declaration import Declaration

SITES = "sites.json"
Sites = Mapping[ClientId, Declaration]


def write_sites(folder: RunFolder, sites: Sites) -> None:
    """Write the declarations.

    Raises:
        OSError: The folder cannot be written.
    """
    values = {client: said.to_json() for client, said in sites.items()}
    write_atomic(folder.path / SITES, json.dumps(values, indent=1))


def read_sites(folder: RunFolder, *, needed: bool) -> Sites | None:
    """Return the declarations, ascending by name; ``None`` of a run without sites.

    Args:
        folder: The run's.
        needed: Whether the run has sites for certain.

    Raises:
        CheckpointError: The file cannot be read, or is needed and not there.
    """
    path = folder.path / SITES
    try:
        values = read_json(path)
        return {ClientId(client): _declaration(client, said) for client, said in sorted(values.items())}
    except FileNotFoundError as error:
        if not needed:
            return None
        raise CheckpointError(f"{path} is missing, and the run cannot go on without it") from error
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; the run cannot go on without it") from error


def changes(then: Sites, now: Sites) -> Iterator[str]:
    """Yield what sites say otherwise than when the run began, one sentence each; what they said then counts.

    Example:
        >>> a = ClientId("a")
        >>> list(changes({a: Declaration(9)}, {a: Declaration(12)}))
        ['site a declared 9 training rows when the run began, and 12 now; the 9 count, so that its weight stays']
    """
    for client, said in now.items():
        before = then.get(client)
        if before is None:
            yield f"site {client} was not there when the run began, and takes no part in it"
            continue
        if said.num_examples != before.num_examples:
            yield (
                f"site {client} declared {before.num_examples} training rows when the run began, and"
                f" {said.num_examples} now; the {before.num_examples} count, so that its weight stays"
            )
        other = [name for name in ("held_out", "budget", "refused") if getattr(said, name) != getattr(before, name)]
        if other:
            yield (
                f"site {client} declares another {' and '.join(other)} than when the run began; what it said then"
                " counts, and what it no longer does is lost"
            )


def _declaration(client: str, said: object) -> Declaration:
    try:
        return Declaration.from_json(said)
    except ValueError as error:
        raise ValueError(f"{shown(client)}: {error}") from error
