"""Gradients of whole clients of the toy model, by plain autograd, and the error of a round from gradients at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from fedstrata.client.resident import ResidentModel
from fedstrata.data.tensors import ClientRows
from fedstrata.domain.ids import ClientId
from fedstrata.domain.theory import ErrorTerms, terms_of
from fedstrata.server.theory import moments_of
from toys import BLOCKS


def explicit(model: ResidentModel, clients: Mapping[ClientId, ClientRows]) -> tuple[list[np.ndarray], list[float]]:
    """Return every client's gradient by layer, ``[clients, parameters]``, and its loss, by plain autograd."""
    net = model.module.eval().requires_grad_(True)
    gradients: list[list[np.ndarray]] = [[] for _ in range(BLOCKS)]
    losses = []
    for own in clients.values():
        inputs, labels = own.rows.take(own.train)
        net.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs["features"]), labels)
        loss.backward()
        losses.append(float(loss.detach()))
        for layer, block in enumerate(net.get_submodule("blocks").children()):
            flat = torch.cat([p.grad.flatten() for p in block.parameters() if p.grad is not None])
            gradients[layer].append(flat.double().numpy())
    net.zero_grad()
    net.requires_grad_(False)
    return [np.stack(g) for g in gradients], losses


def error_terms(gradients: Sequence[np.ndarray], shares: np.ndarray, masks: np.ndarray) -> ErrorTerms:
    """Return E_t, E_t1 and E_t2 from gradients that are all at hand.

    Args:
        gradients: One array per layer, shape ``[clients, parameters of the layer]``.
        shares: alpha_i, shape ``[clients]``, summing to 1.
        masks: Shape ``[clients, layers]``.
    """
    moments = [moments_of(g, shares, masks[:, layer]) for layer, g in enumerate(gradients)]
    return terms_of(moments, [float(shares[masks[:, layer]].sum()) for layer in range(len(gradients))])
