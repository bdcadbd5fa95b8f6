"""BCSS: tissue regions of breast cancer from TCGA (Amgad et al. 2019, Bioinformatics 35:3461).

Get it from github.com/PathologyDataScience/BCSS (CC0 1.0). Layout: `rgbs_colorNormalized/<roi>.png` or `rgbs/`,
`masks/<roi>.png` of the same name, whose values are the codes of `meta/gtruth_codes.tsv`, listed below. Names tell
the TCGA slide and the resolution: `TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500.png`.

Code 0 is ground outside the drawn area: unknown, and not a class of its own. No nucleus is labelled, so the ground
is unknown for detection everywhere. Regions are drawn coarsely: small clefts and vessels lie inside their neighbours.
The set is 9 GB of pixels at 0.25 um/px: read it with `coarsen_to_mpp: 0.5`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.reading import folder, found_files, no_points, read_mask, read_rgb, tcga
from tilscore.datasets.sample import Sample
from tilscore.errors import DataError
from tilscore.labels import UNKNOWN, Region

MPP = 0.25
_STATED = re.compile(r"MPP-([0-9]*\.?[0-9]+)")
CLASSES = ClassMap(
    regions=(
        Entry("outside_roi", UNKNOWN, 0),
        Entry("tumor", Region.TUMOUR, 1),
        Entry("stroma", Region.STROMA, 2),
        Entry("lymphocytic_infiltrate", Region.STROMA, 3),
        Entry("necrosis_or_debris", Region.NECROSIS, 4),
        Entry("glandular_secretions", Region.OTHER, 5),
        Entry("blood", Region.OTHER, 6),
        Entry("exclude", UNKNOWN, 7),
        Entry("metaplasia_NOS", UNKNOWN, 8),
        Entry("fat", Region.FAT, 9),
        Entry("plasma_cells", Region.STROMA, 10),
        Entry("other_immune_infiltrate", Region.STROMA, 11),
        Entry("mucoid_material", Region.OTHER, 12),
        Entry("normal_acinus_or_duct", Region.TUMOUR, 13),
        Entry("lymphatics", Region.OTHER, 14),
        Entry("undetermined", UNKNOWN, 15),
        Entry("nerve", Region.OTHER, 16),
        Entry("skin_adnexa", Region.OTHER, 17),
        Entry("blood_vessel", Region.OTHER, 18),
        Entry("angioinvasion", Region.TUMOUR, 19),
        Entry("dcis", Region.TUMOUR, 20),
        Entry("other", UNKNOWN, 21),
    )
)


def read_bcss(root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None) -> Iterator[Sample]:
    """The regions of interest of BCSS, one by one: regions, and no nucleus known.

    Raises
    ------
    DataError : not this layout, another code table, an unknown code, or an image that is missing or does not fit.
    """
    _check_codes(root / "meta" / "gtruth_codes.tsv", classes)
    pictures = folder(root, "rgbs_colorNormalized", "rgbs", "images")
    for path in found_files(root, "masks/*.png", what="masks"):
        image = read_rgb(pictures / path.name)
        mask = read_mask(path, image.shape)
        stated = _STATED.search(path.stem)
        patient, centre = tcga(path.stem)
        x, y, label = no_points()
        yield Sample(
            name=path.stem,
            source="bcss",
            image=image,
            mpp=mpp or (float(stated[1]) if stated else MPP),
            x_px=x,
            y_px=y,
            label=label,
            known=np.zeros(image.shape[:2], bool),
            regions=classes.region_codes(mask if mask.ndim == 2 else mask[..., 0], path),
            group=patient or path.stem,
            patient=patient,
            centre=centre,
            organ="breast",
        )


def _check_codes(path: Path, classes: ClassMap) -> None:
    """The set's own code table, where it is there, must be the one that is built in."""
    if not path.exists():
        return
    ours = {e.code: e.name for e in classes.regions if e.code is not None}
    try:
        table = pd.read_csv(path, sep="\t")
        theirs = dict(zip(table["GT_code"].astype(int), table["label"].astype(str), strict=True))
    except (OSError, KeyError, ValueError) as err:
        raise DataError("is not a table of label and GT_code", where=path, found=err) from err
    for code, name in theirs.items():
        if ours.get(code) != name:
            do = f"known is {ours.get(code, 'no such code')}; read the release that these codes belong to"
            raise DataError("another code table than the published one", where=path, found=f"{code} {name}", do=do)
