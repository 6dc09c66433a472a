from __future__ import annotations

from functools import cache, lru_cache, wraps
from typing import Any, ClassVar

import pytest
import torch
import transformers as tf
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from fedstrata.models.partition import partition
from fedstrata.models.profiling.step import measure_step

KNOWN: dict[int, Tensor] = {}
LAST: Tensor | None = None


@lru_cache(maxsize=4)
def _cached(width: int) -> Tensor:
    return torch.ones(width)


def _wrapped(function: Any) -> Any:  # noqa: ANN401
    inner = cache(function)

    @wraps(function)
    def outer(*args: Any) -> Any:  # noqa: ANN401
        return inner(*args)

    return outer


class _Remembering(nn.Module):
    """A block that keeps what it computes in every place outside of itself that there is, and in itself."""

    table: ClassVar[dict[str, list[Tensor]]] = {}
    made: ClassVar[list[Tensor]] = []

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.own: dict[int, Tensor] = {}

    @staticmethod
    @_wrapped
    def ones(width: int) -> Tensor:
        return torch.ones(width)

    def forward(self, x: Tensor) -> Tensor:
        global LAST
        if LAST is None:
            LAST = torch.ones(4)
        type(self).late = getattr(type(self), "late", None) or [torch.ones(4)]  # type: ignore[attr-defined]
        for kept in (KNOWN.setdefault(4, torch.ones(4)), self.own.setdefault(4, torch.ones(4)), LAST):
            x = x + kept
        if not self.made:
            self.made.append(torch.ones(4))
            self.table["a"] = [torch.ones(4)]
        x = x + self.made[0] + self.table["a"][0] + type(self).late[0]  # type: ignore[attr-defined]
        out: Tensor = self.linear(x + self.ones(4) + _cached(4))
        return out


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Sequential(_Remembering(), _Remembering()), nn.Linear(4, 2))


@pytest.mark.parametrize("rows_before", [0, 2])
def test_whatever_a_model_remembers_is_left_with_numbers(rows_before: int) -> None:
    net = _net()
    x = torch.rand(3, 4)
    before = net(x[:rows_before]) if rows_before else None
    measure_step(net, partition(net), {"x": torch.empty(3, 4)})
    after = net(x)
    assert not isinstance(after, FakeTensor)
    assert torch.isfinite(after).all()
    assert before is None or torch.equal(before, net(x[:rows_before]))
    assert not any(isinstance(t, FakeTensor) for t in (*KNOWN.values(), *_Remembering.made, LAST, _cached(4)))


def test_a_beit_that_caches_its_positions_computes_after_it_was_measured() -> None:
    torch.manual_seed(0)
    config = tf.BeitConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=8,
        patch_size=4,
        use_relative_position_bias=True,
    )
    net = tf.BeitForImageClassification(config).eval()
    pixels = torch.rand(1, 3, 8, 8)
    profile = measure_step(net, partition(net), {"pixel_values": torch.empty(2, 3, 8, 8)})
    assert profile.layers == 2
    assert torch.isfinite(net(pixels).logits).all()


def test_a_model_that_cannot_be_copied_is_an_error_of_the_measurement() -> None:
    from fedstrata.errors import ModelError

    class Stubborn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

        def __deepcopy__(self, memo: object) -> nn.Module:
            raise RuntimeError("there is one of me")

    net = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), Stubborn(), nn.Linear(4, 2))
    with pytest.raises(ModelError, match="cannot measure Sequential: RuntimeError: there is one of me"):
        measure_step(net, partition(net), {"x": torch.empty(3, 4)})
