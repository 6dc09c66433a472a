"""Outcomes made by hand, with numbers that a reader can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedstrata.comparison.results import CurvePoint, Outcome

SEEDS = range(6)


def outcome(
    method: str = "consensus",
    accuracy: float | None = 0.5,
    *,
    seed: int = 0,
    row: str = "digits",
    size: str = "small",
    budget: str = "R1",
    rounds: int = 2,
    loss: float | None = 1.0,
    baseline: float | None = 0.125,
    clients: tuple[float | None, float | None, float | None] = (0.25, 0.5, 0.75),
    bytes_up: int = 2_000_000,
    flops: float | None = 4e9,
    layers: Mapping[str, int] | None = None,
    curve: Sequence[CurvePoint] = (),
) -> Outcome:
    """Return an outcome of ten client-rounds."""
    worst, median, best = clients
    return Outcome(
        row=row,
        size=size,
        method=method,
        budget=budget,
        seed=seed,
        rounds=rounds,
        accuracy=accuracy,
        loss=loss,
        baseline=baseline,
        worst_client=worst,
        median_client=median,
        best_client=best,
        bytes_up=bytes_up,
        bytes_down=3_000_000,
        flops=flops,
        seconds=1.5,
        client_rounds=10,
        layers=layers if layers is not None else {"layer.0": 4, "layer.1": 0, "layer.2": 6},
        curve=tuple(curve),
    )


def several(method: str, accuracies: Sequence[float], *, budget: str = "R1", row: str = "digits") -> list[Outcome]:
    """Return an outcome per accuracy, seeds from 0."""
    return [outcome(method, a, seed=s, budget=budget, row=row) for s, a in enumerate(accuracies)]
