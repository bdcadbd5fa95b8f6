"""Colours of the classes, as the colour-blind see them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from tilscore.labels import CELL_COLOURS, RGB, Cell

SEEN_BY = {
    "everyone else": np.eye(3),
    "protanopes": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopes": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopes": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""Linear RGB as it is seen: Machado, Oliveira & Fernandes 2009, severity 1."""
NUCLEUS: RGB = (105, 70, 150)


def lab(colour: RGB, matrix: object) -> NDArray[np.float64]:
    value = np.array(colour) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(matrix) @ linear, 0, 1)
    coded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(coded[None, None]))[0, 0]


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_classes_are_told_apart_by_all_eyes(eyes: str) -> None:
    """Differences (CIEDE2000) between the classes that a score rests on, and of TILs from a stained nucleus."""
    seen = {c: lab(CELL_COLOURS[c], SEEN_BY[eyes]) for c in (Cell.INFLAMMATORY, Cell.EPITHELIAL, Cell.STROMAL)}
    apart = {f"{a.name} {b.name}": float(deltaE_ciede2000(seen[a], seen[b])) for a, b in combinations(seen, 2)}
    apart["TIL on nucleus"] = float(deltaE_ciede2000(seen[Cell.INFLAMMATORY], lab(NUCLEUS, SEEN_BY[eyes])))
    assert min(apart.values()) > 28, apart
