"""TIGER: regions and lymphocytes of HER2+ and triple-negative breast cancer at 0.5 um/px (tiger.grand-challenge.org).

Get `wsirois` with `aws s3 cp s3://tiger-training/ . --recursive --no-sign-request` (CC BY-NC 4.0). Layout of
`wsirois/roi-level-annotations/`: `tissue-cells/images/<roi>.png`, `tissue-cells/masks/<roi>.png`,
`tissue-cells/tiger-coco.json`, and `tissue-bcss/` with `images/` and `masks/` alone. Masks may be PNG or TIFF, with
the codes below. The JSON has a box of 8 um around each lymphocyte or plasma cell; its middle is the nucleus.

**Only lymphocytes and plasma cells are labelled**: all other nuclei lie unlabelled beside them. So ground is known
only close to a labelled nucleus, and `complete` says that there is no further inflammatory one. `tissue-bcss` labels
no nucleus at all. `<roi>` is the slide and a box, `100B_[10779, 11621, 12102, 12874]`: numbers followed by B or S are
biopsies and resections from Radboud, `TC_S01_P000001_...` from Jules Bordet, `TCGA-...` shares patients with BCSS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tilscore.datasets import coco
from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.reading import found_files, near, no_points, read_mask, read_rgb, tcga
from tilscore.datasets.sample import Sample
from tilscore.errors import DataError
from tilscore.labels import UNKNOWN, Cell, Region

MPP = 0.5
CLASSES = ClassMap(
    cells=(Entry("lymphocytes and plasma cells", Cell.INFLAMMATORY),),
    regions=(
        Entry("not annotated", UNKNOWN, 0),
        Entry("invasive tumor", Region.TUMOUR, 1),
        Entry("tumor-associated stroma", Region.STROMA, 2),
        Entry("in-situ tumor", Region.TUMOUR, 3),
        Entry("healthy glands", Region.TUMOUR, 4),
        Entry("necrosis not in-situ", Region.NECROSIS, 5),
        Entry("inflamed stroma", Region.STROMA, 6),
        Entry("rest", UNKNOWN, 7),
    ),
)
_RADBOUD = re.compile(r"(\d+)[BS]$")
_BORDET = re.compile(r"TC_S\d+_(P\d+)")


def read_tiger(root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None) -> Iterator[Sample]:
    """The regions of interest of `tissue-cells` and `tissue-bcss`, one by one.

    Raises
    ------
    DataError : not this layout, an unknown class or code, or a partner file that is missing or does not fit.
    """
    places = [root / p for p in ("", "roi-level-annotations", "wsirois/roi-level-annotations")]
    base = next((p for p in places if (p / "tissue-cells").is_dir() or (p / "tissue-bcss").is_dir()), None)
    if base is None:
        raise DataError("no folder tissue-cells or tissue-bcss in it", where=root, do="give roi-level-annotations")
    if (base / "tissue-cells").is_dir():
        yield from _cells(base / "tissue-cells", classes, mpp or MPP)
    if (base / "tissue-bcss").is_dir():
        for path in found_files(base / "tissue-bcss", "images/*.png", what="images"):
            yield _sample(path, None, classes, mpp or MPP)


def _cells(part: Path, classes: ClassMap, mpp: float) -> Iterator[Sample]:
    path = part / "tiger-coco.json"
    held = coco.load(path)
    names = {c["id"]: str(c["name"]) for c in held["categories"]}
    for image, objects in coco.of_images(held, path):
        label = classes.cell_labels([names.get(o["category_id"], str(o["category_id"])) for o in objects], path)
        xy = np.array([coco.box_middle(o, path) for o in objects], np.float32).reshape(-1, 2)
        yield _sample(coco.find_picture(path, str(image["file_name"])), (xy, label), classes, mpp)


def _sample(
    path: Path, nuclei: tuple[NDArray[np.float32], NDArray[np.int8]] | None, classes: ClassMap, mpp: float
) -> Sample:
    """One region of interest; `nuclei` None where the part labels none."""
    image = read_rgb(path)
    x, y, label = no_points() if nuclei is None else (nuclei[0][:, 0], nuclei[0][:, 1], nuclei[1])
    slide = path.stem.split("_[")[0]
    patient, centre = _origin(slide)
    return Sample(
        name=path.stem,
        source="tiger",
        image=image,
        mpp=mpp,
        x_px=x,
        y_px=y,
        label=label,
        known=near((x, y), image.shape, mpp),
        regions=_regions(path, image.shape, classes),
        group=patient or slide,
        patient=patient,
        centre=centre,
        organ="breast",
        complete=() if nuclei is None else (Cell.INFLAMMATORY,),
        exhaustive=False,
    )


def _regions(image: Path, shape: tuple[int, ...], classes: ClassMap) -> NDArray[np.uint8]:
    masks = image.parent.with_name("masks")
    paths = [masks / f"{image.stem}{ending}" for ending in (".png", ".tif", ".tiff")]
    path = next((p for p in paths if p.is_file()), paths[0])
    mask = read_mask(path, shape)
    return classes.region_codes(mask if mask.ndim == 2 else mask[..., 0], path)


def _origin(slide: str) -> tuple[str, str]:
    """Patient and centre of a slide; "" where its name does not tell."""
    patient, centre = tcga(slide)
    if patient:
        return patient, centre
    radboud, bordet = _RADBOUD.match(slide), _BORDET.match(slide)
    if radboud:
        return f"RUMC-{radboud[1]}", "RUMC"
    return (f"JB-{bordet[1]}", "JB") if bordet else ("", "")
