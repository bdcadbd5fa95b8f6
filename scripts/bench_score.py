#!/usr/bin/env python
"""Seconds and peak memory of the score stage: a million cells on 100 mm2 of tissue, made in memory.

    .venv/bin/python scripts/bench_score.py [--cells 1000000] [--mm2 100]

Prints what it took, and ends with code 1 above 20 s or 1.5 GB. Process time is printed beside wall time: on a machine
that is shared they differ.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np

from tilscore.cells import Cells
from tilscore.labels import Area, Region
from tilscore.raster import Raster
from tilscore.score import score_with_parts
from tilscore.space import Grid

LIMIT_S, LIMIT_GB = 20.0, 1.5


def make_slide(n_cells: int, mm2: float, seed: int = 0) -> tuple[Cells, Raster, Raster]:
    """A square of tissue in a slide twice as large; nests on a lattice; half of the cells TILs, most in clusters."""
    rng = np.random.default_rng(seed)
    side_um = 1000 * np.sqrt(mm2)
    grid = Grid(4.0, int(1.5 * side_um / 4), int(1.35 * side_um / 4))
    x0, n = int(0.25 * side_um / 4), int(side_um / 4)
    regions = np.zeros(grid.shape, np.uint8)
    y, x = np.mgrid[:n, :n]
    nest = (np.sin(x / 30) + np.sin(y / 37)) > 0.6
    regions[x0 // 2 : x0 // 2 + n, x0 : x0 + n] = np.where(nest, Region.TUMOUR, Region.STROMA)
    tissue = np.zeros(grid.at(8.0).shape, np.uint8)
    tissue[x0 // 4 : x0 // 4 + n // 2, x0 // 2 : x0 // 2 + n // 2] = Area.TISSUE
    n_tils = n_cells // 2
    centres = rng.uniform(0, side_um, (n_tils // 25, 2)).repeat(25, 0)
    tils = np.clip(centres + rng.normal(0, 50, centres.shape), 0, side_um - 1)
    rest = rng.uniform(0, side_um, (n_cells - len(tils), 2))
    xy = np.concatenate([tils, rest]) + np.array([4 * x0, 4 * (x0 // 2)])
    label = np.r_[np.zeros(len(tils), np.uint8), rng.integers(1, 4, len(rest))]
    cells = Cells(xy[:, 0], xy[:, 1], label, rng.uniform(0.4, 1.0, n_cells))
    return cells, Raster(regions, grid), Raster(tissue, grid.at(8.0))


def main() -> int:
    """Run it once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--mm2", type=float, default=100.0)
    args = parser.parse_args()
    slide = make_slide(args.cells, args.mm2)
    before_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wall, cpu = time.perf_counter(), time.process_time()
    score = score_with_parts(*slide).score
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{args.cells:,} cells on {score.tissue_mm2:.0f} mm2: {score.n_tils:,} TILs in {score.stroma_mm2:.1f} mm2")
    print(f"{wall:.1f} s ({cpu:.1f} s of CPU), peak {peak_gb:.2f} GB of which {before_gb:.2f} before the stage")
    print(f"density {score.til_density_per_mm2:.1f} ({score.til_density_low:.1f} to {score.til_density_high:.1f})")
    return 0 if cpu <= LIMIT_S and peak_gb <= LIMIT_GB else 1


if __name__ == "__main__":
    sys.exit(main())
