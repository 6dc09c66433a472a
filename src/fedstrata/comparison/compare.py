"""Comparisons: outcomes of one row, size and budget side by side, each against a reference over shared seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import isfinite
from operator import attrgetter
from statistics import fmean

from fedstrata.comparison.intervals import FEWEST_SEEDS, Estimate, Paired, estimate, holm, paired, smallest_p
from fedstrata.comparison.methods import Contest, Line, Reached, Rules
from fedstrata.comparison.outcome import Outcome
from fedstrata.domain.formatting import listing, percent, plural
from fedstrata.errors import ConfigError, nearest

FULL = "full"
"""The method that trains every layer: no budget matters to it, so it stands for every budget of its row."""

DEFAULT_REFERENCE = "consensus"
ORACLE = "oracle"
_LEVEL = 0.05
_ACCURACIES: Callable[[Line], Mapping[int, float]] = attrgetter("accuracies")
_LOSSES: Callable[[Line], Mapping[int, float]] = attrgetter("losses")


def compare(outcomes: Sequence[Outcome], rules: Rules) -> tuple[Contest, ...]:
    """Compare outcomes of one row, size and budget with one another; see ``tests/comparison/test_compare.py``.

    Args:
        outcomes: At most one of each row, size, method, budget and seed.
        rules: How.

    Raises:
        ConfigError: The reference, a budget or the oracle's pattern names nothing; or there are no outcomes.
    """
    if not outcomes:
        raise ConfigError("there is nothing to compare; pass run folders, or the results file of a sweep")
    _check(outcomes, rules)
    keys = dict.fromkeys((o.row, o.size, o.budget) for o in outcomes)
    return tuple(_contest(key, outcomes, rules) for key in keys if not rules.budgets or key[2] in rules.budgets)


def _check(outcomes: Sequence[Outcome], rules: Rules) -> None:
    budgets = list(dict.fromkeys(o.budget for o in outcomes))
    for budget in rules.budgets:
        if budget not in budgets:
            raise ConfigError(f"--budget '{budget}' is none of the budgets; {nearest(budget, budgets)}")
    methods = list(dict.fromkeys(o.method for o in outcomes))
    if rules.oracle is not None and not any(fnmatchcase(m, rules.oracle) for m in methods):
        raise ConfigError(f"--oracle '{rules.oracle}' fits no method; {nearest(rules.oracle, methods)}")
    known = [*methods, *([ORACLE] if rules.oracle is not None else [])]
    if rules.reference is not None and rules.reference not in known:
        raise ConfigError(f"--reference '{rules.reference}' is none of the methods; {nearest(rules.reference, known)}")


def _contest(key: tuple[str, str, str], outcomes: Sequence[Outcome], rules: Rules) -> Contest:
    row, size, budget = key
    all_lines = _lines([o for o in outcomes if (o.row, o.size, o.budget) == key], rules)
    candidates = tuple(x for x in all_lines if rules.oracle is not None and fnmatchcase(x.method, rules.oracle))
    best = max((c for c in candidates if c.accuracy), key=_mean_of, default=None)
    candidates = () if best is None else candidates
    oracle = None if best is None else replace(best, label=f"{ORACLE} ({best.method})")
    lines = [x for x in all_lines if x not in candidates]
    lines += [oracle] if oracle is not None else []
    full, borrowed = _full(lines, key, outcomes, rules)
    reference = _reference(rules, [*lines, *candidates], oracle, full)
    lines = [_against(line, reference, oracle, full) for line in lines]
    if rules.by_mean:
        lines.sort(key=lambda line: (line.accuracy is None, -_mean_of(line)))
    notes = [borrowed] if borrowed else []
    notes += [*_notes(lines, reference, rules, oracle), *_out_of_reach(lines), *_unlike(lines), *_short(lines)]
    return Contest(
        row,
        size,
        budget,
        None if reference is None else reference.label,
        _adjusted(lines),
        candidates,
        rules.target,
        tuple(notes),
    )


def _lines(outcomes: Sequence[Outcome], rules: Rules) -> list[Line]:
    found = []
    for method in dict.fromkeys(o.method for o in outcomes):
        own = tuple(sorted((o for o in outcomes if o.method == method), key=lambda o: o.seed))
        reached = None if rules.target is None else _reached(own, rules.target)
        line = Line(method, method, own, None, reached=reached)
        found.append(replace(line, accuracy=_estimate(line.accuracies), loss=_estimate(line.losses)))
    return found


def _estimate(by_seed: Mapping[int, float]) -> Estimate | None:
    return estimate(list(by_seed.values())) if by_seed else None


def _reached(outcomes: Sequence[Outcome], target: float) -> Reached:
    first = [next((p for p in o.curve if p.accuracy >= target), None) for o in outcomes]
    there = [point for point in first if point is not None]
    flops = [point.flops for point in there if point.flops is not None]
    return Reached(
        len(there),
        fmean(point.bytes_up for point in there) if there else None,
        fmean(flops) if flops and len(flops) == len(there) else None,
    )


def _mean_of(line: Line) -> float:
    return 0.0 if line.accuracy is None else line.accuracy.mean


def _full(
    lines: Sequence[Line], key: tuple[str, str, str], outcomes: Sequence[Outcome], rules: Rules
) -> tuple[Line | None, str]:
    """Return full fine-tuning, from another budget of the row where it did not run under this one, and that it was."""
    here = next((line for line in lines if line.method == FULL), None)
    if here is not None:
        return here, ""
    elsewhere = [o for o in outcomes if (o.row, o.size, o.method) == (*key[:2], FULL)]
    if not elsewhere:
        return None, ""
    budget = elsewhere[0].budget
    (line,) = _lines([o for o in elsewhere if o.budget == budget], rules)
    return line, f"{FULL} ran under budget {budget} only; no budget limits it, so it is compared with here too."


def _reference(rules: Rules, lines: Sequence[Line], oracle: Line | None, full: Line | None) -> Line | None:
    if rules.reference is None:
        return next((line for line in lines if line.method == DEFAULT_REFERENCE), lines[0])
    if rules.reference == ORACLE:
        return oracle
    if oracle is not None and rules.reference == oracle.method:
        return oracle
    found = next((line for line in lines if line.method == rules.reference), None)
    return full if found is None and rules.reference == FULL else found


def _against(line: Line, reference: Line | None, oracle: Line | None, full: Line | None) -> Line:
    def to(other: Line | None, by_seed: Callable[[Line], Mapping[int, float]]) -> Paired | None:
        return None if other is None or other.label == line.label else paired(by_seed(line), by_seed(other))

    return replace(
        line,
        against=to(reference, _ACCURACIES),
        loss_against=to(reference, _LOSSES),
        to_oracle=to(oracle, _ACCURACIES),
        to_full=to(full, _ACCURACIES),
    )


def _adjusted(lines: Sequence[Line]) -> tuple[Line, ...]:
    known = {line.label: line.against.p for line in lines if line.against is not None and line.against.p is not None}
    adjusted = holm(known)
    return tuple(replace(line, adjusted=adjusted.get(line.label)) for line in lines)


def _notes(lines: Sequence[Line], reference: Line | None, rules: Rules, oracle: Line | None) -> list[str]:
    notes = []
    if reference is None:
        notes.append(f"{rules.reference} did not run here, so there are no differences to it.")
    elif few := [line.label for line in lines if line.against is not None and line.against.p is None]:
        notes.append(
            f"Fewer than {FEWEST_SEEDS} seeds are shared with {reference.label} by {listing(few)}: an exact two-sided "
            "signed-rank test of 5 pairs cannot go below p = 0.0625, so no significance is claimed and ranges over "
            "seeds are shown."
        )
    apart = [] if reference is None else [x.label for x in lines if x.label != reference.label and x.against is None]
    if reference is not None and apart:
        notes.append(f"No difference to {reference.label}, for want of a seed evaluated in both: {listing(apart)}.")
    if oracle is not None:
        notes.append(
            f"{oracle.label} was chosen by the mean accuracy that is shown, so it flatters itself: "
            "it is a bound, not a method."
        )
    return notes


def _out_of_reach(lines: Sequence[Line]) -> list[str]:
    """Say where the seeds are too few for so many methods: no difference could come below 0.05 after Holm."""
    pairs = [line.against for line in lines if line.against is not None and line.against.p is not None]
    if not pairs:
        return []
    seeds, count = max(len(pair.seeds) for pair in pairs), len(pairs)
    least = smallest_p(seeds)
    if least * count <= _LEVEL:
        return []
    needed = next(n for n in range(seeds + 1, 99) if smallest_p(n) * count <= _LEVEL)
    return [
        f"The smallest p of {seeds} seeds is {least:.4f}, which Holm over {plural(count, 'method')} makes "
        f"{min(1.0, least * count):.2f}: no difference can come below {_LEVEL} here, however large; "
        f"{needed} seeds would allow it."
    ]


def _short(lines: Sequence[Line]) -> list[str]:
    """Say where the cost of reaching the target is a mean over some of the seeds only."""
    some = [
        f"{line.label} {line.reached.seeds} of {len(line.seeds)}"
        for line in lines
        if line.reached is not None and line.reached.seeds < len(line.seeds)
    ]
    if not some:
        return []
    return [
        f"Not every seed came to the target ({listing(some)}): its cost is the mean of those that did, which leaves "
        "out the slow ones."
    ]


def _unlike(lines: Sequence[Line]) -> list[str]:
    """Say where the lines do not compare like with like."""
    notes = []
    rounds = sorted({o.rounds for line in lines for o in line.outcomes})
    if len(rounds) > 1:
        notes.append(
            f"These runs differ in length, from {plural(rounds[0], 'round')} to {plural(rounds[-1], 'round')}."
        )
    missing = [line.label for line in lines if len(line.accuracies) < len(line.outcomes)]
    if missing:
        notes.append(f"Not every seed was evaluated on the server's test rows: {listing(missing)}.")
    diverged = [line.label for line in lines if any(o.loss is not None and not isfinite(o.loss) for o in line.outcomes)]
    if diverged:
        notes.append(
            f"The loss of some seed is not a finite number, so no mean of losses is shown: {listing(diverged)}."
        )
    starts: dict[int, set[float]] = {}
    for outcome in (o for line in lines for o in line.outcomes if o.baseline is not None):
        starts.setdefault(outcome.seed, set()).add(round(outcome.baseline or 0.0, 12))
    seed = next((s for s, found in starts.items() if len(found) > 1), None)
    if seed is not None:
        shown = listing([percent(share) for share in sorted(starts[seed])])
        notes.append(f"Not all methods start from the same model: with seed {seed} they begin at {shown}.")
    return notes
