"""OCELOT: tumour and other cells of six organs at 0.2 um/px, and the tissue around (Ryu et al. 2023, CVPR).

Get it from zenodo.org/records/8417503 (terms to be agreed to there). Layout: `images/<split>/cell/001.jpg` (1024 px at
about 0.2 um/px), `images/<split>/tissue/001.jpg` (1024 px at about 0.8 um/px around the same spot),
`annotations/<split>/cell/001.csv` (`x,y,class` without a header, indices of pixels, so 0.5 is added),
`annotations/<split>/tissue/001.png` (codes below) and `metadata.json`: `sample_pairs.001` with `slide_name`, `organ`,
`subset`, `cell.resized_mpp_x`, `tissue.resized_mpp_x`, and `patch_x_offset`, `patch_y_offset`: where the middle of the
cell patch lies in the tissue patch, as a share of its side.

A sample is the cell patch, with the tissue mask cut out around it. Cells other than tumour cells have one class:
they are untyped. `background` tissue is whatever is no cancer: unknown. Slides are TCGA: the patient is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.reading import decoded, found_files, read_rgb, tcga
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import UNKNOWN, Cell, Region

CLASSES = ClassMap(
    cells=(Entry("background cell", UNTYPED, 1), Entry("tumor cell", Cell.EPITHELIAL, 2)),
    regions=(
        Entry("background", UNKNOWN, 1),
        Entry("cancer area", Region.TUMOUR, 2),
        Entry("unknown", UNKNOWN, 255),
    ),
)


def read_ocelot(root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None) -> Iterator[Sample]:
    """The cell patches of all splits under `root`, one by one.

    Raises
    ------
    DataError : not this layout, an unknown class, or a partner file that is missing or does not fit.
    """
    pairs = _pairs(root / "metadata.json")
    for table in found_files(root, "annotations/*/cell/*.csv", what="annotations/<split>/cell/*.csv"):
        if table.stem not in pairs:
            raise DataError("is not listed in metadata.json", where=table, found=table.stem)
        pair, split = pairs[table.stem], table.parents[1].name
        image = read_rgb(root / "images" / split / "cell" / f"{table.stem}.jpg")
        (x, y), label = _cells(table, classes)
        tissue = table.parents[1] / "tissue" / f"{table.stem}.png"
        try:
            stated, slide = float(pair["cell"]["resized_mpp_x"]), str(pair["slide_name"])
            regions = _regions(tissue, pair, image.shape[:2], classes)
        except (KeyError, TypeError) as err:
            raise DataError("metadata lacks a key", where=root / "metadata.json", found=f"{table.stem}: {err}") from err
        patient, centre = tcga(slide)
        yield Sample(
            name=table.stem,
            source="ocelot",
            image=image,
            mpp=mpp or stated,
            x_px=x,
            y_px=y,
            label=label,
            regions=regions,
            group=patient or slide,
            patient=patient,
            centre=centre,
            organ=str(pair.get("organ", "")).lower(),
        )


def _pairs(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["sample_pairs"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError("metadata is missing or damaged", where=path, found=repr(err), do="unpack it again") from err


def _cells(table: Path, classes: ClassMap) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], NDArray[np.int8]]:
    if table.stat().st_size == 0:
        return (np.zeros(0, np.float32), np.zeros(0, np.float32)), np.zeros(0, np.int8)
    try:
        rows = pd.read_csv(table, header=None, names=["x", "y", "label"]).astype(np.int64)
    except ValueError as err:
        raise DataError("is not a table of x, y, class", where=table, found=err, do="unpack it again") from err
    x, y = (rows[c].to_numpy().astype(np.float32) + np.float32(0.5) for c in ("x", "y"))
    return (x, y), classes.cell_codes(rows["label"].to_numpy(), table)


def _regions(path: Path, pair: dict[str, Any], shape: tuple[int, int], classes: ClassMap) -> NDArray[np.uint8]:
    """Regions [h w] of the cell patch: the pixel of the tissue mask that covers each of its pixels."""
    mask = _tissue(path)
    scale = float(pair["cell"]["resized_mpp_x"]) / float(pair["tissue"]["resized_mpp_x"])
    at = []
    for axis, (n, key) in enumerate(zip(shape, ("patch_y_offset", "patch_x_offset"), strict=True)):
        middle = float(pair[key]) * mask.shape[axis]
        place = np.floor(middle + (np.arange(n) + 0.5 - n / 2) * scale).astype(int)
        at.append(np.clip(place, 0, mask.shape[axis] - 1))
    return classes.region_codes(mask[np.ix_(*at)], path)


def _tissue(path: Path) -> NDArray[np.uint8]:
    import cv2

    mask = decoded(path, cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DataError("mask is missing or damaged", where=path, do="unpack or download it again")
    return np.asarray(mask, np.uint8)
