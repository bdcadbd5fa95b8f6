"""PanopTILs: regions and nuclei of breast cancer from TCGA, 1024 px fields (Liu et al. 2024, npj Breast Cancer 10:52).

Get it from sites.google.com/view/panoptils (terms there). Layout of a part, `ManualNucleiManualRegions/` or
`BootstrapNucleiManualRegions_TCGA/tcga/`: `rgbs/<field>.png`, `masks/<field>.png`, `csv/<field>.csv`.
Red channel of the mask: region code; green: nucleus code (0 = left out, 9 = no nucleus); blue: nucleus borders.
The table has a nucleus a row: `group` (class) and `coords_x`, `coords_y`, its outline in continuous pixels.

**The names say MPP-0.2500, the pixels are about 0.30 um.** 0.30 is used: a field's name tells its edges in pixels of
the slide, and the 1219 px of 0.2521 um between those of a field of TCGA-A1-A0SP are shown on 1024 px, which makes
0.3001 um (github.com/PathologyDataScience/MuTILs_Panoptic, issue 18). `Bootstrap` nuclei were found by a network,
`Manual` ones by people. Fields come from the slides of BCSS and NuCLS: the same patients.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.reading import found_files, outline_centre, read_mask, read_rgb, tcga
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import UNKNOWN, Cell, Region

MPP = 0.30
LEFT_OUT = 0
"""Nucleus code of ground that nobody looked at."""
CLASSES = ClassMap(
    cells=(
        Entry("CancerEpithelium", Cell.EPITHELIAL, 1),
        Entry("StromalCellNOS", Cell.STROMAL, 2),
        Entry("ActiveStromalCellNOS", Cell.STROMAL, 3),
        Entry("TILsCell", Cell.INFLAMMATORY, 4),
        Entry("ActiveTILsCell", Cell.INFLAMMATORY, 5),
        Entry("NormalEpithelium", Cell.EPITHELIAL, 6),
        Entry("OtherCell", Cell.OTHER, 7),
        Entry("UnknownOrAmbiguousCell", UNTYPED, 8),
    ),
    regions=(
        Entry("exclude", UNKNOWN, 0),
        Entry("cancerous epithelium", Region.TUMOUR, 1),
        Entry("stroma", Region.STROMA, 2),
        Entry("TILs", Region.STROMA, 3),
        Entry("normal epithelium", Region.TUMOUR, 4),
        Entry("junk/debris", Region.NECROSIS, 5),
        Entry("blood", Region.OTHER, 6),
        Entry("other", UNKNOWN, 7),
        Entry("whitespace/empty", Region.OTHER, 8),
    ),
)


def read_panoptils(root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None) -> Iterator[Sample]:
    """The fields of one part, or of all parts under `root`, one by one; of several, names begin with the part's folder.

    Raises
    ------
    DataError : not this layout, an unknown class or code, or a partner file that is missing or does not fit.
    """
    paths = found_files(root, "masks/*.png", "**/masks/*.png", what="masks")
    several = len({path.parent for path in paths}) > 1
    for path in paths:
        part = path.parents[1]
        image = read_rgb(part / "rgbs" / path.name)
        mask = read_mask(path, image.shape)
        if mask.ndim != 3:
            raise DataError("mask has no channels for regions and nuclei", where=path, found=mask.shape)
        xy, label = _nuclei(part / "csv" / f"{path.stem}.csv", classes)
        patient, centre = tcga(path.stem)
        yield Sample(
            name=f"{part.relative_to(root).parts[0]}/{path.stem}" if several else path.stem,
            source="panoptils",
            image=image,
            mpp=mpp or MPP,
            x_px=xy[:, 0],
            y_px=xy[:, 1],
            label=label,
            known=mask[..., 1] != LEFT_OUT,
            regions=classes.region_codes(mask[..., 0], path),
            group=patient or path.stem,
            patient=patient,
            centre=centre,
            organ="breast",
        )


def _nuclei(table: Path, classes: ClassMap) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    try:
        rows = pd.read_csv(table)
        corners = [
            np.stack([np.array(str(c).split(","), np.float64) for c in pair], 1)
            for pair in zip(rows["coords_x"], rows["coords_y"], strict=True)
        ]
        names = rows["group"].astype(str)
    except (OSError, KeyError, ValueError) as err:
        do = "unpack the csv folder beside the masks"
        raise DataError("is missing, or no table of nuclei", where=table, found=err, do=do) from err
    xy = [outline_centre(c) for c in corners]
    return np.array(xy, np.float32).reshape(-1, 2), classes.cell_labels(names, table)
