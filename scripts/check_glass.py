"""How many cells does the network find where there is no tissue?

    python scripts/check_glass.py SLIDE [SLIDE ...] [--mpp 0.5] [--model NAME] [--margin-um 20]

Each slide is run as if all of it were tissue, so that the network sees glass, dust and borders, which a run leaves out.
Prints the inflammatory cells per mm2 that it finds on background at least a margin away from tissue: a nucleus on the
edge of tissue is no error. The target is below 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from tilscore.cells import Cells
from tilscore.errors import MppError
from tilscore.infer import InferConfig, infer_slide
from tilscore.labels import Area, Cell
from tilscore.raster import Raster
from tilscore.run import Run
from tilscore.slide import SlideSpec, open_slide
from tilscore.tissue import find_tissue

TARGET_PER_MM2 = 1.0


def on(cells: Cells, ground: Raster) -> int:
    """Inflammatory cells on the pixels of `ground` that are 1."""
    found = cells[cells.label == Cell.INFLAMMATORY]
    return int((ground.sample(found.x_um, found.y_um) == 1).sum())


def stated_or(path: Path, by_hand: float | None) -> float | None:
    """None where the slide states its resolution, else `by_hand`."""
    try:
        with open_slide(path):
            return None
    except MppError:
        return by_hand


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("slides", nargs="+", type=Path)
    parse.add_argument("--mpp", type=float, help="um/px of slides that do not state it")
    parse.add_argument("--model", default="tilscore-lite")
    parse.add_argument("--margin-um", type=float, default=20.0)
    args = parse.parse_args()
    run = Run(Path(), model_name=args.model)
    threshold, zoom = run.model.config.detection_threshold, run.model.config.net.zoom
    worst, n_all, mm2_all = 0.0, 0, 0.0
    print(f"{'':32}{'glass mm2':>10}{'cells':>8}{'/mm2':>8}")
    for path in args.slides:
        mpp = stated_or(path, args.mpp)
        with open_slide(path, mpp=mpp) as slide:
            tissue = find_tissue(slide)
            spec = SlideSpec(path.stem, path, mpp=mpp)
            away = distance_transform_edt(tissue.values == Area.GLASS) * tissue.grid.mpp > args.margin_um
            glass = Raster(away.astype(np.uint8), tissue.grid)
            everywhere = Raster(np.full_like(tissue.values, Area.TISSUE), tissue.grid)
            found = infer_slide(spec, slide, everywhere, run.backend, InferConfig(), threshold=threshold, zoom=zoom)
            n = on(found.cells, glass)
        mm2 = glass.area_mm2(1)
        if mm2 == 0:
            print(f"{path.name:32}{mm2:10.2f}  no background")
            continue
        worst, n_all, mm2_all = max(worst, n / mm2), n_all + n, mm2_all + mm2
        print(f"{path.name:32}{mm2:10.2f}{n:8d}{n / mm2:8.2f}", flush=True)
    if mm2_all:
        print(f"{'together':32}{mm2_all:10.2f}{n_all:8d}{n_all / mm2_all:8.2f}")
    held = worst < TARGET_PER_MM2
    print(f"\nat most {worst:.2f} per mm2; target below {TARGET_PER_MM2:g}: {'held' if held else 'MISSED'}")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
