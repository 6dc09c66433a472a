"""What leaves a site, in plain words and as facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedstrata.deploy.site.audit_log import plain
from fedstrata.domain.formatting import plural
from fedstrata.domain.layers import Layer
from fedstrata.domain.stats import LayerStats, TensorStats
from fedstrata.domain.units import shown
from fedstrata.wire.declaration import Declaration
from fedstrata.wire.messages import Evaluated, Failure, Probed, Reply, Request, Update, phase_of

Told = tuple[str, Mapping[str, Any]]
"""A sentence, and the facts in it."""
_MOST_NAMES = 12


def of_reply(
    reply: Reply, size: int, *, blocks: Sequence[Layer] = (), told: Mapping[int, str] | None = None, rows: int = 0
) -> Told:
    """Return what a frame tells.

    Args:
        reply: What is in the frame.
        size: Bytes of the frame.
        blocks: The blocks that an update holds.
        told: Names of the layers whose statistics are those that were measured, by index; others are zeros.
        rows: How many different rows an update is computed from.
    """
    match reply:
        case Update():
            return _of_update(reply, size, blocks, told or {}, rows)
        case Probed():
            sentence, facts = _of_statistics(reply, told or {})
            return f"sent {sentence}", {"kind": "statistics", **facts, "bytes": size}
        case Evaluated():
            rows = reply.num_examples
            facts = {"kind": "evaluation", "rows": rows, "numbers": 2, "bytes": size}
            return f"sent accuracy and loss over {plural(rows, 'held-out row')}", facts
        case Failure():
            return of_failure(reply, size)


def of_failure(failure: Failure, size: int) -> Told:
    """Return what a failure tells."""
    facts = {"kind": "failure", "reason": str(failure.reason), "message": failure.message, "bytes": size}
    return f"sent no answer to {_asked(failure.phase)} ({failure.reason}): {failure.message}", facts


def of_missing(request: Request, blocks: Sequence[str]) -> Told:
    """Return what the answer tells that asks for blocks."""
    facts = {"kind": "missing", "layers": list(blocks), "bytes": 0}
    return f"asked for the layers {_names(blocks)} before {_asked(phase_of(request))}", facts


def of_declaration(word: Declaration, site: str) -> Told:
    """Return what a declaration tells."""
    budget = ", ".join(shown(unit, limit) for unit, limit in word.budget.items()) or "no limit"
    refuses = f", refuses {_names(word.refused)}" if word.refused else ""
    sentence = f"joined as {site}: told {plural(word.num_examples, 'training row')}, {word.held_out} held out, "
    sentence += f"budget {budget}{refuses}, {plural(len(word.holds), 'layer')} at hand, {word.device}, versions of "
    sentence += ", ".join(word.versions)
    return sentence, {"kind": "declaration", "rows": word.num_examples, **word.to_json()}


def of_refusal(message: str) -> Told:
    """Return what the answer tells that refuses to take part."""
    return f"refused: {message}", {"kind": "refusal", "message": message}


def _of_update(update: Update, size: int, blocks: Sequence[Layer], told: Mapping[int, str], rows: int) -> Told:
    names = [block.name for block in blocks]
    facts: dict[str, Any] = {"kind": "update", "layers": names, "bytes": size, "rows": rows}
    facts |= {"told": update.num_examples}
    facts |= {"steps": update.steps, "numbers": sum(block.parameters for block in blocks) + 2}
    sentence = f"sent the change of {'layers' if len(names) > 1 else 'layer'} {_names(names)} ({size:,} bytes) and 2"
    used = plural(rows, "row") if rows == update.num_examples else f"{rows:,} of {plural(update.num_examples, 'row')}"
    sentence += f" losses after {plural(update.steps, 'step')} on {used}"
    if update.piggybacked is not None:
        more, piggybacked = _of_statistics(update.piggybacked, told)
        return f"{sentence}, and {more}", facts | {"statistics": piggybacked}
    return sentence, facts


def _of_statistics(probed: Probed, told: Mapping[int, str]) -> Told:
    measured = [stats for index, stats in enumerate(probed.stats) if index in told]
    sketched = max((len(stats.sketch or ()) for stats in measured), default=0)
    numbers = sum(_measured(tensor) for stats in measured for tensor in stats.tensors) + sketched * len(measured) + 1
    rows = _rows(probed.stats)
    sketch = f", sketches of {sketched} numbers among them," if sketched else ""
    sentence = f"gradient statistics of {plural(len(told), 'layer')}{sketch} and a loss ({numbers} numbers)"
    facts = {"layers": list(told.values()), "numbers": numbers, "rows": rows}
    return f"{sentence} from {plural(rows, 'row')}", facts | ({"sketch": sketched} if sketched else {})


def _rows(stats: Sequence[LayerStats]) -> int:
    return max((s.num_examples for s in stats), default=0)


def _measured(tensor: TensorStats) -> int:
    """Return how many numbers of a tensor's statistics depend on the site's rows."""
    return sum(v is not None for v in (tensor.grad_sq, tensor.half_dot, tensor.snr_sum, tensor.noise_sum))


def _asked(phase: str) -> str:
    return {"probe": "a probe", "train": "training", "evaluate": "an evaluation"}[phase]


def _names(names: Sequence[str]) -> str:
    some = [plain(name[:100]) for name in names[:_MOST_NAMES]]
    if len(names) > _MOST_NAMES:
        some.append(f"{len(names) - _MOST_NAMES} more")
    return " and ".join([", ".join(some[:-1]), some[-1]] if len(some) > 1 else some)
