"""NuCLS: nuclei of breast cancer from TCGA (Amgad et al. 2022, GigaScience 11:giac037).

Get it from sites.google.com/view/nucls (CC0 1.0). Layout of a part (use the corrected single-rater one):
`rgb/<fov>.png` at 0.2 um/px, `csv/<fov>.csv` with `raw_classification, main_classification, super_classification,
type, xmin, ymin, xmax, ymax, coords_x, coords_y`, and `mask/<fov>.png`, whose red channel is a class code, 253 for
ground that was annotated and holds no nucleus, and 0 for ground outside the annotated field.
`<fov>` begins with the TCGA slide, so the patient is known: BCSS, PanopTILs and the TCGA part of TIGER share patients.

Coordinates are continuous pixels. Outlined nuclei (`polyline`) have their centre of mass, boxed ones their middle.
Granulocytes and macrophages are told apart from lymphocytes here, so they are `other` and no TILs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.reading import Points, found_files, outline_centre, read_mask, read_rgb, tcga
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import Cell

MPP = 0.2
CLASSES = ClassMap(
    cells=(
        Entry("tumor", Cell.EPITHELIAL),
        Entry("mitotic_figure", Cell.EPITHELIAL),
        Entry("ductal_epithelium", Cell.EPITHELIAL),
        Entry("myoepithelium", UNTYPED),
        Entry("fibroblast", Cell.STROMAL),
        Entry("vascular_endothelium", Cell.STROMAL),
        Entry("lymphocyte", Cell.INFLAMMATORY),
        Entry("plasma_cell", Cell.INFLAMMATORY),
        Entry("macrophage", Cell.OTHER),
        Entry("neutrophil", Cell.OTHER),
        Entry("eosinophil", Cell.OTHER),
        Entry("apoptotic_body", Cell.OTHER),
        Entry("unlabeled", UNTYPED),
    )
)


def read_nucls(root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None) -> Iterator[Sample]:
    """The fields of one part of NuCLS, one by one.

    Raises
    ------
    DataError : not this layout, an unknown class, or a partner file that is missing or does not fit.
    """
    masks = root / "mask"
    for table in found_files(root, "csv/*.csv", what="NuCLS tables"):
        image = read_rgb(root / "rgb" / f"{table.stem}.png")
        known = None
        if masks.is_dir():
            mask = read_mask(masks / f"{table.stem}.png", image.shape)
            known = (mask[..., 0] if mask.ndim == 3 else mask) > 0
        points, label = _nuclei(table, classes)
        patient, centre = tcga(table.stem)
        yield Sample(
            name=table.stem,
            source="nucls",
            image=image,
            mpp=mpp or MPP,
            x_px=points[0],
            y_px=points[1],
            label=label,
            known=known,
            group=patient or table.stem,
            patient=patient,
            centre=centre,
            organ="breast",
        )


def _nuclei(table: Path, classes: ClassMap) -> tuple[Points, NDArray[np.int8]]:
    try:
        rows = pd.read_csv(table)
        names = rows["raw_classification"].astype(str).str.removeprefix("correction_")
        xy = [_centre(r) for r in rows.to_dict("records")]
    except (OSError, KeyError, ValueError) as err:
        raise DataError("is not a NuCLS table", where=table, found=repr(err), do="download it again") from err
    x, y = np.array(xy, np.float32).reshape(-1, 2).T
    return (x, y), classes.cell_labels(names, table)


def _centre(row: dict[object, object]) -> tuple[float, float]:
    if row["type"] == "polyline":
        corners = [np.array(str(row[k]).split(","), np.float64) for k in ("coords_x", "coords_y")]
        outline = np.stack(corners, 1)
        closed = len(outline) > 3 and (outline[0] == outline[-1]).all()
        return outline_centre(outline[:-1] if closed else outline)
    x0, y0, x1, y1 = (float(str(row[k])) for k in ("xmin", "ymin", "xmax", "ymax"))
    return (x0 + x1) / 2, (y0 + y1) / 2
