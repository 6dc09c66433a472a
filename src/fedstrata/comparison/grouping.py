"""Which runs may be compared (same model and data) and which are seeds of one method (same settings but the seed)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fedstrata.domain.formatting import listing
from fedstrata.domain.records import Metrics, RoundRecord
from fedstrata.errors import ConfigError
from fedstrata.parsing.yaml_text import yaml_value
from fedstrata.runs.records import Run
from fedstrata.runs.statistics import largest_peak, predicted_flops

Settings = Mapping[str, str]
_IDENTITY = ("seed", "output")


@dataclass(frozen=True, slots=True)
class Point:
    """Where a run stood.

    Attributes:
        rounds: Rounds completed; 0 is the starting point.
        bytes_up: Uploaded by all clients until then.
    """

    rounds: int
    bytes_up: int
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Series:
    """One method on one setting, with one run per seed.

    Attributes:
        style: Index of its colour, the same for a label everywhere in the page.
    """

    label: str
    runs: tuple[Run, ...]
    style: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending, each once."""
        return tuple(sorted({run.log.header.seed for run in self.runs}))

    def mean(self, values: Iterable[float | None]) -> float | None:
        """Return the mean of the values that exist."""
        known = [v for v in values if v is not None]
        return fmean(known) if known else None

    @property
    def accuracy(self) -> float | None:
        """Mean over the runs of the last accuracy."""
        return self.mean(final_accuracy(run) for run in self.runs)

    @property
    def chosen(self) -> float | None:
        """Mean over the runs of the accuracy of the round that held-out rows choose."""
        return self.mean(chosen_accuracy(run) for run in self.runs)

    @property
    def bytes_up(self) -> float:
        """Mean over the runs of the bytes that all clients uploaded."""
        return fmean(uploaded(run) for run in self.runs)

    @property
    def seconds(self) -> float:
        """Mean over the runs of the time of all rounds, without evaluation."""
        return fmean(sum(r.seconds for r in run.log.rounds) for run in self.runs)

    @property
    def flops(self) -> float | None:
        """Mean over the runs of the predicted operations of all clients."""
        return self.mean(predicted_flops(run) for run in self.runs)

    @property
    def peak(self) -> int | None:
        """The most memory that a client held in any of the runs."""
        return max((peak for run in self.runs if (peak := largest_peak(run)) is not None), default=None)


@dataclass(frozen=True, slots=True)
class Group:
    """Series that may be compared: one model on one data setting."""

    label: str
    series: tuple[Series, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs of the group."""
        return tuple(run for series in self.series for run in series.runs)


def measure(run: Run) -> str:
    """Return what the run's accuracy was measured on: ``test``, else ``validation``, else nothing.

    ``test`` is the server's own set, ``validation`` the clients' held-out rows together.
    """
    rounds = run.log.rounds
    if any(r.test is not None for r in rounds):
        return "test"
    if any(r.validation is not None for r in rounds):
        return "validation"
    if rounds:
        return ""
    return "test" if run.log.baseline_test else ("validation" if run.log.baseline_validation else "")


def trajectory(run: Run, kind: str) -> tuple[Point, ...]:
    """Return the points at which the run was evaluated on ``kind``, from its starting point on."""
    start = run.log.baseline_test if kind == "test" else run.log.baseline_validation
    found = [] if start is None else [Point(0, 0, start)]
    total = 0
    for record in run.log.rounds:
        total += record.bytes_up + sum(a.bytes_up for a in run.log.abandoned if a.round == record.round)
        metrics = _metrics(record, kind)
        if metrics is not None:
            found.append(Point(record.round, total, metrics))
    return tuple(found)


def _metrics(record: RoundRecord, kind: str) -> Metrics | None:
    return record.test if kind == "test" else (record.validation if kind == "validation" else None)


def final_accuracy(run: Run) -> float | None:
    """Return the accuracy after the last round that was evaluated; ``None`` if none was."""
    path = [p for p in trajectory(run, measure(run)) if p.rounds]
    return path[-1].metrics.accuracy if path else None


def chosen_accuracy(run: Run) -> float | None:
    """Return the accuracy at the point, the start included, that was best on the clients' held-out rows.

    Choosing on the test rows themselves would flatter. Where no rows are held out, the last round is the choice.
    """
    path = trajectory(run, measure(run))
    held_out = {p.rounds: p.metrics.accuracy for p in trajectory(run, "validation")}
    candidates = [p for p in path if p.rounds in held_out]
    if not candidates:
        return final_accuracy(run)
    return max(candidates, key=lambda p: held_out[p.rounds]).metrics.accuracy


def uploaded(run: Run) -> int:
    """Return the bytes that all clients sent in all rounds, abandoned attempts included."""
    return sum(record.bytes_up for record in run.log.spent)


def settings(config: str | None) -> Settings:
    r"""Return a config's settings by dotted key, without seeds and output folder.

    Example:
        >>> settings("seed: 1\ntrain: {lr: 0.1, rounds: 2}")
        {'train.lr': '0.1', 'train.rounds': '2'}
    """
    try:
        tree, _ = yaml_value(config or "", "config.resolved.yaml")
    except ConfigError:
        return {}
    flat: dict[str, str] = {}
    _flatten(tree, "", flat)
    return {key: value for key, value in flat.items() if key.rpartition(".")[2] not in _IDENTITY}


def _flatten(value: object, path: str, into: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(item, f"{path}.{key}" if path else str(key), into)
    elif path:
        into[path] = json.dumps(value, default=str)


def group(runs: Sequence[Run]) -> tuple[Group, ...]:
    """Sort runs into groups and series, both in order of first appearance.

    Two runs are in one group if model, data and the config's ``model`` and ``data`` tables agree, and in one series
    if their method and all other settings agree too. Where labels would be the same, the settings that differ are
    added to them.
    """
    configs = [settings(run.config) for run in runs]
    keys = [
        (r.log.header.data, r.log.header.model, _part(c, about_data=True)) for r, c in zip(runs, configs, strict=True)
    ]
    labels = _told_apart([k[0] for k in keys], [dict((("model", k[1]), *k[2])) for k in keys])
    names: dict[str, int] = {}
    groups = []
    for key in dict.fromkeys(keys):
        members = [i for i, k in enumerate(keys) if k == key]
        inside = [(runs[i].log.header.method, _part(configs[i], about_data=False)) for i in members]
        titles = _told_apart([m for m, _ in inside], [dict(rest) for _, rest in inside])
        series = []
        for mine in dict.fromkeys(inside):
            places = [p for p, other in enumerate(inside) if other == mine]
            title = titles[places[0]]
            chosen = sorted((runs[members[p]] for p in places), key=lambda r: r.log.header.seed)
            series.append(Series(title, tuple(chosen), names.setdefault(title, len(names))))
        groups.append(Group(labels[members[0]], tuple(series)))
    return tuple(groups)


def _part(config: Settings, *, about_data: bool) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in config.items() if k.startswith(("data.", "model.")) == about_data))


def _told_apart(labels: Sequence[str], details: Sequence[Settings]) -> list[str]:
    """Return the labels, each with the settings in which it differs from its namesakes, empty ones only if alone."""
    told = []
    for label, own in zip(labels, details, strict=True):
        namesakes = [d for other, d in zip(labels, details, strict=True) if other == label]
        keys = sorted({k for d in namesakes for k in d})
        odd = [k for k in keys if len({d.get(k) for d in namesakes}) > 1]
        given = [k for k in odd if own.get(k, "null") != "null"]
        shown = [f"{k.rpartition('.')[2]}={own.get(k, 'unset').strip(chr(34))}" for k in given or odd]
        told.append(f"{label} ({listing(shown, limit=2)})" if shown else label)
    return told
