"""The server's test: what it says of weights, and that the same weights are not passed through the model again."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from fedstrata.assembly.confusion import write_confusion
from fedstrata.assembly.finish import finish
from fedstrata.assembly.run import prepare_run
from fedstrata.client.evaluate import evaluate
from fedstrata.config.load import check_config
from fedstrata.server.observers import Quiet
from small_runs import digits, never
from toys import copy_of


def test_the_end_of_a_run_reads_its_last_test_and_other_weights_are_tested_anew(tmp_path: Path) -> None:
    prepared = prepare_run(check_config(digits(tmp_path / "run")))
    passed: list[int] = []
    prepared.resident.module.register_forward_pre_hook(
        lambda module, args, inputs: passed.append(len(inputs["pixel_values"])), with_kwargs=True
    )
    result = prepared.run(observer=Quiet(), stop=never).start(prepared.weights)
    before = len(passed)
    finish(prepared, result)
    assert len(passed) == before
    said = json.loads(prepared.folder.confusion.read_text())
    rows = prepared.data.test
    loss, correct = evaluate(
        prepared.resident, result.weights, rows=rows, indices=torch.arange(len(rows)), batch_size=256
    )
    assert sum(n for true, guessed, n in said["counts"] if true == guessed) == correct
    final = prepared.test(result.weights)
    assert (final.accuracy, final.loss, final.num_examples) == (correct / len(rows), loss / len(rows), len(rows))
    before = len(passed)
    assert prepared.test(copy_of(result.weights)) == final
    assert len(passed) == before + 2  # 298 rows, 256 at a time
    write_confusion(prepared, result)
    assert json.loads(prepared.folder.confusion.read_text()) == said
