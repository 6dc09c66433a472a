"""Failures: which clients did not do what was asked, and why."""

from __future__ import annotations

from fedstrata.domain.records import ClientRecord
from fedstrata.report.blocks import Block, Check, Table, folded
from fedstrata.report.records import Run
from fedstrata.report.words import listing, plural

_MOST = 200


def failures(run: Run) -> tuple[Block, ...]:
    """Return the failures by reason code, and each with its message."""
    turns = [c for r in run.log.rounds for c in r.clients]
    failed = [c for c in turns if c.failure is not None]
    if not failed:
        return (Check(True, f"No client failed, in {plural(len(turns), 'client-round')}."),)
    reasons: dict[str, list[ClientRecord]] = {}
    for client in failed:
        reasons.setdefault(client.failure or "", []).append(client)
    rows = tuple(
        (reason, str(len(found)), listing(sorted({c.client for c in found}), limit=4))
        for reason, found in sorted(reasons.items(), key=lambda item: -len(item[1]))
    )
    said = f"{len(failed)} of {plural(len(turns), 'client-round')} failed; the rounds went on without them."
    each = tuple((str(c.round), str(c.client), c.failure or "", c.failure_message or "") for c in failed[:_MOST])
    title = "Every failure" if len(failed) <= _MOST else f"The first {_MOST} of {len(failed)} failures"
    return (
        Check(False, said),
        Table("Failures by reason", ("reason", "# count", "clients"), rows),
        folded(Table(title, ("# round", "client", "reason", "message"), each), limit=6),
    )
