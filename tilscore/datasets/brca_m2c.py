"""BRCA-M2C: dots on the nuclei of 120 breast fields of TCGA at 0.5 um/px (Abousamra et al. 2021, ICCV).

Get it from github.com/TopoXLab/Dataset-BRCA-M2C (BSD 3-Clause). Layout: `images/<field>.png` (about 490 px),
`labels/<field>_gt_class_coords.txt` (a row `y x class` a nucleus, indices of pixels, so 0.5 is added) and the split of
its authors, `brca_ds_train.txt`, `brca_ds_val.txt`, `brca_ds_test.txt` (a file name of an image a row).

Nuclei are dotted throughout, and have one of three classes. A field was cut out as 1000 x 1000 px at the slide's finest
level and shrunk to 0.5 um/px: within 0.3 % that is what the sizes of the files and the resolution in their names tell.
Slides are TCGA: the patient is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.reading import chosen, found_files, read_rgb, tcga
from tilscore.datasets.sample import Sample
from tilscore.errors import DataError
from tilscore.labels import Cell

MPP = 0.5
SPLITS = ("train", "val", "test")
CLASSES = ClassMap(
    cells=(
        Entry("lymphocyte", Cell.INFLAMMATORY, 1),
        Entry("tumor or epithelial cell", Cell.EPITHELIAL, 2),
        Entry("stromal cell", Cell.STROMAL, 3),
    )
)


def read_brca_m2c(
    root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None, splits: str | Iterable[str] = SPLITS
) -> Iterator[Sample]:
    """The fields of `root`, one by one.

    Parameters
    ----------
    splits : parts of the authors' split to read, e.g. `[train, val]`, so that their test part stays unseen.

    Raises
    ------
    DataError : not this layout, an unknown class, or an image or labels of a listed field that are missing or damaged.
    ConfigError : no such part.
    """
    wanted = _fields(root, chosen(splits, SPLITS, option="splits", where=root))
    ending = "_gt_class_coords.txt"
    tables = {t.name.removesuffix(ending): t for t in found_files(root, f"labels/*{ending}", what=f"labels/*{ending}")}
    lost = sorted(wanted - set(tables))
    if lost:
        raise DataError("labels of a listed field are missing", where=root, found=lost[0], do="unpack the set again")
    for name, table in tables.items():
        if name not in wanted:
            continue
        (x, y), label = _cells(table, classes)
        patient, centre = tcga(name)
        yield Sample(
            name=name,
            source="brca_m2c",
            image=read_rgb(root / "images" / f"{name}.png"),
            mpp=mpp or MPP,
            x_px=x,
            y_px=y,
            label=label,
            group=patient or name,
            patient=patient,
            centre=centre,
            organ="breast",
        )


def _fields(root: Path, splits: set[str]) -> set[str]:
    """Names of the fields of these parts."""
    out: set[str] = set()
    for split in sorted(splits):
        path = root / f"brca_ds_{split}.txt"
        try:
            out |= {line.strip().removesuffix(".png") for line in path.read_text(encoding="utf-8-sig").splitlines()}
        except (OSError, ValueError) as err:
            raise DataError("list is missing or damaged", where=path, found=err, do="unpack the set again") from err
    return out - {""}


def _cells(table: Path, classes: ClassMap) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], NDArray[np.int8]]:
    try:
        rows = np.array([line.split() for line in table.read_text(encoding="utf-8").splitlines() if line.strip()], int)
        rows = rows.reshape(-1, 3)
    except (OSError, ValueError) as err:
        raise DataError("is not a table of y, x, class", where=table, found=err, do="unpack the set again") from err
    y, x = (rows[:, k].astype(np.float32) + np.float32(0.5) for k in (0, 1))
    return (x, y), classes.cell_codes(rows[:, 2], table)
