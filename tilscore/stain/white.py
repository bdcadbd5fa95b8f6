"""The white of a slide: the colour of its glass, and the table that brings it to that of the training sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tilscore.slide import Slide
from tilscore.tissue import glass_colour, measured_glass

Colour = tuple[int, int, int]

GLASS_MPP = 16.0
"""Resolution at which the colour of the glass is measured, um/px."""
GLASS_LEVEL = 240
"""Grey level of white ground in the training sets: medians of R, G, B are 243, 236, 243 in CoNSeP and 243, 239, 244 in
CRCHistoPhenotypes."""


def glass_of(slide: Slide) -> Colour:
    """Colour of the slide's empty glass, RGB 0-255; of a slide that shows none, `glass_colour` up to `GLASS_LEVEL`."""
    image = slide.thumbnail(GLASS_MPP)
    glass = measured_glass(image)
    if glass is None:
        glass = np.minimum(glass_colour(image), np.float32(GLASS_LEVEL))
    red, green, blue = (round(float(v)) for v in glass)
    return red, green, blue


def white_table(glass_rgb: Colour) -> NDArray[np.uint8]:
    """Look-up table [1 256 3] that brings glass of this colour to `GLASS_LEVEL`, brighter glass too."""
    gain = np.minimum(GLASS_LEVEL / np.array(glass_rgb, float), 1.5)
    table: NDArray[np.uint8] = np.clip(np.arange(256)[:, None] * gain + 0.5, 0, 255).astype(np.uint8)[None]
    return table
