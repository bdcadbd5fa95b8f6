"""CRCHistoPhenotypes: nucleus centres in colon, 500 px at 0.55 um/px (Sirinukunwattana et al. 2016, IEEE TMI 35:1196).

Get it from warwick.ac.uk/fac/cross_fac/tia/data/crchistolabelednucleihe (research only). Layout:
`Detection/img1/img1.bmp`, `Detection/img1/img1_detection.mat`, `Classification/img1/img1_epithelial.mat`,
`_fibroblast.mat`, `_inflammatory.mat`, `_others.mat`; each MATLAB file holds `detection` [n 2]: x, y counted from 1
at the middle of the first pixel, so 0.5 is taken off.

Only three quarters of the nuclei have a class: those of `Detection` without one in `Classification` are untyped, and
never negatives. Inflammatory includes granulocytes. The set tells no patient (there are 9): an image is a group.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.reading import found_files, read_mat, read_rgb
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import Cell

MPP = 0.55
SAME_PX = 3.0
"""A typed centre this near to a detected one is the same nucleus: a third of a nucleus."""
_TYPES = ("epithelial", "fibroblast", "inflammatory", "others")
CLASSES = ClassMap(
    cells=(
        Entry("epithelial", Cell.EPITHELIAL),
        Entry("fibroblast", Cell.STROMAL),
        Entry("inflammatory", Cell.INFLAMMATORY),
        Entry("others", Cell.OTHER),
        Entry("no type", UNTYPED),
    )
)


def read_crchisto(root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None) -> Iterator[Sample]:
    """The images of `root`, which holds `Detection` and `Classification`, one by one.

    Raises
    ------
    DataError : not this layout, or a partner file that is missing or damaged.
    """
    for table in found_files(root, "Detection/*/*_detection.mat", what="Detection/img*/img*_detection.mat"):
        name = table.stem.removesuffix("_detection")
        image = read_rgb(table.with_name(f"{name}.bmp"))
        xy, label = _typed(root / "Classification" / name, name, classes)
        rest = _centres(table)
        if len(xy) and len(rest):
            rest = rest[cKDTree(xy).query(rest)[0] > SAME_PX]
        xy = np.concatenate([xy, rest])
        label = np.concatenate([label, classes.cell_labels(["no type"] * len(rest), table)])
        x, y = np.clip(xy, 0, [image.shape[1], image.shape[0]]).astype(np.float32).T
        yield Sample(
            name=name,
            source="crchisto",
            image=image,
            mpp=mpp or MPP,
            x_px=x,
            y_px=y,
            label=label,
            group=name,
            centre="UHCW",
            organ="colon",
        )


def _typed(folder: Path, name: str, classes: ClassMap) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Centres [n 2] and labels [n] of the four classes' files."""
    parts = [_centres(folder / f"{name}_{w}.mat") for w in _TYPES]
    names = [w for w, part in zip(_TYPES, parts, strict=True) for _ in part]
    return np.concatenate(parts), classes.cell_labels(names, folder)


def _centres(path: Path) -> NDArray[np.float64]:
    """[n 2] in continuous pixels."""
    held = read_mat(path, "detection")["detection"]
    if held.size and (held.ndim != 2 or held.shape[1] != 2 or held.dtype.kind not in "fiu"):
        raise DataError("detection is no array [n 2] of x, y", where=path, found=f"{held.shape} {held.dtype}")
    return (held if held.size else np.zeros((0, 2))).astype(np.float64) - 0.5
