"""The project's own layout: `<name>.png`, `<name>_cells.csv`, and optional masks beside them.

`<name>_cells.csv` has `x_px, y_px, label`; an empty label is a nucleus whose class nobody gave.
`<name>_regions.png` (uint8, values of `labels.Region`, 255 unknown) gives regions; without it they are derived.
`<name>_known.png` (uint8, 0 = nothing is known there): for sets that label a part of each image only.
`fields.csv` (`name, patient, centre, organ, scanner`) tells what is known of the fields; without it a TCGA barcode in
a name tells patient and centre, and else an image is a group of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.reading import Facts, decoded, palette_numbers, read_facts, read_rgb, read_table
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import UNKNOWN, Cell, Region

if TYPE_CHECKING:
    import pandas as pd

OFF_PX = 1.0
"""A centre this far off the image is on its border, by another way to count pixels."""
CLASSES = ClassMap(cells=(*(Entry(c.name.lower(), c) for c in Cell), Entry("", UNTYPED)))


def read_plain(root: Path, mpp: float, *, source: str | None = None, classes: ClassMap = CLASSES) -> list[Sample]:
    """All fields of a folder, sorted by name.

    Parameters
    ----------
    mpp : microns per pixel of the images.

    Raises
    ------
    DataError : no such folder, no annotated image in it, or a file or a value that does not fit.
    """
    tables = sorted(root.glob("*_cells.csv"))
    if not tables:
        raise DataError("no <name>_cells.csv in this folder", where=root, do="give the folder of an annotated set")
    names = [t.name.removesuffix("_cells.csv") for t in tables]
    for mask in sorted([*root.glob("*_regions.png"), *root.glob("*_known.png")]):
        field = mask.name.removesuffix("_regions.png").removesuffix("_known.png")
        if field not in names:
            do = f"put {field}_cells.csv beside it; a header alone says that there is no nucleus"
            raise DataError("a mask of a field without a table of nuclei", where=mask, do=do)
    _tell_left_out(root, names)
    facts = read_facts(root, {name: f"{name}.png" for name in names})
    return [_read_field(t, mpp, source or root.name, facts, classes) for t in tables]


def _tell_left_out(root: Path, names: list[str]) -> None:
    """Tell on stderr which pictures nothing is read of, as they have no table: a name with a slip looks like that."""
    own = tuple(f"{name}_" for name in names)  # masks, read or not, are called after their field
    pictures = {p.stem for p in root.glob("*.png") if not p.name.startswith((".", *own))}
    if lost := sorted(pictures - set(names)):
        n = f"{len(lost)} picture" + "s" * (len(lost) > 1)
        print(f"{root.name}: {n} left out, there is no {lost[0]}_cells.csv for {lost[0]}.png", file=sys.stderr)


def _read_field(table: Path, mpp: float, source: str, facts: Facts, classes: ClassMap) -> Sample:
    name = table.name.removesuffix("_cells.csv")
    picture = table.with_name(f"{name}.png")
    if not picture.is_file():
        raise DataError("its image is missing", where=table, do=f"put {name}.png beside it")
    image = read_rgb(picture)
    cells, x, y = _table(table)
    lost = np.flatnonzero(~np.isfinite(x + y))
    if len(lost):
        raise DataError("a nucleus without a place", where=table, found=f"row {lost[0] + 1}", do="give x_px and y_px")
    height, width = image.shape[:2]
    off = np.flatnonzero((x < -OFF_PX) | (y < -OFF_PX) | (x > width + OFF_PX) | (y > height + OFF_PX))
    if len(off):
        found, do = f"row {off[0] + 1}, {len(off)} in all", f"is it of {name}.png, and in its pixels?"
        raise DataError("nuclei off the image", where=table, found=found, do=do)
    known = _mask(table.with_name(f"{name}_known.png"), image.shape[:2])
    return Sample(
        source=source,
        image=image,
        mpp=mpp,
        x_px=x,
        y_px=y,
        label=_labels(cells, table, classes),
        known=None if known is None else known > 0,
        regions=_regions(table.with_name(f"{name}_regions.png"), image.shape[:2]),
        **facts.sample_keys(name),
    )


def _table(path: Path) -> tuple[pd.DataFrame, NDArray[np.float32], NDArray[np.float32]]:
    """The table of the nuclei, and their places."""
    what = "is not a table of x_px, y_px, label"
    try:
        cells = read_table(path)
        return cells, cells["x_px"].to_numpy(np.float32), cells["y_px"].to_numpy(np.float32)
    except KeyError as err:
        raise DataError(what, where=path, found=f"columns {', '.join(cells.columns)}") from err
    except ValueError as err:
        raise DataError(what, where=path, found=err) from err


def _labels(cells: pd.DataFrame, table: Path, classes: ClassMap) -> NDArray[np.int8]:
    if "label" not in cells:
        raise DataError("has no column label", where=table, do="leave the values empty where no class is known")
    return classes.cell_labels(cells["label"].fillna("").astype(str), table)


def _regions(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    mask = _mask(path, shape)
    if mask is None:
        return None
    odd = np.setdiff1d(mask, [*Region, UNKNOWN])
    if len(odd):
        do = "use " + ", ".join(f"{r} {r.name.lower()}" for r in Region) + f" or {UNKNOWN} unknown"
        raise DataError("a value that is no region", where=path, found=odd[0], do=do)
    return mask.astype(np.uint8)


def _mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.integer] | None:
    """The values of a mask [h w] as the file holds them, of 8 or 16 bits or a palette's; None where there is none."""
    if not path.exists():
        return None
    mask = palette_numbers(path)
    mask = decoded(path, cv2.IMREAD_UNCHANGED) if mask is None else mask
    if mask is None:
        raise DataError("mask is damaged", where=path, do="write it again, as PNG")
    if mask.ndim != 2:
        raise DataError(
            "a mask in colours", where=path, found=mask.shape, do="write one channel that holds the numbers"
        )
    if mask.shape != shape:
        do = f"its image is {shape[0]} high and {shape[1]} wide"
        raise DataError("is not a mask of its image's size", where=path, found=mask.shape, do=do)
    return np.asarray(mask)
