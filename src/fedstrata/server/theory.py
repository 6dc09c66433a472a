"""What a round's gradients say of its error and of the bound on it (``domain/theory.py`` has the formulas).

An instrument that has the clients' rows at hand takes the gradients; it is used between rounds, so that it changes no
bit of them and none of their times. Where there is none, sketches that came with the probes give estimates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.records import LayerTheory, RoundRecord, TheoryRecord
from fedstrata.domain.theory import LayerMoments, terms_of
from fedstrata.wire.messages import Weights


class Instrument(Protocol):
    """Measures with the rows of all clients; ``client/exact.py`` is the one there is."""

    def moments(
        self, weights: Weights, shares: Mapping[ClientId, float], masks: Mapping[ClientId, Mask]
    ) -> tuple[tuple[LayerMoments, ...], float]:
        """Return each layer's moments over all training rows of these clients, and their loss.

        Args:
            weights: Where the gradients are taken.
            shares: alpha_i, summing to 1; ascending by client.
            masks: The layers that each of them trained and that counted.
        """
        ...

    def loss(self, weights: Weights, shares: Mapping[ClientId, float]) -> float:
        """Return the loss over all training rows of these clients."""
        ...


def measured(
    instrument: Instrument, before: Weights, after: Weights, record: RoundRecord, layers: LayerMap
) -> TheoryRecord | None:
    """Return what a committed round's error was, or ``None`` of a round that did not happen.

    Args:
        instrument: Has the rows.
        before: The round's starting weights.
        after: Its outcome.
        record: Who trained what.
        layers: The model's layers.
    """
    if not record.committed:
        return None
    start = perf_counter()
    counted = [client for client in record.clients if client.steps]
    shares = shares_of({client.client: client.num_examples for client in counted})
    moved = frozenset(index for index, layer in enumerate(record.layers[: len(layers)]) if layer.contributors)
    masks = {client.client: frozenset(client.mask) & moved for client in counted}
    found, loss = instrument.moments(before, shares, masks)
    later = instrument.loss(after, shares)
    return theory_record(
        layers, found, [layer.data_mass for layer in record.layers[: len(layers)]],
        losses=(loss, later), seconds=perf_counter() - start,
    )  # fmt: skip


def theory_record(
    layers: LayerMap,
    moments: Sequence[LayerMoments],
    masses: Sequence[float],
    *,
    losses: tuple[float | None, float | None] = (None, None),
    estimated: bool = False,
    seconds: float = 0.0,
) -> TheoryRecord:
    """Return moments and their terms as the round's record has them.

    Args:
        layers: The model's layers.
        moments: One per layer.
        masses: A_l of each.
        losses: f before and after the round, where they were measured.
        estimated: Whether the moments come from sketches.
        seconds: What measuring took.
    """
    terms = terms_of(moments, masses)
    return TheoryRecord(
        error=terms.error,
        missing_layers=terms.missing_layers,
        wrong_weights=terms.wrong_weights,
        layers=tuple(
            LayerTheory(name, mass, one.gradient_sq, one.spread, one.off)
            for name, one, mass in zip(layers.names, moments, masses, strict=True)
        ),
        loss_before=losses[0],
        loss_after=losses[1],
        estimated=estimated,
        seconds=seconds,
    )


def shares_of(rows: Mapping[ClientId, int]) -> dict[ClientId, float]:
    """Return each client's share of the training rows of all of them.

    Example:
        >>> shares_of({ClientId("a"): 1, ClientId("b"): 3})
        {'a': 0.25, 'b': 0.75}
    """
    total = sum(rows.values())
    return {client: own / total for client, own in rows.items()}


def moments_of(vectors: NDArray[np.float64], shares: NDArray[np.float64], mask: NDArray[np.bool_]) -> LayerMoments:
    """Return the moments of gradients (or of their sketches) that are all at hand.

    Args:
        vectors: Shape ``[clients, parameters of the layer]``.
        shares: alpha_i, shape ``[clients]``, summing to 1.
        mask: Who trained the layer, shape ``[clients]``.
    """
    mean = shares @ vectors
    chosen = np.where(mask, shares, 0.0)
    mass = float(chosen.sum())
    off = mean if mass == 0 else (shares - (shares if mask.all() else chosen / mass)) @ vectors
    return LayerMoments(
        gradient_sq=float(mean @ mean),
        spread=float(shares @ np.square(vectors - mean).sum(axis=1)),
        off=float(off @ off),
    )


def sketched_moments(
    sketches: NDArray[np.float64], work: Mapping[ClientId, tuple[int, Mask]], moved: Sequence[bool]
) -> list[LayerMoments]:
    """Return each layer's moments estimated from sketches of the clients' gradients.

    In the space of sketches the formulas are the same ones, so the estimates keep ``E_t <= E_t1 + E_t2``.

    Args:
        sketches: Shape ``[clients, layers, numbers]``, rows in the order of ``work``.
        work: Training rows and mask of each client whose update counted.
        moved: Whether what was trained of a layer counted.
    """
    rows = np.array([own for own, _ in work.values()], dtype=np.float64)
    layers = range(sketches.shape[1])
    masks = np.array([[moved[layer] and layer in mask for layer in layers] for _, mask in work.values()])
    return [moments_of(sketches[:, layer], rows / rows.sum(), masks[:, layer]) for layer in layers]
