"""How far does the score of a real slide move when only the way of reading it changes?

    python scripts/check_invariance.py SLIDE [SLIDE ...] [--mpp 0.5] [--crop-mm 1] [--model NAME] [--keep FOLDER]

Each slide is scored as it is, with other tile origins and sizes, in versions of 0.25, 0.5 and 0.263 um/px, and as JPEG
of quality 95 and 80. Versions are written as pyramidal JPEG TIFF. Prints the numbers and how far the sTIL area % and
the infiltrated area % move, in points, from the slide as it is (JPEG 80: from JPEG 95); the target is 2 points. And by
how many percent the count of all cells changes; the target, for tiles and origins, is less than 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import read_cells
from tilscore.infer import InferConfig
from tilscore.labels import Area
from tilscore.pipeline import process
from tilscore.pyramid import write_pyramid
from tilscore.run import Run, RunConfig
from tilscore.score import read_score
from tilscore.slide import Slide, SlideSpec, open_slide
from tilscore.space import Grid, Window
from tilscore.tissue import find_tissue

TARGET_POINTS = 2.0
TARGET_PERCENT = 1.0
TILE_PX = 256
VERSIONS_MPP = (0.25, 0.5, 0.263)
QUALITIES = (95, 80)
PLAIN = InferConfig()
READINGS = {
    "origin 100 um": replace(PLAIN, origin_um=100.0),
    "origin 333 um": replace(PLAIN, origin_um=333.0),
    "tile 256 um": replace(PLAIN, block_um=256.0),
    "tile 512 um": replace(PLAIN, block_um=512.0),
}
NUMBERS = ("stil_area_pct", "infiltrated_area_pct")


@dataclass(frozen=True)
class Scored:
    """One way of reading, and what came out."""

    name: str
    values: dict[str, Any]
    against: str


def part_of(slide: Slide, crop_mm: float | None) -> Window:
    """The whole slide, or a square of `crop_mm` around the middle of its tissue."""
    if crop_mm is None:
        return slide.level0.window
    tissue = find_tissue(slide)
    rows, cols = np.nonzero(tissue.mask(Area.TISSUE))
    if not len(rows):
        raise SystemExit(f"{slide.path}: no tissue")
    k = np.argmin(np.hypot(rows - rows.mean(), cols - cols.mean()))
    side = round(crop_mm * 1000 / slide.mpp)
    x, y = (round((int(v[k]) + 0.5) * tissue.grid.mpp / slide.mpp - side / 2) for v in (cols, rows))
    return Window(slide.level0, max(x, 0), max(y, 0), side, side).clip()


def write_version(slide: Slide, part: Window, mpp: float, quality: int, path: Path) -> SlideSpec:
    """`part` of a slide at another resolution, as pyramidal JPEG TIFF."""
    grid = slide.level0.at(mpp)
    scale = part.grid.mpp / mpp
    left, top = round(part.x * scale), round(part.y * scale)
    width, height = min(round(part.w * scale), grid.width_px - left), min(round(part.h * scale), grid.height_px - top)
    whole = Grid(mpp, width, height)

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for y in range(0, height, TILE_PX):
            n = min(TILE_PX, height - y)
            strip = slide.read(Window(grid, left, top + y, width, n))
            for x in range(0, width, TILE_PX):
                yield strip[:, x : x + TILE_PX]

    write_pyramid(path, whole, tiles(), compression="jpeg", tile_px=TILE_PX, quality=quality)
    return SlideSpec(path.stem, path)


def score(run: Run, spec: SlideSpec, name: str, infer: InferConfig, out: Path, against: str) -> Scored:
    """Score a slide, and read the numbers."""
    run.cfg, run.out = replace(run.cfg, infer=infer), out / name.replace(" ", "-")
    failed: list[str] = []
    if process([spec], run, ("tissue", "infer", "score"), say=lambda line: failed.append(str(line))).n_failed:
        raise SystemExit(f"{spec.path}: {name}: {failed[-1]}")
    made = read_score(run.out / spec.slide_id / "score.json")
    keys = ("status", "til_density_per_mm2", *NUMBERS, "n_tils", "stroma_mm2", "tissue_mm2")
    n_cells = len(read_cells(run.out / spec.slide_id / "cells.parquet"))
    return Scored(name, {key: getattr(made, key) for key in keys} | {"n_cells": n_cells}, against)


def check(run: Run, path: Path, args: argparse.Namespace, out: Path) -> list[Scored]:
    """All ways of reading one slide."""
    print(f"\n{path.name}", flush=True)
    rows = []

    def one(spec: SlideSpec, name: str, infer: InferConfig = PLAIN, against: str = "as it is") -> None:
        start = time.perf_counter()
        rows.append(score(run, spec, name, infer, out, against))
        print(line(rows[-1], rows) + f"  {time.perf_counter() - start:5.0f} s", flush=True)

    print(f"{'':16}{'density':>9}{'sTIL %':>8}{'infiltr.':>9}{'TILs':>8}{'stroma':>8}   points moved   cells")
    with open_slide(path, mpp=args.mpp, allow_upsampling=args.allow_upsampling) as slide:
        part = part_of(slide, args.crop_mm)
        plain = SlideSpec("slide", path, mpp=args.mpp)
        if args.crop_mm is not None:
            plain = write_version(slide, part, slide.mpp, 95, out / "crop.tif")
        one(plain, "as it is")
        for name, infer in READINGS.items():
            one(plain, name, infer)
        for mpp in VERSIONS_MPP:
            one(write_version(slide, part, mpp, 95, out / f"mpp{mpp:g}.tif"), f"{mpp:g} um/px")
        for quality in QUALITIES:
            spec = write_version(slide, part, slide.mpp, quality, out / f"jpeg{quality}.tif")
            one(spec, f"JPEG {quality}", against="as it is" if quality == QUALITIES[0] else f"JPEG {QUALITIES[0]}")
    return rows


def moved(row: Scored, rows: list[Scored]) -> list[float | None]:
    """How far each of `NUMBERS` lies from what the row is held against, in points."""
    base = next(r for r in rows if r.name == row.against).values
    pairs = [(row.values[n], base[n]) for n in NUMBERS]
    return [None if None in pair else pair[0] - pair[1] for pair in pairs]


def change(row: Scored, rows: list[Scored]) -> float:
    """By how many percent the count of all cells changes from what the row is held against."""
    base = next(r for r in rows if r.name == row.against).values["n_cells"]
    return 100 * (row.values["n_cells"] - base) / max(base, 1)


def line(row: Scored, rows: list[Scored]) -> str:
    """One row of the table."""
    v = row.values
    if v["status"] != "ok":
        return f"{row.name:16}{v['status']:58}{change(row, rows):+6.2f} %"
    numbers = f"{v['til_density_per_mm2']:9.0f}{v['stil_area_pct']:8.2f}{v['infiltrated_area_pct']:9.2f}"
    by = "".join("      -" if d is None else f"{d:+7.2f}" for d in moved(row, rows))
    return f"{row.name:16}{numbers}{v['n_tils']:8d}{v['stroma_mm2']:8.3f}  {by} {change(row, rows):+6.2f} %"


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("slides", nargs="+", type=Path)
    parse.add_argument("--mpp", type=float, help="um/px of slides that do not state it")
    parse.add_argument("--crop-mm", type=float, help="only a square of this side, around the middle of the tissue")
    parse.add_argument("--model", default="tilscore-lite")
    parse.add_argument("--device", default="auto")
    parse.add_argument("--allow-upsampling", action="store_true")
    parse.add_argument("--keep", type=Path, help="folder for versions and results (default: removed)")
    args = parse.parse_args()
    run = Run(Path(), RunConfig(), args.model, args.device, allow_upsampling=args.allow_upsampling)
    worst: dict[str, dict[str, float]] = {name: {} for name in NUMBERS}
    counts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for i, path in enumerate(args.slides):
            out = (args.keep or Path(scratch)) / f"{i}-{path.stem}"
            out.mkdir(parents=True, exist_ok=True)
            rows = check(run, path, args, out)
            counts |= {f"{path.name}: {row.name}": abs(change(row, rows)) for row in rows if row.name in READINGS}
            for row in rows[1:]:
                kept = row.values["status"] == rows[0].values["status"]
                for number, points in zip(NUMBERS, moved(row, rows), strict=True):
                    if points is not None or not kept:
                        worst[number][f"{path.name}: {row.name}"] = abs(points or 0) if kept else float("inf")
    print()
    verdicts = [verdict("count of all cells", counts, "%", TARGET_PERCENT)]
    verdicts += [verdict(number, moves, "points", TARGET_POINTS) for number, moves in worst.items() if moves]
    if not any(worst.values()):
        print("no slide has a score")
    sys.exit(0 if any(worst.values()) and all(verdicts) else 1)


def verdict(what: str, moves: dict[str, float], unit: str, target: float) -> bool:
    """Print the largest move beside its target; whether the target is held."""
    name = max(moves, key=lambda k: moves[k])
    held = moves[name] <= target
    print(f"{what}: largest move {moves[name]:.2f} {unit} ({name}); target {target:g}: {'held' if held else 'MISSED'}")
    return held


if __name__ == "__main__":
    main()
