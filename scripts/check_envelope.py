"""Size of the global envelope test: how often it rejects patterns that are completely random.

    python scripts/check_envelope.py [--tests 1000] [--seed 1]

Each test compares L(r) of a Poisson pattern in a ring-shaped window with 39 fresh simulations of it at level 5 %, and
for power the same with a Thomas pattern.
"""

from __future__ import annotations

import argparse

import numpy as np

from tilscore.space import Grid
from tilscore.spatial.envelope import global_envelope
from tilscore.spatial.pairs import pair_correlation
from tilscore.spatial.processes import poisson, thomas

GRID = Grid(10.0, 100, 100)
N_SIMULATED = 39


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--tests", type=int, default=1000)
    parse.add_argument("--seed", type=int, default=1)
    args = parse.parse_args()
    rng = np.random.default_rng(args.seed)
    y, x = (np.indices(GRID.shape) + 0.5) * GRID.mpp
    away = np.hypot(x - 500, y - 500)
    window = (away < 490) & (away > 120)

    def curve(points: np.ndarray) -> np.ndarray:
        found = pair_correlation(points, None, window, GRID, max_um=150, step_um=10)
        return found.l_um - found.edge_um

    rejected, power = [], []
    for k in range(args.tests):
        simulated = np.array([curve(poisson(rng, 150, 1000, 1000)) for _ in range(N_SIMULATED)])
        rejected.append(global_envelope(curve(poisson(rng, 150, 1000, 1000)), simulated).outside)
        clumps = thomas(rng, 150, 1000, 1000, parents_per_mm2=30, sigma_um=40)
        power.append(global_envelope(curve(clumps), simulated).outside)
        if (k + 1) % 100 == 0:
            print(f"{k + 1} tests: size {np.mean(rejected):.4f}, power {np.mean(power):.3f}", flush=True)
    share = float(np.mean(rejected))
    print(f"size {share:.4f} at level 0.05, standard error {(share * (1 - share) / args.tests) ** 0.5:.4f}")


if __name__ == "__main__":
    main()
