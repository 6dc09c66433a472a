"""Proof of training: a sound run holds, and each way to be unsound is an alarm that names its layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.domain.ids import LayerName
from fedstrata.domain.records import RoundRecord
from fedstrata.report.blocks import Block, Check, Pictures
from fedstrata.report.sections.proof_of_training import passed, proof
from fedstrata.runs.reading import read_run
from report.synthetic_run import moved_layer, write_run


def checks(blocks: tuple[Block, ...]) -> list[Check]:
    return [b for b in blocks if isinstance(b, Check)]


def svg_of(blocks: tuple[Block, ...]) -> str:
    return next(str(p.svg) for b in blocks if isinstance(b, Pictures) for p in b.items)


def test_proof_of_a_sound_run_holds(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a"))
    assert passed(run)
    still = sum(x.contributors == 0 for r in run.log.rounds for x in r.layers)
    assert checks(proof(run))[0].text.endswith(f"{still} of {still} norms are 0.")
    assert "vit.embeddings (frozen), round 4: norm 0 since the start" in svg_of(proof(run))


def stuck_layer(record: RoundRecord) -> RoundRecord:
    odd = replace(record.layers[0], contributors=3, update_norm=0.0)
    return replace(record, layers=(odd, *record.layers[1:]))


def broken_layer(record: RoundRecord) -> RoundRecord:
    odd = replace(record.layers[0], contributors=3, update_norm=float("nan"))
    return replace(record, layers=(odd, *record.layers[1:]))


def moved_embedding(record: RoundRecord) -> RoundRecord:
    return replace(record, frozen_norms={LayerName("vit.embeddings"): 1e-9})


def unproved_embedding(record: RoundRecord) -> RoundRecord:
    return replace(record, frozen_norms={})


def stray_update(record: RoundRecord) -> RoundRecord:
    odd = replace(record.clients[2], mask=(0,), update_norms={"vit.encoder.layer.4": 0.5})
    return replace(record, clients=(*record.clients[:2], odd, *record.clients[3:]))


@pytest.mark.parametrize(
    ("change", "place", "said"),
    [
        (moved_layer, 0, "ALARM: 1 layer moved though nobody trained it: vit.encoder.layer.5 in round 1"),
        (stuck_layer, 1, "1 trained layer did not move by a finite amount: vit.encoder.layer.0"),
        (broken_layer, 1, "(norm not a number)"),
        (moved_embedding, 2, "ALARM: a frozen block moved: vit.embeddings by round 1 (norm 1e-09)"),
        (unproved_embedding, 2, "does not prove that vit.embeddings stayed frozen"),
        (stray_update, 3, "ALARM: updates hold layers outside their masks: client-02 sent vit.encoder.layer.4"),
    ],
)
def test_proof_that_fails_is_an_alarm(
    tmp_path: Path, change: Callable[[RoundRecord], RoundRecord], place: int, said: str
) -> None:
    run = read_run(write_run(tmp_path / "a", rounds=1, change=change))
    found = checks(proof(run))
    assert [c.passed for c in found] == [i != place for i in range(4)]
    assert said in found[place].text
    assert not passed(run)
    drawn = 'class="alarm"' in svg_of(proof(run))
    assert drawn == (change not in (unproved_embedding, stray_update))
