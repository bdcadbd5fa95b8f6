"""Pictures that nobody annotated: nothing is known of them, and teachers alone can tell what is on them.

Every PNG, JPEG, BMP or TIFF picture right in the folder is a field; nothing else of it is looked at, save `fields.csv`
(`name, patient, centre, organ, scanner`; without it a TCGA barcode in a name tells patient and centre).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tilscore.datasets.classes import ClassMap
from tilscore.datasets.reading import no_points, read_facts, read_rgb
from tilscore.datasets.sample import Sample
from tilscore.errors import DataError
from tilscore.inputs import PICTURE_SUFFIXES

SUFFIXES = PICTURE_SUFFIXES | {".bmp", ".tif", ".tiff"}
CLASSES = ClassMap()
ANNOTATIONS = ("*_cells.csv", "*_known.png", "*_regions.png", "*.geojson", "*.geojson.gz")
"""What the layouts `plain` and `qupath` lay beside a picture."""


def read_pictures(root: Path, mpp: float) -> Iterator[Sample]:
    """The pictures of a folder, sorted by name, one by one.

    Parameters
    ----------
    mpp : microns per pixel of the pictures.

    Raises
    ------
    DataError : no picture in the folder, annotations beside them, or a picture that is damaged.
    """
    annotations = sorted(path for pattern in ANNOTATIONS for path in root.glob(pattern))
    if annotations:
        do = "read them as `plain` or `qupath`, or put what nobody annotated into a folder of its own"
        raise DataError("annotations lie beside the pictures", where=root, found=annotations[0].name, do=do)
    paths = sorted(p for p in root.glob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        do = f"give the folder that itself holds {', '.join(sorted(SUFFIXES))}"
        raise DataError("no picture in this folder", where=root, do=do)
    facts = read_facts(root, {path.stem: path.name for path in paths})
    for path in paths:
        image = read_rgb(path)
        x, y, label = no_points()
        yield Sample(
            source="pictures",
            image=image,
            mpp=mpp,
            x_px=x,
            y_px=y,
            label=label,
            known=np.zeros(image.shape[:2], bool),
            **facts.sample_keys(path.stem),
        )
