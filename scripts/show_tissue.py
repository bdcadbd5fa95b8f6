"""Draw the tissue map of slides beside a global Otsu threshold: python scripts/show_tissue.py SLIDE... --out DIR."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from tilscore.labels import AREA_COLOURS, Area
from tilscore.raster import Raster
from tilscore.slide import open_slide
from tilscore.tissue import TissueConfig, find_tissue


def otsu(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[h w] bool: the usual tissue mask, one grey threshold for the whole slide."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(grey < threshold_otsu(grey))


def outline(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    """Draw the border of `mask` onto `image` in place; the mask may be coarser than the image."""
    full = cv2.resize(mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(full, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, contours, -1, colour, 2)


def draw(image: NDArray[np.uint8], areas: NDArray[np.uint8], side_px: int = 1000) -> NDArray[np.uint8]:
    """The image with the outlines of the map (left) and of Otsu's mask (right)."""
    scale = max(side_px / max(image.shape[:2]), 1.0)
    left = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    right = left.copy()
    for area in (Area.PEN, Area.BLUR, Area.FOLD):
        flaw = cv2.resize((areas == area).astype(np.uint8), left.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        left[flaw] = (0.4 * left[flaw] + 0.6 * np.array(AREA_COLOURS[area])).astype(np.uint8)
    outline(left, areas != Area.GLASS, (0, 0, 0))
    outline(right, otsu(image), (0, 0, 0))
    return np.concatenate([left, np.full((left.shape[0], 10, 3), 0, np.uint8), right], axis=1)


def show(path: Path, out: Path, mpp: float, mpp_level0: float | None) -> None:
    """Write the picture of one slide and print its account."""
    with open_slide(path, mpp=mpp_level0) as slide:
        areas: Raster = find_tissue(slide, TissueConfig(mpp=mpp))
        picture = draw(slide.thumbnail(mpp), areas.values)
    cv2.imwrite(str(out / f"{path.stem}.png"), picture[..., ::-1])
    print(path.name, {f"{area.name.lower()}_mm2": round(areas.area_mm2(area), 3) for area in Area})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--mpp", type=float, default=8.0, help="um/px of the tissue map")
    parser.add_argument("--mpp-level0", type=float, help="um/px of level 0, for slides that do not say")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for path in args.slides:
        show(path, args.out, args.mpp, args.mpp_level0)


if __name__ == "__main__":
    main()
