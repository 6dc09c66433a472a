"""Identity: what ran, on what, with which versions and settings, and whether it came to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from shlex import quote

from fedstrata.domain.formatting import NOTHING, listing, plural
from fedstrata.report.blocks import Block, Code, Fold, Note, Table, Text
from fedstrata.runs.records import Run

_STATES = {"broken off": "broken off (the log has no end: killed, or still running)"}


def identity(runs: Sequence[Run]) -> tuple[Block, ...]:
    """Return the identity of one run as a list, or of several as a table, and what is wrong with their folders."""
    notes = [Note(f"{run.name}: {note}") for run in runs for note in (*_ending(run), *run.notes)]
    what = _one(runs[0]) if len(runs) == 1 else _several(runs)
    shown: tuple[Block, ...] = tuple(notes)
    if len(notes) > 6:
        shown = (*notes[:3], Fold(f"{len(notes) - 3} more notes on the run folders", tuple(notes[3:])))
    return (*shown, what, *_environments(runs))


def config(run: Run) -> tuple[Block, ...]:
    """Return the command that reproduces the run, and its resolved config."""
    if run.config is None:
        return (Text("The run folder holds no resolved config, so the run cannot be repeated from this report."),)
    command = f"fedstrata run {quote(f'{run.name}/config.resolved.yaml')} --set {quote(f'output={run.name}-again')}"
    return (
        Code("Run it again, from the folder that holds the run's folder", command),
        Fold("config.resolved.yaml", (Code("Every setting in force", run.config.rstrip()),)),
    )


def state(run: Run) -> str:
    """Return how the run ended, and how far it came."""
    done, planned = len(run.log.rounds), run.log.header.rounds
    far = f"{done} of {plural(planned, 'round')}"
    if run.log.skipped:
        far += f", {len(run.log.skipped)} of them skipped"
    return f"{_STATES.get(run.log.state, run.log.state)}, {far}"


def _ending(run: Run) -> tuple[str, ...]:
    if run.log.state == "finished":
        return ()
    why = f": {run.log.message}" if run.log.message else ""
    return (f"the run is {state(run)}{why}.",)


def _one(run: Run) -> Table:
    head = run.log.header
    commit = run.environment.get("git_commit", run.environment.get("commit"))
    rows = [
        ("Method", head.method),
        ("Model", head.model),
        ("Layers", f"{len(head.layers)} selectable; {_count(head.always)} for everyone; {_count(head.never)} frozen"),
        ("Data", head.data),
        ("Clients", f"{len(head.clients)}"),
        ("Seed", f"{head.seed}"),
        ("State", state(run)),
        ("Started", head.started or NOTHING),
        ("Run folder", run.name),
    ]
    if head.run:
        rows.append(("Run ID, repeated in its messages", head.run))
    if run.log.resumed:
        rows.append(("Resumed", f"at round {listing([str(r) for r in run.log.resumed])}"))
    if run.log.abandoned:
        rows.append(("Abandoned", _abandoned(run)))
    if isinstance(commit, str):
        rows.append(("Commit", commit))
    return Table("The run", ("", ""), tuple(rows))


def _abandoned(run: Run) -> str:
    tries = Counter(a.round for a in run.log.abandoned)
    where = listing([f"{r} ({n} times)" if n > 1 else str(r) for r, n in tries.items()], limit=8)
    return f"{plural(len(run.log.abandoned), 'attempt')}, at round {where}; see Failures"


def _count(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({listing(names, limit=3)})" if names else "none"


def _several(runs: Sequence[Run]) -> Block:
    rows = tuple(
        (r.name, h.method, h.data, h.model, str(h.seed), state(r), h.started or NOTHING)
        for r in runs
        for h in (r.log.header,)
    )
    table = Table("The runs", ("run folder", "method", "data", "model", "# seed", "state", "started"), rows)
    return Fold(f"The {len(runs)} runs: model, data, seed, state", (table,))


def _environments(runs: Sequence[Run]) -> tuple[Block, ...]:
    flats = [(run.name, _flat(run.environment)) for run in runs if run.environment]
    distinct: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, flat in flats:
        distinct.setdefault(flat, []).append(name)
    if not distinct:
        return ()
    tables = tuple(
        Table(f"Environment of {listing(names)}" if len(runs) > 1 else "Environment", ("", ""), flat)
        for flat, names in distinct.items()
    )
    return (Fold("Versions, device and machine", tables),)


def _flat(values: Mapping[str, object], path: str = "") -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{path}{key}"
        if isinstance(value, dict):
            rows += _flat(value, f"{name}.")
        else:
            rows.append((name, NOTHING if value is None else str(value)))
    return tuple(rows)
