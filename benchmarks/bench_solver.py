"""Time and certified gap of the layer-selection solver, with HiGHS on the pairwise formulation beside it.

The pairwise formulation is the released code's: a binary per client and layer, and a difference per pair of clients and
layer. Budgets are 1..4 layers; rho is the weight in units of median score / clients, below 0 for diversity. Seconds are
the wall's and the processor's (other programs on the machine lengthen the first); MB is the process's peak so far.

    python benchmarks/bench_solver.py [--limit SECONDS] [--large] [--kinds KIND ...] [--repeat N]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import block_array, csr_array, eye_array, kron

from fedstrata.solvers import Solution, solve

Floats = NDArray[np.float64]

SIZES = ((10, 12), (20, 12), (20, 24), (50, 24), (100, 32), (1000, 96))
LARGE = ((100_000, 12), (100_000, 96))
RHOS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, -1.0)
KINDS = ("exponential", "grouped", "lognormal", "pareto", "student")
PAIRWISE = 20 * 20 * 24
"""Largest ``clients^2 * layers`` for which the pairwise program is run."""
TABLES = Path(__file__).parents[1] / "tests" / "solvers" / "fixtures" / "scores.npz"


@dataclass(frozen=True, slots=True)
class Case:
    """One table of scores with budgets."""

    kind: str
    scores: Floats
    budgets: Floats

    @property
    def size(self) -> tuple[int, int]:
        """Clients and layers."""
        return self.scores.shape[0], self.scores.shape[1]


def example(kind: str, clients: int, layers: int) -> Case:
    """Return drawn scores: iid ones, or four kinds of clients with layers of very different size."""
    rng = np.random.default_rng(clients + layers)
    shape = (clients, layers)
    if kind == "exponential":
        scores = rng.exponential(size=shape)
    elif kind == "grouped":
        groups = np.exp(rng.normal(size=(4, layers)))[rng.integers(0, 4, size=clients)]
        scores = groups * np.exp(0.3 * rng.normal(size=shape))
    elif kind == "lognormal":
        scores = np.exp(rng.normal(size=shape))
    elif kind == "pareto":
        scores = rng.pareto(1.5, size=shape)
    else:
        scores = np.abs(rng.standard_t(2, size=shape))
    return Case(kind, scores, rng.integers(1, 5, size=clients).astype(np.float64))


def cases(kinds: tuple[str, ...], *, large: bool) -> Iterator[Case]:
    """Yield drawn tables by size, then one recorded table per run."""
    for clients, layers in SIZES:
        for kind in kinds:
            yield example(kind, clients, layers)
    with np.load(TABLES, allow_pickle=False) as recorded:
        for name in sorted(recorded.files):
            scores = recorded[name]
            budgets = np.random.default_rng(len(scores)).integers(1, 5, size=len(scores))
            yield Case(name, scores, budgets.astype(np.float64))
    for clients, layers in LARGE if large else ():
        for kind in kinds:
            yield example(kind, clients, layers)


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


def timed(case: Case, rho: float, repeat: int) -> tuple[Solution, float, float]:
    """Return the answer and the least wall and processor seconds of some repetitions."""
    weight = abs(rho) * float(np.median(case.scores)) / len(case.scores)
    walls, processor = [], []
    for _ in range(repeat):
        wall, used = time.perf_counter(), time.process_time()
        found = solve(case.scores, case.budgets, **{"consensus" if rho > 0 else "diversity": weight})
        walls.append(time.perf_counter() - wall)
        processor.append(time.process_time() - used)
    return found, min(walls), min(processor)


def beside(case: Case, rho: float, found: Solution, seconds: float, limit: float) -> str:
    """Return what HiGHS says of the pairwise program, where it is small enough."""
    clients, layers = case.size
    if rho < 0 or clients**2 * layers > PAIRWISE:
        return ""
    weight = rho * float(np.median(case.scores)) / clients
    value, wall, proven = pairwise(case.scores, case.budgets, weight, limit)
    behind = (found.objective - value) / abs(found.objective)
    return f"{wall:8.2f} s, {wall / seconds:6.0f}x, {'proven' if proven else 'cut off'}, behind by {behind:.1e}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for each pairwise program")
    parser.add_argument("--large", action="store_true", help="also 100,000 clients (minutes, 1 GB)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--repeat", type=int, default=1, help="solve so often and print the least time")
    options = parser.parse_args()
    print(
        f"{'scores':<24}{'clients':>8}{'layers':>7}{'rho':>6}{'wall s':>10}{'cpu s':>9}{'gap':>10}{'MB':>7}  "
        f"{'rule':<14}pairwise HiGHS"
    )
    for case in cases(tuple(options.kinds), large=options.large):
        for rho in RHOS:
            found, wall, used = timed(case, rho, options.repeat)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            other = beside(case, rho, found, wall, options.limit)
            clients, layers = case.size
            row = f"{case.kind:<24}{clients:>8}{layers:>7}{rho:>6}{wall:>10.4f}{used:>9.3f}{found.gap:>10.1e}"
            print(f"{row}{peak:>7.0f}  {found.rule:<14}{other}", flush=True)


if __name__ == "__main__":
    main()
