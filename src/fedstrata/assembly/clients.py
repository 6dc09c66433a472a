"""The clients of a run and what is known of their rows: read here, or declared by sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fedstrata.assembly.client_plans import probe_plan, train_plan
from fedstrata.assembly.declared import Declared, check_rows, declared_card
from fedstrata.assembly.remote_workload import lengths_of, remote_workload
from fedstrata.assembly.runtime import Workplace
from fedstrata.config.flower import client_names, key_files
from fedstrata.config.load import Loaded
from fedstrata.costs.protocol import Workload
from fedstrata.data.kinds import Digits
from fedstrata.data.tensors import ClientRows, FederatedData
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Problem, config_error
from fedstrata.runs.sites_file import Sites

_SHOWN = 5


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """The clients of a run.

    Attributes:
        clients: Each client's rows, or its batches where its rows are elsewhere; ascending by name.
        examples: Training rows of each.
        data: The rows that are here, with a card that counts the others as declared.
        declared: What sites say of themselves.
        notes: One sentence each.
        guesses: What has to be said besides where prices are measured.
    """

    clients: Mapping[ClientId, Workload | ClientRows]
    examples: Mapping[ClientId, int]
    data: FederatedData
    declared: Declared = field(default_factory=Declared)
    notes: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()


def population(loaded: Loaded, place: Workplace, sites: Sites | None) -> Population:
    """Return the clients of a run.

    Args:
        loaded: The configuration.
        place: Rows and model of this machine.
        sites: What the sites declared; ``None`` where clients work on this machine.

    Raises:
        ConfigError: Nobody takes part, or a site's rows are not those that the configuration gives it.
    """
    data = place.data
    if sites is None:
        return Population(data.clients, {c: len(rows.train) for c, rows in data.clients.items()}, data)
    if not sites:
        raise _wrong(loaded, "no site has declared its rows, so there is nobody to train")
    absent = tuple(sorted({*data.clients, *_allowed(loaded)} - set(sites)))
    known = Declared(sites, absent)
    examples = {client: said.num_examples for client, said in sites.items()}
    missing = _missing(absent)
    if data.clients:
        loaded.at(("data",), lambda: check_rows(data, sites))
        return Population({c: data.clients[c] for c in sites}, examples, data, known, missing)
    workloads, guesses = _guessed(loaded, place, examples)
    return Population(workloads, examples, replace(data, card=declared_card(data.card, sites)), known, missing, guesses)


def _guessed(
    loaded: Loaded, place: Workplace, examples: Mapping[ClientId, int]
) -> tuple[dict[ClientId, Workload], tuple[str, ...]]:
    """Return the batches of clients whose rows lie at sites, and what was assumed of them."""
    source = loaded.components.data
    config = getattr(place.network.model, "config", None)
    most = None if isinstance(source, Digits) else source.max_length
    positions = getattr(config, "max_position_embeddings", None)
    longest = min(n for n in (most, positions, 2**31) if n is not None)
    lengths = lengths_of(place.data.test, longest)
    train, probe = train_plan(loaded), probe_plan(loaded)
    found = {}
    for client, rows in examples.items():
        try:
            found[client] = remote_workload(rows, lengths, train=train, probe=probe)
        except ConfigError as error:
            raise _wrong(loaded, f"site {client}: {error}") from error
    if lengths is None:
        return found, ()
    return found, (
        "the server does not know how long the sites' texts are: operations and seconds are priced for texts as long as"
        f" its test rows, memory for texts of {lengths.longest} tokens",
    )


def _allowed(loaded: Loaded) -> frozenset[ClientId]:
    """Return the sites that may take part; the configuration was held to their keys before they could join."""
    given = loaded.config.flower.sites
    if isinstance(given, str):
        given = dict.fromkeys(key_files(loaded.base / expanded(given)), "")
    return frozenset(client_names(given).values() if given else ())


def _missing(absent: tuple[ClientId, ...]) -> tuple[str, ...]:
    if not absent:
        return ()
    names = ", ".join(absent[:_SHOWN]) + (", ..." if len(absent) > _SHOWN else "")
    return (f"{len(absent)} of the sites that may take part have not joined and are not in this run: {names}",)


def _wrong(loaded: Loaded, message: str) -> ConfigError:
    return config_error([Problem(("data",), message)], loaded.marks)
