"""The verdict: which method won, by how much, at which upload, and how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt

from fedstrata.comparison.grouping import (
    Group,
    Series,
    chosen_accuracy,
    final_accuracy,
    measure,
    trajectory,
    uploaded,
)
from fedstrata.domain.formatting import listing, megabytes, percent, plural, points
from fedstrata.runs.records import Run

_MEASURES = {"test": "test accuracy", "validation": "accuracy on the clients' held-out rows"}


def verdict(group: Group) -> tuple[str, ...]:
    """Return the sentences of one group: a comparison if it has several series, else the gain of the one."""
    if len(group.series) > 1:
        return _comparison(group)
    series = group.series[0]
    head = (_gain(series.runs[0]), _trust(series)) if len(series.runs) == 1 else _gains(series)
    return head if len(series.runs) == 1 else (*head, *_given_up([series]))


def measured_on(group: Group) -> str:
    """Return the name of the accuracy that the group's runs share."""
    kinds = {measure(run) for run in group.runs} - {""}
    return _MEASURES[kinds.pop()] if len(kinds) == 1 else "accuracy"


def _gain(run: Run) -> str:
    kind, final = measure(run), final_accuracy(run)
    method, done, skipped = run.log.header.method, len(run.log.rounds), len(run.log.skipped)
    if done and skipped == done:
        return f"Every round of {method} was given up ({done} of {done}), so nothing was trained."
    if not done:
        return f"{method} did not complete a round, so nothing can be said about it."
    given_up = f" ({skipped} of them given up)" if skipped else ""
    cost = f"in {plural(done, 'round')}{given_up}, with {megabytes(uploaded(run))} MB uploaded by the clients in all"
    if final is None:
        return f"{method} ran {cost}; no round was evaluated, so its accuracy is not known."
    path = trajectory(run, kind)
    chosen, name = chosen_accuracy(run), _MEASURES[kind]
    tail = _choice(chosen, final)
    if path[0].rounds:
        return f"{method} reached {percent(final)} {name} {cost}{tail} (its starting point was not recorded)."
    start = path[0].metrics.accuracy
    verb = "raised" if final > start else ("lowered" if final < start else "left")
    if verb == "left":
        return f"{method} left {name} at {percent(final)}, where it began, {cost}{tail}."
    change = f"from {percent(start)} to {percent(final)} ({points(final - start)})"
    return f"{method} {verb} {name} {change} {cost}{tail}."


def _choice(chosen: float | None, final: float) -> str:
    if chosen is None or chosen == final:
        return ""
    return f"; the round that was best on held-out rows has {percent(chosen)}"


def _gains(series: Series) -> tuple[str, ...]:
    values = [a for run in series.runs if (a := final_accuracy(run)) is not None]
    if not values:
        return (f"{series.label}: no round of its {plural(len(series.runs), 'run')} was evaluated.",)
    spread = f"from {percent(min(values))} to {percent(max(values))}"
    cost = f"{megabytes(series.bytes_up)} MB uploaded per run"
    return (
        f"{series.label} ended at {percent(series.accuracy)} on average ({spread}), with {cost}.",
        _trust(series),
    )


def _comparison(group: Group) -> tuple[str, ...]:
    known = [s for s in group.series if s.accuracy is not None]
    if len(known) < 2:
        return ("Fewer than two of the methods were evaluated, so they cannot be compared.",)
    ranked = sorted(known, key=lambda s: (-(s.accuracy or 0.0), s.bytes_up))
    first, second = ranked[0], ranked[1]
    lead = (first.accuracy or 0.0) - (second.accuracy or 0.0)
    name = measured_on(group)
    if lead == 0:
        ties = [s for s in ranked if s.accuracy == first.accuracy]
        costs = listing([f"{s.label} {megabytes(s.bytes_up)} MB" for s in ties])
        labels = listing([s.label for s in ties])
        head = f"{labels} ended level at {percent(first.accuracy)} {name}; uploaded: {costs}."
    else:
        head = (
            f"{first.label} ended highest at {percent(first.accuracy)} {name}, "
            f"with {megabytes(first.bytes_up)} MB uploaded; "
            f"{second.label} came second, {points(-lead).removeprefix('-')} lower, "
            f"with {megabytes(second.bytes_up)} MB{_times(first, second)}."
        )
    return (head, _certainty(first, second, known), *_given_up(group.series))


def _given_up(series: Sequence[Series]) -> tuple[str, ...]:
    """Name the methods with skipped rounds: they trained less than the others."""
    found = {s.label: sum(len(run.log.skipped) for run in s.runs) for s in series}
    rounds = {s.label: sum(len(run.log.rounds) for run in s.runs) for s in series}
    told = [f"{label} {count} of {rounds[label]}" for label, count in found.items() if count]
    return (f"Rounds that were given up, and so trained nothing: {listing(told)}.",) if told else ()


def _times(first: Series, second: Series) -> str:
    small, large = sorted((first.bytes_up, second.bytes_up))
    if small <= 0 or large / small < 1.05:
        return ""
    word = "less" if second.bytes_up < first.bytes_up else "more"
    return f" ({large / small:.1f} times {word})"


def _certainty(first: Series, second: Series, known: list[Series]) -> str:
    fewest = min(len(s.seeds) for s in known)
    if fewest < 2:
        missing = _one_seed(known)
        return f"{missing}, so a small lead may be chance.{_noise(first)}"
    a = [v for run in first.runs if (v := final_accuracy(run)) is not None]
    b = [v for run in second.runs if (v := final_accuracy(run)) is not None]
    if min(a) > max(b):
        return f"Every one of {first.label}'s {len(a)} runs ended above every one of {second.label}'s {len(b)}."
    return (
        f"The runs of the first two overlap ({percent(min(a))} to {percent(max(a))} against "
        f"{percent(min(b))} to {percent(max(b))}), so their order may be chance."
    )


def _one_seed(known: list[Series]) -> str:
    every = max(len(s.seeds) for s in known) < 2
    return "One seed per method" if every else "Some methods have one seed only"


def _trust(series: Series) -> str:
    if len(series.seeds) == 1:
        return f"This is one seed ({series.seeds[0]}); another may end elsewhere.{_noise(series)}"
    return f"These are {len(series.seeds)} seeds ({listing([str(s) for s in series.seeds])})."


def _noise(series: Series) -> str:
    """Return how far one accuracy is known from its number of rows alone (95 %, normal approximation)."""
    path = trajectory(series.runs[0], measure(series.runs[0]))
    if not path or path[-1].metrics.num_examples < 1 or not isfinite(path[-1].metrics.accuracy):
        return ""
    last = path[-1].metrics
    half = 1.96 * sqrt(max(last.accuracy * (1 - last.accuracy), 0.0) / last.num_examples)
    return f" On {plural(last.num_examples, 'row')} an accuracy is known to about ±{100 * half:.1f} points."
