"""Comparisons as tables of text: the same cells for a terminal, for Markdown and for a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedstrata.comparison.intervals import CONFIDENCE, FEWEST_SEEDS, GENERATOR_SEED, RESAMPLES, Estimate, Paired
from fedstrata.comparison.methods import Contest, Line, Reached
from fedstrata.comparison.outcome import Outcome
from fedstrata.domain.formatting import NOTHING, megabytes, number, percent, short_names
from fedstrata.tables.table import Table

_GIGA = 1e9
_MOST_LAYERS = 16

HOW = (
    f"Brackets hold the {CONFIDENCE:.0%} BCa bootstrap interval of the mean over seeds ({RESAMPLES:,} resamples, "
    f"generator seed {GENERATOR_SEED}). It is somewhat too short where seeds are few: with 6 it held the mean of "
    f"synthetic data in 83 to 88 of 100 cases. Parentheses hold the range, where there are fewer than {FEWEST_SEEDS} "
    "seeds. Differences are paired by seed, of accuracy in percentage points; p, of accuracy alone, is of the exact "
    "two-sided Wilcoxon signed-rank test, p (Holm) is for all methods of the table together, d_z is the mean "
    "difference over its standard deviation."
)
"""What the columns mean, in a paragraph."""

Column = tuple[str, Callable[[Line], str]]


def sheets(contest: Contest) -> tuple[Table, ...]:
    """Return the tables of a contest: accuracy, clients and costs, loss, layers chosen, and what the oracle is from."""
    return (
        _sheet(
            "Accuracy on the server's test rows after the last round" + _before(contest), contest, _accuracy(contest)
        ),
        _sheet("Clients' accuracy on their own held-out rows, and what all clients spent", contest, _costs(contest)),
        *_losses(contest),
        *_layers(contest),
        *_candidates(contest),
    )


def named(line: Line, contest: Contest) -> str:
    """Return what a line is called in a table."""
    return f"{line.label} (reference)" if line.label == contest.reference else line.label


def estimate_shown(found: Estimate | None, shown: Callable[[float], str]) -> str:
    """Return a mean with its interval or range, each number as it is given to be shown.

    Example:
        >>> [estimate_shown(Estimate(1.5, 1.0, 2.0, 6, kind), "{:.1f}".format) for kind in ("interval", "range")]
        ['1.5 [1.0, 2.0]', '1.5 (1.0 to 2.0)']
        >>> [estimate_shown(Estimate(1.5, 1.5, 1.5, 1, kind), "{:.1f}".format) for kind in ("equal", "single")]
        ['1.5 (all equal)', '1.5']
    """
    if found is None:
        return NOTHING
    mean, low, high = shown(found.mean), shown(found.low), shown(found.high)
    return {
        "interval": f"{mean} [{low}, {high}]",
        "range": f"{mean} ({low} to {high})",
        "equal": f"{mean} (all equal)",
        "single": mean,
    }[found.kind]


def difference_shown(found: Paired | None, *, ends: bool = True) -> str:
    """Return a mean difference in percentage points.

    Example:
        >>> difference_shown(Paired((0,), Estimate(-0.015, -0.015, -0.015, 1, "single"), -0.015, None, None))
        '-1.50'
    """
    if found is None:
        return NOTHING
    return estimate_shown(found.difference, _points) if ends else _points(found.difference.mean)


def p_shown(p: float | None) -> str:
    """Return a p-value.

    Example:
        >>> p_shown(0.03125), p_shown(0.0004), p_shown(1.0), p_shown(None)
        ('0.031', '<0.001', '1.000', '–')
    """
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def layer_shares(line: Line) -> dict[str, float]:
    """Return by layer the share of all client-rounds of all seeds in which it was trained."""
    turns = sum(o.client_rounds for o in line.outcomes)
    names = dict.fromkeys(name for o in line.outcomes for name in o.layers)
    return {name: sum(o.layers.get(name, 0) for o in line.outcomes) / turns for name in names} if turns else {}


def layer_names(contest: Contest) -> tuple[str, ...]:
    """Return the layers of all methods, in order of first appearance."""
    lines = (*contest.lines, *contest.candidates)
    return tuple(dict.fromkeys(name for line in lines for o in line.outcomes for name in o.layers))


def _accuracy_shown(line: Line) -> str:
    return estimate_shown(line.accuracy, lambda share: f"{100 * share:.2f}")


def _loss_shown(line: Line) -> str:
    return estimate_shown(line.loss, "{:.4f}".format)


def _nats(difference: float) -> str:
    return _signed(difference, 4)


def _points(difference: float) -> str:
    return _signed(100 * difference, 2)


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign; what rounds to 0 has none."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def _before(contest: Contest) -> str:
    starts = [o.baseline for line in contest.lines for o in line.outcomes if o.baseline is not None]
    if not starts:
        return ""
    low, high = percent(min(starts)), percent(max(starts))
    return f" (before training {low if low == high else f'{low} to {high}'})"


def _sheet(caption: str, contest: Contest, columns: Sequence[Column]) -> Table:
    rows = tuple((named(line, contest), *(shown(line) for _, shown in columns)) for line in contest.lines)
    reference = frozenset(i for i, line in enumerate(contest.lines) if line.label == contest.reference)
    return Table(caption, ("method", *(title for title, _ in columns)), rows, strong=reference)


def _accuracy(contest: Contest) -> list[Column]:
    columns: list[Column] = [
        ("# seeds", lambda line: str(len(line.seeds))),
        ("# accuracy, %", _accuracy_shown),
    ]
    pairs = [line.against for line in contest.lines if line.against is not None]
    if pairs:
        columns.append((f"# to {contest.reference}, points", lambda line: difference_shown(line.against)))
    if any(set(pair.seeds) != set(_seeds(contest)) for pair in pairs):
        columns.append(("# pairs", lambda line: str(len(line.against.seeds)) if line.against else NOTHING))
    if any(pair.p is not None for pair in pairs):
        columns.append(("# p", lambda line: p_shown(line.against.p if line.against else None)))
        columns.append(("# p (Holm)", lambda line: p_shown(line.adjusted)))
    if any(pair.effect is not None for pair in pairs):
        columns.append(("# d_z", lambda line: _effect(line.against)))
    if contest.has_oracle and not (contest.reference or "").startswith("oracle"):
        columns.append(("# to oracle", lambda line: difference_shown(line.to_oracle, ends=False)))
    if any(line.to_full for line in contest.lines) and contest.reference != "full":
        columns.append(("# to full", lambda line: difference_shown(line.to_full, ends=False)))
    return columns


def _seeds(contest: Contest) -> set[int]:
    return {seed for line in contest.lines for seed in line.seeds}


def _effect(pair: Paired | None) -> str:
    return NOTHING if pair is None or pair.effect is None else f"{pair.effect:+.2f}"


def _costs(contest: Contest) -> list[Column]:
    columns: list[Column] = [
        (f"# {name}, %", _share(of))
        for name, of in (
            ("worst", lambda o: o.worst_client),
            ("median", lambda o: o.median_client),
            ("best", lambda o: o.best_client),
        )
    ]
    columns += [
        ("# MB up", lambda line: megabytes(line.mean(lambda o: o.bytes_up) or 0.0)),
        ("# MB down", lambda line: megabytes(line.mean(lambda o: o.bytes_down) or 0.0)),
        ("# GFLOP", lambda line: _giga(line.mean(lambda o: o.flops))),
    ]
    if contest.target is not None:
        to = f"to {100 * contest.target:g}%"
        columns += [
            (f"# seeds {to}", lambda line: f"{line.reached.seeds} of {len(line.seeds)}" if line.reached else NOTHING),
            (f"# MB up {to}", lambda line: _reached(line, lambda r: r.bytes_up, megabytes)),
            (f"# GFLOP {to}", lambda line: _reached(line, lambda r: r.flops, _giga)),
        ]
    return columns


def _share(of: Callable[[Outcome], float | None]) -> Callable[[Line], str]:
    def shown(line: Line) -> str:
        mean = line.mean(of)
        return NOTHING if mean is None else f"{100 * mean:.1f}"

    return shown


def _giga(flops: float | None) -> str:
    return NOTHING if flops is None else number(flops / _GIGA, digits=4)


def _reached(line: Line, of: Callable[[Reached], float | None], shown: Callable[[float], str]) -> str:
    """Return what the target took, a mean over the seeds that came to it; where not all did, it says how many."""
    value = None if line.reached is None else of(line.reached)
    if line.reached is None or value is None:
        return NOTHING
    of_how_many = f" ({line.reached.seeds} of {len(line.seeds)} seeds)" if line.reached.seeds < len(line.seeds) else ""
    return f"{shown(value)}{of_how_many}"


def _losses(contest: Contest) -> tuple[Table, ...]:
    """Return the losses, which tell methods apart where rows are too few for accuracy; p is of accuracy alone."""
    if not any(line.loss for line in contest.lines):
        return ()
    columns: list[Column] = [("# loss, nats", _loss_shown)]
    if any(line.loss_against for line in contest.lines):
        columns.append((f"# to {contest.reference}, nats", _loss_difference))
    return (_sheet("Loss on the server's test rows after the last round; less is better", contest, columns),)


def _loss_difference(line: Line) -> str:
    return NOTHING if line.loss_against is None else estimate_shown(line.loss_against.difference, _nats)


def _layers(contest: Contest) -> tuple[Table, ...]:
    """Return the shares of client-rounds per layer, in tables that a screen can hold."""
    names = layer_names(contest)
    short = short_names(names, bare=True)
    shares = {line.label: layer_shares(line) for line in contest.lines}

    def column(name: str) -> Callable[[Line], str]:
        return lambda line: whole_percent(shares[line.label].get(name))

    found = []
    for start in range(0, len(names), _MOST_LAYERS):
        part = slice(start, start + _MOST_LAYERS)
        columns = [(f"# {title}", column(name)) for title, name in zip(short[part], names[part], strict=True)]
        caption = "Layers trained, in % of client-rounds" + (f", from {short[start]} on" if start else "")
        found.append(_sheet(caption, contest, columns))
    return tuple(found)


def whole_percent(share: float | None) -> str:
    """Return a share in whole percent; what is not 0 does not look like it.

    Example:
        >>> [whole_percent(share) for share in (0.0, 0.001, 0.254, 1.0, None)]
        ['0', '<1', '25', '100', '–']
    """
    if share is None:
        return NOTHING
    return "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def _candidates(contest: Contest) -> tuple[Table, ...]:
    if not contest.candidates:
        return ()
    head = ("method", "# seeds", "# accuracy, %", "# loss, nats")
    rows = tuple((c.label, str(len(c.seeds)), _accuracy_shown(c), _loss_shown(c)) for c in contest.candidates)
    return (Table("Single layers that the oracle was chosen from, by accuracy", head, rows),)
