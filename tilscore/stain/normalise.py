"""Stain normalisation, off unless asked for: each stain is made as dense as in training; hue and glass stay.

With the slide's stain vectors as columns of A, and their cross product as the third, the density of a pixel becomes
A diag(h, e, 1) A^-1 OD. The factors bring the 99th percentiles of the slide to the model's typical ones (Macenko et
al. 2009). The percentiles are those of `measure`, of stained tissue: glass never enters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.network.config import StainRange
from tilscore.stain.measure import StainStats
from tilscore.stain.vectors import Stains, optical_density
from tilscore.stain.white import Colour

FACTORS = (0.5, 2.0)
"""Factors are kept within these: beyond them noise, not stain, would be scaled."""


@dataclass(frozen=True)
class Normalisation:
    """What is done to a slide's pixels.

    Parameters
    ----------
    reason : why nothing is done; None where it is. Else that of `StainStats`, `no_reference` or `off`.
    h_factor, e_factor : of the density of each stain.
    """

    reason: str | None
    h_factor: float = 1.0
    e_factor: float = 1.0
    stains: Stains | None = None

    def as_values(self) -> dict[str, Any]:
        """For JSON."""
        if self.reason is not None:
            return {"applied": False, "reason": self.reason}
        return {"applied": True, "h_factor": round(self.h_factor, 4), "e_factor": round(self.e_factor, 4)}


def plan_normalisation(stats: StainStats, reference: StainRange, *, on: bool = True) -> Normalisation:
    """The normalisation of a slide of these statistics, or why there is none."""
    if not on:
        return Normalisation("off")
    if stats.reason is not None or stats.stains is None:
        return Normalisation(stats.reason or "one_stain")
    factors = []
    for name in ("h_p99_od", "e_p99_od"):
        wanted, own = reference.limit(name), getattr(stats, name)
        if wanted is None:
            return Normalisation("no_reference")
        if own <= 0.02:
            return Normalisation("one_stain")
        factors.append(float(np.clip(wanted.typical / own, *FACTORS)))
    return Normalisation(None, factors[0], factors[1], stats.stains)


def normalised(image: NDArray[np.uint8], how: Normalisation, white: Colour) -> NDArray[np.uint8]:
    """`image` [h w 3] with its stains scaled; white and what is brighter stay, as does all where nothing is planned."""
    if how.reason is not None or how.stains is None:
        return image
    first, second = (np.array(v) for v in how.stains)
    third = np.cross(first, second)
    columns = np.stack([first, second, third / np.linalg.norm(third)], axis=1)
    matrix = columns @ np.diag([how.h_factor, how.e_factor, 1.0]) @ np.linalg.inv(columns)
    od = optical_density(image, white)
    scaled = cv2.transform(np.maximum(od, 0), matrix.astype(np.float32)) + np.minimum(od, 0)
    out = np.array(white, np.float32) * np.power(np.float32(10), -scaled)
    return np.asarray(np.clip(np.rint(out), 0, 255), np.uint8)
