"""The project's own layout: `<name>.png`, `<name>_cells.csv`, and optional masks beside them.

`<name>_cells.csv` has `x_px, y_px, label`; an empty label is a nucleus whose class nobody gave.
`<name>_inst.png` (uint16, 0 = background, k = nucleus k) sharpens the derived regions.
`<name>_regions.png` (uint8, values of `labels.Region`, 255 unknown) gives regions; without it they are derived.
`<name>_known.png` (uint8, 0 = nothing is known there): for sets that label a part of each image only.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import Cell


def read_plain(root: Path, mpp: float, *, source: str | None = None) -> list[Sample]:
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
    return [_read_field(t, mpp, source or root.name) for t in tables]


def _read_field(table: Path, mpp: float, source: str) -> Sample:
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
        name=name,
        source=source,
        image=np.ascontiguousarray(bgr[..., ::-1], np.uint8),
        mpp=mpp,
        x_px=x,
        y_px=y,
        label=_labels(cells["label"], table),
        known=None if known is None else known > 0,
        regions=_mask(table.with_name(f"{name}_regions.png"), bgr.shape[:2]),
        group=name,
    )


def _labels(column: pd.Series, table: Path) -> NDArray[np.int8]:
    codes = {c.name.lower(): int(c) for c in Cell}
    words = column.fillna("").astype(str).str.strip().str.lower()
    unknown = sorted(set(words) - set(codes) - {""})
    if unknown:
        raise DataError(
            "unknown class", where=table, found=unknown[0], do=f"use one of {', '.join(codes)} or leave empty"
        )
    return np.asarray(words.map({**codes, "": UNTYPED}), np.int8)


def _mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    if not path.exists():
        return None
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.shape != shape:
        raise DataError("is not a mask of its image's size", where=path, found=None if mask is None else mask.shape)
    return np.asarray(mask, np.uint8)
