"""What one run came to, as one value: what tables of results and comparisons are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from fedstrata.comparison.grouping import Point, trajectory, uploaded
from fedstrata.errors import CheckpointError
from fedstrata.runs.records import Run
from fedstrata.runs.statistics import predicted_flops, spread, spread_of


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Where a run stood when it was evaluated on the server's test rows.

    Attributes:
        round: Rounds completed; 0 before training.
        accuracy: In [0, 1].
        bytes_up: Uploaded by all clients until then, abandoned attempts included.
        flops: Predicted operations of all clients until then, probes included; ``None`` where they are not priced.
    """

    round: int
    accuracy: float
    bytes_up: int
    flops: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run came to; ``None`` stands for what was not measured.

    Attributes:
        row: What was compared: runs of one row and size share data and model.
        size: Size of the experiment, such as ``full``; empty where there is one size.
        method: Name of the method.
        budget: Name of the budget; empty where there is one budget.
        rounds: Whole rounds, those that were given up included.
        accuracy: On the server's test rows after the last round, in [0, 1].
        loss: On the same rows, in nats.
        baseline: Accuracy on the same rows before training.
        worst_client: Lowest of the clients' accuracies, each on its own held-out rows, at the last evaluation.
        median_client: Their median.
        best_client: Their highest.
        bytes_up: Sent by all clients in all rounds, probes and abandoned attempts included.
        bytes_down: Sent to them, likewise.
        flops: Predicted operations of all clients, probes included; abandoned attempts are not priced.
        seconds: Wall time of all rounds and abandoned attempts, without evaluation.
        client_rounds: How often a client was part of a whole round.
        layers: In how many of the client-rounds each layer was to be trained, in layer order, 0 included.
        curve: The evaluated rounds.
    """

    row: str
    size: str
    method: str
    budget: str
    seed: int
    rounds: int
    accuracy: float | None
    loss: float | None
    baseline: float | None
    worst_client: float | None
    median_client: float | None
    best_client: float | None
    bytes_up: int
    bytes_down: int
    flops: float | None
    seconds: float
    client_rounds: int
    layers: Mapping[str, int]
    curve: tuple[CurvePoint, ...]


def outcome_of(run: Run, *, row: str, size: str, method: str, budget: str) -> Outcome:
    """Return what a run came to; see ``tests/comparison/test_results.py``."""
    path = trajectory(run, "test")
    last = path[-1].metrics if path and path[-1].rounds else None
    fair = spread(run)
    return Outcome(
        row=row,
        size=size,
        method=method,
        budget=budget,
        seed=run.log.header.seed,
        rounds=len(run.log.rounds),
        accuracy=None if last is None else last.accuracy,
        loss=None if last is None else last.loss,
        baseline=None if run.log.baseline_test is None else run.log.baseline_test.accuracy,
        worst_client=None if fair is None else fair.worst,
        median_client=None if fair is None else fair.median,
        best_client=None if fair is None else fair.best,
        bytes_up=uploaded(run),
        bytes_down=sum(record.bytes_down for record in run.log.spent),
        flops=predicted_flops(run),
        seconds=sum(record.seconds for record in run.log.spent),
        client_rounds=sum(len(record.clients) for record in run.log.rounds),
        layers=_layers(run),
        curve=_curve(run, path),
    )


def merge_local_only(runs: Mapping[str, Run], *, row: str, size: str, method: str, budget: str) -> Outcome:
    """Return what clients come to that each train alone, without any server, as one outcome.

    Accuracy, loss, baseline and curve are means over the clients' own models, all on the server's test rows; worst,
    median and best are over the clients, each model on its own client's held-out rows. Nothing needs to be sent, so
    no bytes are counted. Operations, time and layers are sums.

    Args:
        runs: By client, the run in which it alone took part.
        row: See ``Outcome``.
        size: See ``Outcome``.
        method: See ``Outcome``.
        budget: See ``Outcome``.

    Raises:
        CheckpointError: There are no runs, or they differ in seed or layers.
    """
    alone = [outcome_of(run, row=row, size=size, method=method, budget=budget) for run in runs.values()]
    _check_alike(runs)
    own = {client: found for client, run in runs.items() if (found := _own_accuracy(client, run)) is not None}
    fair = spread_of(own) if own else None
    return replace(
        alone[0],
        rounds=max(one.rounds for one in alone),
        accuracy=_mean([one.accuracy for one in alone]),
        loss=_mean([one.loss for one in alone]),
        baseline=_mean([one.baseline for one in alone]),
        worst_client=None if fair is None else fair.worst,
        median_client=None if fair is None else fair.median,
        best_client=None if fair is None else fair.best,
        bytes_up=0,
        bytes_down=0,
        flops=_total([one.flops for one in alone]),
        seconds=sum(one.seconds for one in alone),
        client_rounds=sum(one.client_rounds for one in alone),
        layers={name: sum(one.layers[name] for one in alone) for name in alone[0].layers},
        curve=_mean_curve([one.curve for one in alone]),
    )


def _layers(run: Run) -> dict[str, int]:
    masks = [client.mask for record in run.log.rounds for client in record.clients]
    return {name: sum(i in mask for mask in masks) for i, name in enumerate(run.log.header.layers)}


def _curve(run: Run, path: Sequence[Point]) -> tuple[CurvePoint, ...]:
    priced = predicted_flops(run) is not None
    flops, total = {0: 0.0}, 0.0
    for record in run.log.rounds:
        total += sum(client.predicted.get("flops", 0.0) for client in record.clients)
        flops[record.round] = total
    return tuple(
        CurvePoint(p.rounds, p.metrics.accuracy, p.bytes_up, flops[p.rounds] if priced else None) for p in path
    )


def _check_alike(runs: Mapping[str, Run]) -> None:
    heads = {client: run.log.header for client, run in runs.items()}
    if not heads:
        raise CheckpointError("there are no runs of single clients to put together; run one per client")
    first, one = next(iter(heads.items()))
    for client, head in heads.items():
        for what, here, there in (("seed", head.seed, one.seed), ("layers", head.layers, one.layers)):
            if here != there:
                raise CheckpointError(
                    f"the runs of {first} and {client} alone differ in {what} ({there} and {here}); "
                    "put together runs of one setting"
                )


def _own_accuracy(client: str, run: Run) -> float | None:
    return next((r.client_accuracy.get(client) for r in reversed(run.log.rounds) if r.client_accuracy), None)


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, or nothing where one of the values is missing."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _mean_curve(curves: Sequence[tuple[CurvePoint, ...]]) -> tuple[CurvePoint, ...]:
    """Return the mean over the rounds at which all were evaluated."""
    by_round = [{point.round: point for point in curve} for curve in curves]
    shared = sorted(set.intersection(*(set(points) for points in by_round)))
    found = []
    for number in shared:
        here = [points[number] for points in by_round]
        found.append(CurvePoint(number, fmean(p.accuracy for p in here), 0, _total([p.flops for p in here])))
    return tuple(found)
