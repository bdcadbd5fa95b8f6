"""Transparency: what nothing was drawn on is glass, and glass is white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def on_white(rgba: NDArray[np.uint8], kind: int = 2) -> NDArray[np.uint8]:
    """Pixels [h w 3] of an image [h w 4] laid on white.

    Parameters
    ----------
    kind : 1 = the colours are already multiplied by their opacity, 2 = they are not.
    """
    if rgba[..., 3].min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    wide = rgba.astype(np.uint16)
    colours, opacity = wide[..., :3], wide[..., 3:]
    if kind == 1:
        return np.asarray(np.minimum(colours + (255 - opacity), 255), np.uint8)
    return np.asarray((colours * opacity + 255 * (255 - opacity) + 127) // 255, np.uint8)
