"""The choice objective against a loop that scores one choice at a time, token by token and without padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fedstrata.data.answers import Answers
from fedstrata.data.tensors import TensorRows
from fedstrata.errors import ModelError
from fedstrata.models.objective import Choice, Classification, Objective, run
from questions import bytewise, gpt2, llama, prepared, questions, score, sentencewise

MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], object]]] = {
    "llama": (llama, sentencewise),
    "gpt2": (gpt2, bytewise),
}
CLOSE = 1e-5


@pytest.fixture(params=MODELS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[nn.Module, TensorRows]:
    """Return a model and nine questions."""
    model, tokenizer = MODELS[request.param]
    return model(), prepared(questions(9, seed=3), tokenizer(), tmp_path)


def scores_one_by_one(model: nn.Module, rows: TensorRows, row: int) -> list[Tensor]:
    answers = rows.answers
    assert answers is not None
    found = []
    for choice in range(int((answers.ends[row] > 0).sum())):
        start, end = int(answers.starts[row, choice]), int(answers.ends[row, choice])
        ids = answers.ids[row, choice].tolist()
        found.append(score(model, ids[:start], ids[start:end]))
    return found


def judged(model: nn.Module, rows: TensorRows, indices: Tensor) -> tuple[float, int]:
    inputs, labels = rows.judged(indices)
    with torch.no_grad():
        losses, guessed = Choice().judge(Choice().logits(model, inputs), inputs, labels)
    return float(losses.sum()), int((guessed == labels).sum())


def trained(model: nn.Module, rows: TensorRows, indices: Tensor, reduction: str = "sum") -> Tensor:
    inputs, labels = rows.take(indices)
    logits = Choice().logits(model, inputs)
    return Choice().loss(logits, inputs, labels, reduction=reduction)  # type: ignore[arg-type]


def test_scores_are_length_normalised_log_likelihoods(world: tuple[nn.Module, TensorRows]) -> None:
    model, rows = world
    with torch.no_grad():
        scores = [scores_one_by_one(model, rows, row) for row in range(9)]
    labels = rows.labels.tolist()
    loss, correct = judged(model, rows, torch.arange(9))
    assert loss == pytest.approx(-sum(float(own[label]) for own, label in zip(scores, labels, strict=True)), abs=CLOSE)
    best = [int(torch.stack(own).argmax()) for own in scores]
    assert correct == sum(b == label for b, label in zip(best, labels, strict=True))
    for row in range(9):
        assert judged(model, rows, torch.tensor([row]))[1] == int(best[row] == labels[row])


def test_the_training_loss_is_the_right_score_negated_and_rows_add_up(world: tuple[nn.Module, TensorRows]) -> None:
    model, rows = world
    with torch.no_grad():
        alone = [float(trained(model, rows, torch.tensor([row]))) for row in range(9)]
        whole, mean = (float(trained(model, rows, torch.arange(9), reduction)) for reduction in ("sum", "mean"))
        expected = [-float(scores_one_by_one(model, rows, row)[int(rows.labels[row])]) for row in range(9)]
    assert alone == pytest.approx(expected, abs=CLOSE)
    assert whole == pytest.approx(sum(alone), abs=CLOSE)
    assert mean == pytest.approx(sum(alone) / 9, abs=CLOSE)
    assert whole == pytest.approx(judged(model, rows, torch.arange(9))[0], abs=CLOSE)


def test_gradients_are_those_of_the_loss_written_down(world: tuple[nn.Module, TensorRows]) -> None:
    model, rows = world
    indices = torch.tensor([7, 0, 4])
    names = [name for name, _ in model.named_parameters()]
    written = -torch.stack([scores_one_by_one(model, rows, int(i))[int(rows.labels[i])] for i in indices]).mean()
    expected = torch.autograd.grad(written, list(model.parameters()))
    found = torch.autograd.grad(trained(model, rows, indices, "mean"), list(model.parameters()))
    for name, one, other in zip(names, found, expected, strict=True):
        assert torch.allclose(one, other, atol=CLOSE), name


def test_what_is_beside_a_row_in_its_batch_does_not_change_it(world: tuple[nn.Module, TensorRows]) -> None:
    model, rows = world
    batches = ([0, 1], [2, 3, 4, 5], [8, 7, 6])
    whole = judged(model, rows, torch.arange(9))
    parts = [judged(model, rows, torch.tensor(batch)) for batch in batches]
    assert sum(loss for loss, _ in parts) == pytest.approx(whole[0], abs=CLOSE)
    assert sum(right for _, right in parts) == whole[1]


def test_a_step_forwards_the_right_choice_alone(world: tuple[nn.Module, TensorRows]) -> None:
    _, rows = world
    inputs, labels = rows.take(torch.arange(9))
    assert len(inputs["input_ids"]) == len(labels) == 9
    assert "choices" not in inputs


def test_of_equal_scores_the_first_is_predicted() -> None:
    ids = torch.tensor([[[5, 6], [5, 6]]], dtype=torch.int32)
    answers = Answers(ids, torch.ones(1, 2, dtype=torch.int32), torch.full((1, 2), 2, dtype=torch.int32))
    model = llama()
    for label, right in ((0, 1), (1, 0)):
        labels = torch.tensor([label])
        assert judged(model, TensorRows(answers.right(labels), labels, (), answers), torch.tensor([0]))[1] == right


def test_logits_are_made_at_scored_tokens_alone() -> None:
    model, seen = llama(), []
    model.get_submodule("lm_head").register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape)))
    inputs = {
        "input_ids": torch.tensor([[5, 6, 7, 8]]),
        "attention_mask": torch.ones(1, 4, dtype=torch.int64),
        "places": torch.tensor([2]),
        "targets": torch.tensor([8]),
        "shares": torch.ones(1),
    }
    whole = run(model, {"input_ids": inputs["input_ids"]})
    seen.clear()
    logits = Choice().logits(model, inputs)
    assert seen == [(1, 1, 300)]
    assert torch.allclose(logits, whole[0, 2:3], atol=CLOSE)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_model_without_a_language_model_head_is_an_error() -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="a Linear has no language-model head; it cannot do multiple-choice"):
        Choice().logits(net, {"places": torch.tensor([0])})


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_classification_is_torchs_cross_entropy_to_the_bit(reduction: str) -> None:
    logits, labels = torch.randn(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    objective: Objective = Classification()
    loss = objective.loss(logits, {}, labels, reduction=reduction)  # type: ignore[arg-type]
    assert torch.equal(loss, nn.functional.cross_entropy(logits, labels, reduction=reduction))
    assert objective.judge(logits, {}, labels)[1].tolist() == logits.argmax(dim=1).tolist()


def test_a_network_with_a_forward_of_its_own_is_called_as_that_takes_it() -> None:
    plain, own = nn.Identity(), nn.Identity()
    own.forward = lambda input_ids: input_ids + 1.0  # type: ignore[method-assign, assignment]
    assert run(plain, {"x": torch.zeros(1)}).tolist() == [0.0]
    assert run(own, {"input_ids": torch.zeros(1)}).tolist() == [1.0]
