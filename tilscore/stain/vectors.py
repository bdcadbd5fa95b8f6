"""The two stains of a slide: their colours as directions in optical density, and how much of each a pixel holds.

Macenko et al., ISBI 2009, p. 1107: the densities of two stains lie in a plane; in it, the directions of the purest
pixels are the stains. Percentiles take the place of the extremes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Vector = tuple[float, float, float]


class Stains(NamedTuple):
    """Unit vectors of optical density in red, green and blue."""

    haematoxylin: Vector
    eosin: Vector

    @property
    def angle_deg(self) -> float:
        """Angle between the two."""
        cosine = float(np.dot(self.haematoxylin, self.eosin))
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def optical_density(rgb: NDArray[np.uint8], white: tuple[float, float, float]) -> NDArray[np.float32]:
    """-log10(I / white) of pixels [... 3]; below 0 where a pixel is brighter than white."""
    levels = np.log10(np.maximum(np.arange(256, dtype=np.float64), 1.0))
    tables = np.stack([np.log10(max(w, 1.0)) - levels for w in white]).astype(np.float32)
    return np.stack([tables[c][rgb[..., c]] for c in range(3)], axis=-1)


def find_stains(od: Floats, tail_pct: float = 1.0) -> Stains:
    """Colours of haematoxylin and eosin from the densities [n 3] of stained pixels, n at least 2.

    Parameters
    ----------
    tail_pct : share of the pixels, in percent, that is purer than what is taken for pure, at each end.

    Returns
    -------
    The one that absorbs more red is haematoxylin. Where there is one stain only the two are nearly the same.
    """
    _, axes = np.linalg.eigh(np.asarray(od.T @ od, np.float64))
    plane = axes[:, [2, 1]]
    if plane[:, 0].sum() < 0:
        plane[:, 0] *= -1
    along = od @ plane
    angle = np.arctan2(along[:, 1], along[:, 0])
    ends = [plane @ (np.cos(a), np.sin(a)) for a in np.percentile(angle, (tail_pct, 100 - tail_pct))]
    one, two = (np.maximum(v, 0) / np.linalg.norm(np.maximum(v, 0)) for v in ends)
    first, second = (one, two) if one[0] > two[0] else (two, one)
    return Stains(_vector(first), _vector(second))


def unmix(od: Floats, stains: Stains) -> NDArray[np.float64]:
    """Density [n 2] of haematoxylin and eosin of each pixel [n 3], by least squares."""
    return np.asarray(od @ np.linalg.pinv(np.array(stains, np.float64)))


def _vector(v: Floats) -> Vector:
    return float(v[0]), float(v[1]), float(v[2])
