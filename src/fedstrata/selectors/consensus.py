"""P1, the main paper's selection: scores minus a penalty on how far the clients' masks differ.

    maximise sum_il m_il s_il - w sum_l k_l (n - k_l)   (rho > 0)   or   - w sum_l k_l^2   (rho < 0),
    w = |rho| * median of the positive scores / n

over masks within the budgets, with ``k_l`` the number of clients that train layer l and n the clients of the problem.
Gradient norms drift during training; the median makes the weight free of their scale. Sun, Xie, Ding, Li, Zhang,
"Exploring Selective Layer Fine-Tuning in Federated Learning", https://arxiv.org/abs/2408.15600; the negative side is
the load variance of Saha et al., "F3OCUS", https://arxiv.org/abs/2411.11912.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isinf, isnan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Certificate, Selection, SelectionProblem
from fedstrata.errors import ConfigError
from fedstrata.selectors.masks import candidates, trimmed
from fedstrata.selectors.protocol import SelectorState
from fedstrata.selectors.tables import tables

if TYPE_CHECKING:
    from fedstrata.solvers import Solution


@dataclass(frozen=True, slots=True)
class Consensus:
    """All masks at once, with a certificate of how good they are.

    A layer that is worth nothing to a client and to agreement is left out, so a budget may stay unspent. Budgets in all
    units hold at once, each with its set-up part for the lowest layer.

    Attributes:
        rho: Scale-free weight: positive for consensus, 0 for none, negative for diversity, ``inf`` for agreement before
            all else.
        time_limit: Seconds for the exact solver on small problems; ``None`` for its own, repeatable limits.
    """

    rho: float = 1.0
    time_limit: float | None = None

    def __post_init__(self) -> None:
        """Refuse weights and times that mean nothing."""
        if isnan(self.rho) or self.rho == -inf:
            raise ConfigError(
                f"selector 'consensus' has rho: {self.rho}; it must be a number, or .inf for one common mask"
            )
        if self.time_limit is not None and not self.time_limit > 0:
            raise ConfigError(f"selector 'consensus' has time_limit: {self.time_limit}; it must be above 0 seconds")

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory: every round stands alone."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return the whole cohort."""
        return tuple(cohort)

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return the solver's masks and certificate.

        Raises:
            SelectionError: The problem has no scores.
        """
        columns = candidates(problem.layers)
        scores = problem.required_scores("consensus")[:, columns]
        weight = _weight(self.rho, scores)
        room, each, setup = tables(problem, columns)
        from fedstrata.solvers import solve  # with scipy.optimize: a second that no check of options needs

        solution = solve(
            scores,
            room,
            consensus=weight if self.rho > 0 else 0.0,
            diversity=weight if self.rho < 0 else 0.0,
            costs=each,
            setups=setup,
            time_limit=self.time_limit,
        )
        return _selection(problem, columns, solution), state


def _weight(rho: float, scores: NDArray[np.float64]) -> float:
    """Return ``|rho| * median positive score / n``; without a positive score there is nothing to scale, and it is 0."""
    if isinf(rho):
        return inf
    positive = scores[scores > 0]
    return abs(rho) * float(np.median(positive)) / len(scores) if positive.size else 0.0


def _selection(problem: SelectionProblem, columns: Sequence[int], solution: Solution) -> Selection:
    """Return the solver's masks as layer indices."""
    masks = {}
    for client, row in zip(problem.clients, solution.masks, strict=True):
        masks[client] = trimmed(problem, client, frozenset(columns[int(i)] for i in np.flatnonzero(row)))
    return Selection(masks, Certificate(solution.objective, solution.bound, solution.gap, solution.rule))
