"""What selectors share: which layers a mask may hold, and filling a mask in some order within a budget."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap, Mask
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.errors import BudgetError


def candidates(layers: LayerMap) -> tuple[int, ...]:
    """Return the layers that a mask may hold, input to output: those that share no weights with another block."""
    return tuple(i for i, layer in enumerate(layers) if not layer.tied_with)


def fill(problem: SelectionProblem, client: ClientId, order: Iterable[int], *, skip: bool = False) -> Mask:
    """Return the mask that takes layers in this order while the client's budget pays for it.

    Args:
        problem: Prices and budgets.
        client: Whose mask to fill.
        order: Layer indices.
        skip: Pass over a layer that does not fit and go on; otherwise stop there.
    """
    mask: Mask = frozenset()
    for layer in order:
        if problem.affordable(client, mask | {layer}):
            mask = mask | {layer}
        elif not skip:
            break
    return mask


def fill_all(problem: SelectionProblem, order: Iterable[int], *, skip: bool = False) -> Selection:
    """Return the selection in which every client fills its mask in the same order."""
    ranking = tuple(order)
    return Selection({client: fill(problem, client, ranking, skip=skip) for client in problem.clients})


def by_score(scores: np.typing.NDArray[np.float64], layers: LayerMap) -> tuple[int, ...]:
    """Return the candidate layers from the largest score, shape ``[layers]``, down; ties by lower index."""
    order = np.argsort(-scores, kind="stable")
    allowed = frozenset(candidates(layers))
    return tuple(int(i) for i in order if int(i) in allowed)


def same_mask(problem: SelectionProblem, mask: Mask, selector: str, advice: str) -> Selection:
    """Give every client the same mask, whatever it costs, or name the clients that cannot pay for it.

    Raises:
        BudgetError: A client's budget does not pay for the mask.
    """
    for client in problem.clients:
        if not problem.affordable(client, mask):
            raise BudgetError(
                f"selector '{selector}' needs {_excess(problem, client, mask)} of client {client}, whose budget is"
                f" {problem.profiles[client].budget}; {advice}"
            )
    return Selection(dict.fromkeys(problem.clients, mask))


def trimmed(problem: SelectionProblem, client: ClientId, mask: Mask) -> Mask:
    """Return the mask without its layers of lowest score, as many as rounding of prices puts it over the budget."""
    row = problem.required_scores("any")[problem.clients.index(client)]
    while mask and not problem.affordable(client, mask):
        mask = mask - {min(mask, key=lambda layer: (float(row[layer]), -layer))}
    return mask


def _excess(problem: SelectionProblem, client: ClientId, mask: Mask) -> str:
    price = problem.price(client, mask)
    return str(price.only(*price.over(problem.profiles[client].budget)))
