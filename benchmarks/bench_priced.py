"""Time and certified gap of the layer-selection solver under set-up costs and several budgets at once.

``blocks``: equal layers, set-ups that fall towards the output as back-propagation's do, budgets of 15 to 60 % of
training everything. ``mixed``: the same with prices that differ by layer and client. Scores are exponential.
On a machine with other work, read the processor time (``cpu``) rather than the seconds.

    python benchmarks/bench_priced.py [--large] [--only CLIENTSxLAYERS]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from fedstrata.solvers import solve

Floats = NDArray[np.float64]

SIZES = ((10, 6), (20, 12), (20, 24), (50, 24), (100, 32))
LARGE = ((1000, 96),)
UNITS = (1, 2, 4)
RHOS = (0.1, 1.0, 3.0, 10.0, -1.0)


def example(kind: str, clients: int, layers: int, units: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return scores, budgets, costs and set-ups."""
    rng = np.random.default_rng(clients + layers + units)
    costs = np.broadcast_to(rng.uniform(0.5, 2, size=(units, clients, 1)), (units, clients, layers)).copy()
    reach = np.linspace(1, 0, layers) * layers * rng.uniform(0.2, 0.6, size=(units, 1, 1))
    if kind == "mixed":
        costs *= rng.uniform(0.5, 2, size=costs.shape)
    setups = reach * costs.mean(axis=2, keepdims=True)
    budgets = rng.uniform(0.15, 0.6, size=(units, clients)) * (costs.sum(axis=2) + setups[:, :, 0])
    return rng.exponential(size=(clients, layers)), budgets, costs, setups


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--large", action="store_true", help="only 1000 x 96 with two budgets")
    parser.add_argument("--only", default="", help="one size, such as 20x12")
    options = parser.parse_args()
    print(
        f"{'prices':<8}{'clients':>8}{'layers':>7}{'units':>6}{'rho':>6}{'seconds':>9}{'cpu':>8}{'gap':>9}  rule",
        flush=True,
    )
    for clients, layers in LARGE if options.large else SIZES:
        if options.only not in ("", f"{clients}x{layers}"):
            continue
        for units in (2,) if options.large else UNITS:
            for kind in ("blocks", "mixed"):
                scores, budgets, costs, setups = example(kind, clients, layers, units)
                for rho in RHOS:
                    weight = abs(rho) * float(np.median(scores)) / clients
                    knob = {"consensus" if rho > 0 else "diversity": weight}
                    began, busy = time.perf_counter(), time.process_time()
                    found = solve(scores, budgets, costs=costs, setups=setups, **knob)
                    seconds, cpu = time.perf_counter() - began, time.process_time() - busy
                    row = (
                        f"{kind:<8}{clients:>8}{layers:>7}{units:>6}{rho:>6}{seconds:>9.3f}{cpu:>8.3f}{found.gap:>9.1e}"
                    )
                    print(f"{row}  {found.rule}", flush=True)


if __name__ == "__main__":
    main()
