"""Time and certified gap of the layer-selection solver, with HiGHS on the pairwise formulation beside it.

The pairwise formulation is the released code's: a binary per client and layer, and a difference per pair of clients and
layer. Scores are exponential, or grouped (four kinds of clients, layers of very different size); budgets are 1..4.

    python benchmarks/bench_solver.py [--limit SECONDS] [--large]
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import block_array, csr_array, eye_array, kron

from fedstrata.solvers import solve

Floats = NDArray[np.float64]

SIZES = ((10, 12), (20, 12), (20, 24), (50, 24), (100, 32), (1000, 96))
LARGE = ((100_000, 12), (100_000, 96))
RHOS = (0.1, 1.0, 3.0, 10.0, -1.0)
PAIRWISE = 20 * 20 * 24
"""Largest ``clients^2 * layers`` for which the pairwise program is run."""


def example(kind: str, clients: int, layers: int) -> tuple[Floats, Floats]:
    """Return scores and budgets."""
    rng = np.random.default_rng(clients + layers)
    if kind == "exponential":
        scores = rng.exponential(size=(clients, layers))
    else:
        groups = np.exp(rng.normal(size=(4, layers)))[rng.integers(0, 4, size=clients)]
        scores = groups * np.exp(0.3 * rng.normal(size=(clients, layers)))
    return scores, rng.integers(1, 5, size=clients).astype(np.float64)


def pairwise(scores: Floats, budgets: Floats, weight: float, limit: float) -> tuple[float, float, bool]:
    """Return objective, seconds and whether HiGHS proved it on the pairwise program."""
    n, layers = scores.shape
    pairs = np.array(list(combinations(range(n), 2)))
    rows = np.arange(len(pairs))
    signs = csr_array(
        (np.r_[np.ones(len(pairs)), -np.ones(len(pairs))], (np.r_[rows, rows], np.r_[pairs[:, 0], pairs[:, 1]])),
        shape=(len(pairs), n),
    )
    differ = kron(signs, eye_array(layers))
    unit = eye_array(len(pairs) * layers)
    gaps = block_array([[differ, -unit], [-differ, -unit]], format="csr")
    spend = block_array([[kron(eye_array(n), np.ones((1, layers))), csr_array((n, len(pairs) * layers))]], format="csr")
    began = time.perf_counter()
    answer = milp(
        np.r_[-scores.ravel(), np.full(len(pairs) * layers, weight)],
        integrality=np.r_[np.ones(n * layers), np.zeros(len(pairs) * layers)],
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(gaps, ub=0), LinearConstraint(spend, ub=budgets)],
        options={"time_limit": limit, "mip_rel_gap": 1e-9},
    )
    objective = float("nan") if answer.x is None else -float(answer.fun)
    return objective, time.perf_counter() - began, answer.status == 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for each pairwise program")
    parser.add_argument("--large", action="store_true", help="also 100,000 clients (minutes, 1 GB)")
    options = parser.parse_args()
    print(f"{'scores':<12}{'clients':>8}{'layers':>7}{'rho':>6}{'seconds':>10}{'gap':>10}  {'rule':<14}pairwise HiGHS")
    for clients, layers in SIZES + (LARGE if options.large else ()):
        for kind in ("exponential", "grouped"):
            scores, budgets = example(kind, clients, layers)
            for rho in RHOS:
                weight = abs(rho) * float(np.median(scores)) / clients
                began = time.perf_counter()
                found = solve(scores, budgets, **{"consensus" if rho > 0 else "diversity": weight})
                seconds = time.perf_counter() - began
                other = ""
                if rho > 0 and clients**2 * layers <= PAIRWISE:
                    value, wall, proven = pairwise(scores, budgets, weight, options.limit)
                    behind = (found.objective - value) / abs(found.objective)
                    end = "proven" if proven else "cut off"
                    other = f"{wall:8.2f} s, {wall / seconds:6.0f}x, {end}, behind by {behind:.1e}"
                row = f"{kind:<12}{clients:>8}{layers:>7}{rho:>6}{seconds:>10.4f}{found.gap:>10.1e}"
                print(
                    f"{row}  {found.rule:<14}{other}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
