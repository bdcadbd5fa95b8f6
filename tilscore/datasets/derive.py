"""Region labels where nobody drew any: derived from typed nuclei.

A pixel is tumour (epithelium) close to several epithelial nuclei, stroma close to stromal or inflammatory nuclei
and away from epithelial ones, and unknown in between and wherever nuclei tell nothing. Only confident pixels are
labelled: the loss ignores the rest.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tilscore.datasets.sample import Sample
from tilscore.labels import UNKNOWN, Cell, Region

NEAR_EPITHELIUM_UM = 9.0
"""A pixel this close to an epithelial nucleus centre lies in the cell: half the spacing of epithelial nuclei."""
COMPANY_UM = 25.0
"""An epithelial nucleus counts only with two others this near: single ones are often mislabelled."""
AWAY_UM = 11.0
"""Stroma is at least this far from epithelial nucleus centres: half the spacing of the nuclei, and a margin."""
NEARER = 0.7
"""Stroma is nearer to a stromal or inflammatory centre than this share of the way to an epithelial one: the cytoplasm
of columnar epithelium reaches far from its nuclei, but away from the nuclei of the stroma."""
NEAR_STROMA_UM = 25.0
"""Stroma is at most this far from a stromal or inflammatory nucleus centre."""
LUMEN_UM2 = 150.0
"""White spots smaller than this are clefts and belong to what surrounds them."""
WHITE_LEVEL = 215
"""Grey level (darkest of R, G, B after smoothing) above which a pixel holds no tissue."""
_STEP_UM = 1.0


def with_derived_regions(sample: Sample) -> Sample:
    """`sample` with regions derived from its typed nuclei; unchanged where it has regions or no typed nucleus.

    So is a field narrower than a micron.
    """
    scale = sample.mpp / _STEP_UM
    height, width = sample.image.shape[:2]
    if sample.regions is not None or not (sample.label >= 0).any() or min(height, width) * scale < 1:
        return sample
    small = np.asarray(cv2.resize(sample.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    regions = _derive(small, sample.x_px * scale, sample.y_px * scale, sample.label)
    full = np.array(cv2.resize(regions, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    if sample.known is not None and Cell.EPITHELIAL not in sample.complete:
        full[~sample.known] = UNKNOWN  # unmarked epithelium may lie there
    return replace(sample, regions=full)


def _distance(points: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.float32]:
    """[h w] distance from each pixel to the nearest point, in pixels."""
    canvas = np.full(shape, 255, np.uint8)
    inside = (points >= 0).all(1) & (points[:, 0] < shape[1]) & (points[:, 1] < shape[0])
    at = points[inside].astype(np.int64)
    if len(at) == 0:
        return np.full(shape, np.inf, np.float32)
    canvas[at[:, 1], at[:, 0]] = 0
    return np.asarray(cv2.distanceTransform(canvas, cv2.DIST_L2, 5), np.float32)


def _derive(
    image: NDArray[np.uint8], x: NDArray[np.float32], y: NDArray[np.float32], label: NDArray[np.int8]
) -> NDArray[np.uint8]:
    xy = np.stack([x, y], 1)
    epithelial = xy[label == Cell.EPITHELIAL]
    if len(epithelial):
        company = cKDTree(epithelial).query_ball_point(epithelial, COMPANY_UM, return_length=True)
        to_epithelium, to_any_epithelium = (
            _distance(epithelial[company >= 3], image.shape[:2]),
            _distance(epithelial, image.shape[:2]),
        )
    else:
        to_epithelium = to_any_epithelium = np.full(image.shape[:2], np.inf, np.float32)
    to_stromal = _distance(xy[label == Cell.STROMAL], image.shape[:2])
    to_stroma = np.minimum(to_stromal, _distance(xy[label == Cell.INFLAMMATORY], image.shape[:2]))
    to_other = _distance(xy[label == Cell.OTHER], image.shape[:2])

    out = np.full(image.shape[:2], UNKNOWN, np.uint8)
    near_stroma = (to_stroma < NEAR_STROMA_UM) & (to_stroma < NEARER * to_any_epithelium)
    out[(to_any_epithelium > AWAY_UM) & near_stroma & (to_other > AWAY_UM)] = Region.STROMA
    out[(to_epithelium < NEAR_EPITHELIUM_UM) & (to_epithelium < to_stromal)] = Region.TUMOUR
    out[_white(image)] = Region.OTHER
    return out


def _white(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Lumen and glass: bright spots of at least `LUMEN_UM2`."""
    bright = (cv2.GaussianBlur(image, (0, 0), 1.5).min(axis=2) > WHITE_LEVEL).astype(np.uint8)
    _, spots, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= LUMEN_UM2
    large[0] = False
    return np.asarray(large[spots], bool)
