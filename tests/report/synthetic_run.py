"""A synthetic run folder, written from the domain's own records, so that the report is tied to their schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import numpy as np
import yaml

from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.domain.records import Abandoned, ClientRecord, LayerRecord, Metrics, RoundRecord
from fedstrata.runs.folder import RunFolder

LAYER_BYTES, HEAD_BYTES = 133_120, 2_600
PEAK_LIMIT = 40e6
TEN = tuple(f"client-{i:02d}" for i in range(10))


def write_run(
    folder: Path,
    *,
    method: str = "consensus",
    seed: int = 7,
    rounds: int = 10,
    planned: int | None = None,
    names: tuple[str, ...] = TEN,
    layers: int = 6,
    per_client: int = 1,
    data: str = "digits, inverted and rotated",
    labels: int = 10,
    gain: float = 0.05,
    start: float | None = 0.134,
    end: str | None = "finished",
    failing: str | None = None,
    certified: bool = True,
    fairness: bool = True,
    validation: bool = True,
    priced: bool = True,
    extra: Mapping[str, object] | None = None,
    before: Mapping[str, int] | None = None,
    abandoned: Sequence[Abandoned] = (),
    change: Callable[[RoundRecord], RoundRecord] = lambda record: record,
) -> Path:
    """Write a run folder and return it; ``change`` may spoil each round before it is written.

    With ``priced`` false it is as a run with ``cost: layers`` on a machine that cannot tell a peak. ``before`` are the
    losses of the evaluation before the first round, ``abandoned`` stands before the rounds that it belongs to.
    """
    rng = np.random.default_rng([seed, len(method), rounds])
    folder.mkdir(parents=True)
    events: list[dict[str, object]] = [_header(method, seed, data, layers, names, planned or rounds)]
    if start is not None:
        looked = {"test": _metrics(start), "validation": _metrics(start, rows=200)}
        events.append({"event": "baseline", **looked, "client_accuracy": {}, "losses": dict(before or {})})
    records = []
    for t in range(1, rounds + 1):
        accuracy = (start or 0.1) + gain * t**0.7
        made = _round(t, rng, names, layers, per_client, accuracy, failing, certified)
        record = change(made if priced else _unpriced(made))
        record = replace(
            record,
            client_accuracy=record.client_accuracy if fairness else {},
            validation=record.validation if validation else None,
        )
        records.append(record)
        events += [{"event": "abandoned", **asdict(facts)} for facts in abandoned if facts.round == t]
        events += [{"event": "client", **asdict(c)} for c in record.clients]
        body = asdict(record)
        del body["clients"]
        events.append({"event": "round", **body})
    events += [{"event": "abandoned", **asdict(facts)} for facts in abandoned if facts.round > rounds]
    if end is not None:
        message = {"finished": None, "interrupted": "stopped by Ctrl-C", "failed": "every client failed"}[end]
        events.append({"event": "end", "state": end, "message": message})
    RunFolder(folder).append(events)
    _side_files(
        folder,
        records,
        abandoned=abandoned,
        method=method,
        seed=seed,
        names=names,
        labels=labels,
        rng=rng,
        extra=extra or {},
    )
    return folder


def _header(method: str, seed: int, data: str, layers: int, names: tuple[str, ...], planned: int) -> dict[str, object]:
    return {
        "event": "run",
        "method": method,
        "seed": seed,
        "model": "ViT, 6 blocks, 203,082 parameters",
        "data": data,
        "layers": [f"vit.encoder.layer.{i}" for i in range(layers)],
        "always": ["vit.layernorm", "classifier"],
        "never": ["vit.embeddings"],
        "layer_bytes": [LAYER_BYTES] * layers,
        "clients": list(names),
        "rounds": planned,
        "started": "2026-11-22T17:40:00",
        "run": "5f0c2ab1d4e39a77",
    }


def _metrics(accuracy: float, *, rows: int = 1197) -> dict[str, object]:
    return asdict(Metrics(min(accuracy, 0.99), 2.3 - 1.8 * min(accuracy, 0.99), rows))


def _round(
    t: int,
    rng: np.random.Generator,
    names: tuple[str, ...],
    layers: int,
    per_client: int,
    accuracy: float,
    failing: str | None,
    certified: bool,
) -> RoundRecord:
    likely = np.exp(-np.arange(layers) / 2.0)
    clients = []
    for name in sorted(names):
        chosen = rng.choice(layers, size=per_client, replace=False, p=likely / likely.sum())
        clients.append(_client(t, name, tuple(sorted(int(i) for i in chosen)), layers, rng, name == failing))
    blocks = []
    for i in range(layers):
        count = sum(i in c.mask and c.failure is None for c in clients)
        norm = float(rng.uniform(0.01, 0.2)) / (i + 1) if count else 0.0
        blocks.append(LayerRecord(LayerName(f"vit.encoder.layer.{i}"), count, count / len(names), None, norm))
    blocks += [LayerRecord(LayerName(n), len(names), 1.0, 0.0, 0.3) for n in ("vit.layernorm", "classifier")]
    own: dict[str, float] = {n: float(np.clip(accuracy + rng.normal(0, 0.08), 0, 1)) for n in names}
    return RoundRecord(
        round=t,
        clients=tuple(clients),
        layers=tuple(blocks),
        losses={"NONFINITE": 1} if failing in names else {},
        frozen_norms={LayerName("vit.embeddings"): 0.0},
        certificate={"objective": 5.0, "bound": 5.01, "gap": 0.002, "rule": "milp"} if certified else None,
        test=Metrics(min(accuracy, 0.99), 2.3 - 1.8 * min(accuracy, 0.99), 1197),
        validation=Metrics(min(accuracy * 1.04, 0.99), 2.0 - min(accuracy, 0.99), 200),
        client_accuracy=own,
        bytes_up=sum(c.bytes_up for c in clients),
        bytes_down=sum(c.bytes_down for c in clients),
        seconds=1.25,
        peak_bytes=412_000_000,
    )


def _unpriced(record: RoundRecord) -> RoundRecord:
    clients = (
        replace(c, predicted={"layers": float(len(c.mask))}, budget={"layers": c.budget["layers"]}, peak_bytes=None)
        for c in record.clients
    )
    return replace(record, clients=tuple(clients))


def _client(
    t: int, name: str, mask: tuple[int, ...], layers: int, rng: np.random.Generator, fails: bool
) -> ClientRecord:
    norms: dict[str, float] = {f"vit.encoder.layer.{i}": 0.1 for i in mask} | {"vit.layernorm": 0.1, "classifier": 0.3}
    scores = tuple(float(s) for s in rng.exponential(size=layers))
    predicted = predicted_of(mask, layers)
    slower, larger = rng.normal(1.05, 0.06), rng.normal(1.02, 0.04)
    return ClientRecord(
        round=t,
        client=ClientId(name),
        num_examples=40,
        budget={"layers": float(len(mask)), "bytes_peak": PEAK_LIMIT},
        mask=mask,
        scores=scores,
        probe_round=t,
        probe_loss=1.9,
        loss_first=1.9,
        loss_mean=1.7,
        steps=0 if fails else 5,
        update_norms={} if fails else norms,
        predicted=predicted,
        bytes_up=48 if fails else int(predicted["bytes_up"]),
        bytes_down=int(predicted["bytes_down"]),
        peak_bytes=None if fails else int(predicted["bytes_peak"] * larger),
        seconds_probe=0.02,
        seconds_train=0.0 if fails else float(predicted["seconds"] * slower - 0.02),
        failure="NONFINITE" if fails else None,
        failure_message="the loss became NaN in step 3; lower lr" if fails else None,
    )


def predicted_of(mask: tuple[int, ...], layers: int) -> dict[str, float]:
    """Return prices that grow with the number of layers and with the depth of the lowest."""
    reach = layers - min(mask, default=layers)
    return {
        "layers": float(len(mask)),
        "flops": 1e9 * (2 + reach + len(mask)),
        "bytes_up": float(len(mask) * LAYER_BYTES + HEAD_BYTES),
        "bytes_down": float(2 * len(mask) * LAYER_BYTES + 1),
        "bytes_peak": 4e6 + 1e6 * reach + 3.0 * LAYER_BYTES * len(mask),
        "seconds": 0.05 + 0.02 * reach + 0.01 * len(mask),
    }


def _side_files(
    folder: Path,
    records: list[RoundRecord],
    *,
    abandoned: Sequence[Abandoned],
    method: str,
    seed: int,
    names: tuple[str, ...],
    labels: int,
    rng: np.random.Generator,
    extra: Mapping[str, object],
) -> None:
    tests = [r.test for r in records if r.test is not None]
    summary = {
        "rounds": len(records),
        "final": asdict(tests[-1]) if tests else None,
        "best": asdict(max(tests, key=lambda m: m.accuracy)) if tests else None,
        "bytes_up": sum(r.bytes_up for r in records) + sum(a.bytes_up for a in abandoned),
        "bytes_down": sum(r.bytes_down for r in records),
        "seconds": sum(r.seconds for r in records) + 1.0,
        "seed": seed,
        "method": method,
    }
    counts = rng.multinomial(60, rng.dirichlet([0.3] * labels), size=len(names))
    card = {
        "rows_kept": 60 * len(names),
        "rows_dropped": {"no label": 3},
        "rows_test": 1197,
        "partition": "Dirichlet 0.3 over labels",
        "warnings": ["client-03 holds rows of one label only"],
        "clients": {
            name: {
                "train": 50,
                "held_out": 10,
                "labels": {str(k): int(n) for k, n in enumerate(row)},
            }
            for name, row in zip(names, counts, strict=True)
        },
    }
    config = {"seed": seed, "method": {"kind": method}, "train": {"rounds": len(records), "lr": 0.05}} | dict(extra)
    environment = {"python": "3.11.2", "versions": {"torch": "2.13.0"}, "device": "cpu", "git_commit": "e14a076"}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "data_card.json").write_text(json.dumps(card))
    (folder / "env.json").write_text(json.dumps(environment))
    (folder / "config.resolved.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "metrics.csv").write_text("round,accuracy\n")


def events_of(folder: Path) -> list[dict[str, object]]:
    """Return the events of a run folder."""
    text = (folder / "events.jsonl").read_text()
    return [cast("dict[str, object]", json.loads(line)) for line in text.splitlines()]


def moved_layer(record: RoundRecord) -> RoundRecord:
    """Return the round with a layer that moved though nobody trained it."""
    odd = replace(record.layers[5], contributors=0, update_norm=1e-30)
    return replace(record, layers=(*record.layers[:5], odd, *record.layers[6:]))


def lost_attempt(round: int, attempt: int = 0) -> Abandoned:
    """Return an attempt that three of ten clients answered and five had to."""
    failures = {ClientId(f"client-{i:02d}"): "LATE" for i in range(3, 10)}
    return Abandoned(
        round=round,
        attempt=attempt,
        phase="probe",
        answered=3,
        needed=5,
        message=f"round {round} is abandoned: 3 of 10 clients are left after the probe, 5 are needed",
        failures=failures,
        losses={"BELOW_QUORUM": 1, "DUPLICATE": 2, "LATE": 7},
        bytes_up=1_200_000,
        seconds=2.5,
    )


def given_up(record: RoundRecord, *, attempt: int = 1) -> RoundRecord:
    """Return the record of a round that was given up after its last attempt, as a run writes it."""
    layers = tuple(replace(x, contributors=0, data_mass=0.0, chi2=None, update_norm=0.0) for x in record.layers)
    return replace(
        record,
        clients=(),
        layers=layers,
        attempt=attempt,
        committed=False,
        losses={},
        certificate=None,
        bytes_up=0,
        bytes_down=0,
        seconds=0.0,
        peak_bytes=0,
    )


def below_quorum(record: RoundRecord) -> RoundRecord:
    """Return the round with a layer that one client trained in vain."""
    few = replace(record.layers[4], contributors=0, data_mass=0.0, chi2=None, update_norm=0.0, below_quorum=1)
    return replace(record, layers=(*record.layers[:4], few, *record.layers[5:]), losses={"BELOW_QUORUM": 1})
