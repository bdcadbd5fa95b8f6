"""How often does the 95 % interval of the TIL density hold the truth? Simulated slides with clustered TILs.

    python scripts/check_coverage.py [--slides 14] [--seed 1] [--plain]

Each slide has an irregular mask of stroma in a core or a block of tissue, and TILs from a Thomas process or a
log-Gaussian Cox process. Prints the coverage of the process's intensity by scenario, by factor and pooled. `--plain`
adds the plain percentile block bootstrap for comparison.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass

import numpy as np

from tilscore.masks import Mask
from tilscore.score.interval import Interval, IntervalConfig, density_interval
from tilscore.space import Grid
from tilscore.spatial.processes import gaussian_field, log_gaussian_cox, poisson, thomas

MPP = 8.0
PROCESSES = ("thomas", "lgcp_exp", "lgcp_gauss")
RADII_UM = (50.0, 100.0, 200.0)
AREAS_MM2 = (0.3, 1.0, 4.0, 20.0)


@dataclass(frozen=True)
class Slide:
    """A simulated slide and what it was drawn from."""

    points: np.ndarray
    stroma: Mask
    grid: Grid
    per_mm2: float


def stroma_mask(rng: np.random.Generator, area_mm2: float) -> tuple[Mask, Grid]:
    """Stroma of this area in strands of 50 to 200 um: 35 to 70 % of a core of 0.8 to 1.6 mm, or of a block."""
    share = rng.uniform(0.35, 0.7)
    tissue_mm2 = area_mm2 / share
    is_core = rng.random() < 0.5
    width = min(rng.uniform(0.8, 1.6), tissue_mm2**0.5) if is_core else (tissue_mm2 * rng.uniform(0.5, 2)) ** 0.5
    shape = int(tissue_mm2 / width * 1e3 / MPP), int(width * 1e3 / MPP)
    scale = rng.uniform(50, 200)
    field = gaussian_field(rng, shape, MPP, lambda r: np.exp(-((r / scale) ** 2) / 2))
    return field >= np.quantile(field, 1 - share), Grid(MPP, shape[1], shape[0])


def simulate(rng: np.random.Generator, process: str, radius_um: float, area_mm2: float) -> Slide:
    """50 to 3,000 TILs per mm2. Thomas: 5 to 60 clusters per mm2 of standard deviation `radius_um`; Cox: log intensity
    of variance 0.3 to 1.5, correlation exp(-r / radius) or exp(-r^2 / 4 radius^2)."""
    stroma, grid = stroma_mask(rng, area_mm2)
    per_mm2 = float(np.exp(rng.uniform(np.log(50), np.log(3000))))
    box = per_mm2, grid.width_um, grid.height_um
    if process == "poisson":
        points = poisson(rng, *box)
    elif process == "thomas":
        parents = float(np.exp(rng.uniform(np.log(5), np.log(60))))
        points = thomas(rng, *box, parents_per_mm2=parents, sigma_um=radius_um)
    else:
        power, divisor = (1, 1.0) if process == "lgcp_exp" else (2, 4.0)
        variance = rng.uniform(0.3, 1.5)
        points = log_gaussian_cox(
            rng, *box, variance=variance, correlation=lambda r: np.exp(-((r / radius_um) ** power) / divisor)
        )
    return Slide(points, stroma, grid, per_mm2)


def holds(slide: Slide, seed: int, cfg: IntervalConfig | None = None) -> tuple[bool, Interval]:
    """Whether the interval holds the intensity."""
    found = density_interval(*slide.points.T, None, slide.stroma, slide.grid, cfg, seed=seed)
    assert found.low is not None
    assert found.high is not None
    return found.low <= slide.per_mm2 <= found.high, found


def plain_holds(slide: Slide, seed: int, block_um: float = 300.0) -> bool:
    """The same for the percentile interval of a plain block bootstrap."""
    rng = np.random.default_rng(seed)
    step = round(block_um / MPP)
    row, col = np.nonzero(slide.stroma)
    width = slide.grid.width_px // step + 1
    size = (slide.grid.height_px // step + 1) * width
    area = np.bincount(row // step * width + col // step, minlength=size) * slide.grid.pixel_mm2
    x, y = slide.grid.index(slide.points).T
    x, y = x[slide.stroma[y, x]], y[slide.stroma[y, x]]
    count = np.bincount(y // step * width + x // step, minlength=size)[area > 0]
    area = area[area > 0]
    times = rng.multinomial(len(area), np.full(len(area), 1 / len(area)), 1000)
    low, high = np.quantile(times @ count / (times @ area), [0.025, 0.975])
    return bool(low <= slide.per_mm2 <= high)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--slides", type=int, default=14, help="slides a scenario, of 36")
    parse.add_argument("--seed", type=int, default=1)
    parse.add_argument("--plain", action="store_true", help="the plain block bootstrap as well")
    args = parse.parse_args()
    start = time.process_time()
    rows = []
    scenarios = [*itertools.product(PROCESSES, RADII_UM, AREAS_MM2), *(("poisson", 0.0, a) for a in AREAS_MM2)]
    print("process     radius_um area_mm2  covered  low_missed high_missed  median high/low")
    for k, (process, radius, area) in enumerate(scenarios):
        rng = np.random.default_rng([args.seed, k])
        got = []
        for i in range(args.slides):
            slide = simulate(rng, process, radius, area)
            hit, found = holds(slide, i)
            plain = plain_holds(slide, i) if args.plain else False
            got.append(
                (hit, found.low > slide.per_mm2, found.high < slide.per_mm2, found.high / max(found.low, 1e-9), plain)
            )
        rows += [(process, radius, area, *g) for g in got]
        covered, low, high = np.mean([g[:3] for g in got], axis=0)
        ratio = np.median([g[3] for g in got])
        print(
            f"{process:11} {radius:9.0f} {area:8.1f} {covered:8.3f} {low:11.3f} {high:11.3f} {ratio:12.2f}", flush=True
        )
    clustered = [r for r in rows if r[0] != "poisson"]
    factors = ((0, PROCESSES), (1, RADII_UM), (2, AREAS_MM2))
    for j, values in factors:
        print("   ".join(f"{v}: {np.mean([r[3] for r in clustered if r[j] == v]):.3f}" for v in values))
    n, share = len(clustered), float(np.mean([r[3] for r in clustered]))
    print(f"pooled: {share:.4f} of {n} slides, standard error {(share * (1 - share) / n) ** 0.5:.4f}")
    if args.plain:
        print(f"plain percentile block bootstrap: {np.mean([r[7] for r in clustered]):.4f}")
    print(f"{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
