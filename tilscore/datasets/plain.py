"""The project's own layout: `<name>.png`, `<name>_cells.csv`, and optional masks beside them.

`<name>_cells.csv` has `x_px, y_px, label`; an empty label is a nucleus whose class nobody gave.
`<name>_inst.png` (uint16, 0 = background, k = nucleus k) sharpens the derived regions.
`<name>_regions.png` (uint8, values of `labels.Region`, 255 unknown) gives regions; without it they are derived.
`<name>_known.png` (uint8, 0 = nothing is known there): for sets that label a part of each image only.
`fields.csv` (`name, patient, centre, organ, scanner`) tells what is known of the fields; without it a TCGA barcode in
a name tells patient and centre, and else an image is a group of its own.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.reading import Facts, read_facts
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import Cell

CLASSES = ClassMap(cells=(*(Entry(c.name.lower(), c) for c in Cell), Entry("", UNTYPED)))


def read_plain(root: Path, mpp: float, *, source: str | None = None, classes: ClassMap = CLASSES) -> list[Sample]:
    """All fields of a folder, sorted by name.

    Parameters
    ----------
    mpp : microns per pixel of the images.

    Raises
    ------
    DataError : no such folder, no annotated image in it, or a file that does not fit.
    """
    tables = sorted(root.glob("*_cells.csv"))
    if not tables:
        raise DataError("no <name>_cells.csv in this folder", where=root, do="give the folder of an annotated set")
    facts = read_facts(root)
    return [_read_field(t, mpp, source or root.name, facts, classes) for t in tables]


def _read_field(table: Path, mpp: float, source: str, facts: Facts, classes: ClassMap) -> Sample:
    name = table.name.removesuffix("_cells.csv")
    bgr = cv2.imread(str(table.with_name(f"{name}.png")), cv2.IMREAD_COLOR)
    if bgr is None:
        raise DataError("its image is missing or unreadable", where=table, do=f"put {name}.png beside it")
    try:
        cells = pd.read_csv(table, keep_default_na=True)
        x, y = cells["x_px"].to_numpy(np.float32), cells["y_px"].to_numpy(np.float32)
    except (KeyError, ValueError) as err:
        raise DataError("is not a table of x_px, y_px, label", where=table, found=err) from err
    known = _mask(table.with_name(f"{name}_known.png"), bgr.shape[:2])
    return Sample(
        source=source,
        image=np.ascontiguousarray(bgr[..., ::-1], np.uint8),
        mpp=mpp,
        x_px=x,
        y_px=y,
        label=_labels(cells, table, classes),
        known=None if known is None else known > 0,
        regions=_mask(table.with_name(f"{name}_regions.png"), bgr.shape[:2]),
        **facts.sample_keys(name),
    )


def _labels(cells: pd.DataFrame, table: Path, classes: ClassMap) -> NDArray[np.int8]:
    if "label" not in cells:
        raise DataError("has no column label", where=table, do="leave the values empty where no class is known")
    return classes.cell_labels(cells["label"].fillna("").astype(str), table)


def _mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    if not path.exists():
        return None
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.shape != shape:
        raise DataError("is not a mask of its image's size", where=path, found=None if mask is None else mask.shape)
    return np.asarray(mask, np.uint8)
