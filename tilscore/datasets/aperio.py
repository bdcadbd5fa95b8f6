"""MoNuSeg and MoNuSAC: nuclei outlined in Aperio ImageScope, as XML beside TIFF pictures at 0.25 um/px.

MoNuSeg (Kumar et al. 2020, IEEE TMI 39:1380; monuseg.grand-challenge.org, CC BY-NC-SA 4.0): outlines without types.
`Tissue Images/<slide>.tif` with `Annotations/<slide>.xml`; in the test set the two lie side by side.
MoNuSAC (Verma et al. 2021, IEEE TMI 40:3413; monusac-2020.grand-challenge.org, CC BY-NC-SA 4.0): four types.
`MoNuSAC_images_and_annotations/<slide>/<slide>_<k>.tif` with `.xml` (and `.svs`) of the same name; the type of an
outline is the name of its annotation's attribute. The test set adds `Ambiguous`: ground that nobody could judge.

XML: `Annotations/Annotation/Attributes/Attribute@Name` and `.../Regions/Region/Vertices/Vertex@X,@Y`, in continuous
pixels; `Annotations@MicronsPerPixel` states the resolution. Names are TCGA slides, so the patient is known.

**MoNuSAC outlines only these four types**: stromal nuclei lie unlabelled beside them. So its ground is known only
close to an outlined nucleus, and `complete` names epithelium alone (whether plasma cells were outlined is not said).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.classes import IGNORED, ClassMap, Entry
from tilscore.datasets.reading import found_files, near, outline_centre, read_rgb, tcga
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import Cell

MPP = 0.25
_MPP_RANGE = (0.2, 0.3)
"""A stated resolution outside is an editor's default, not the scanner's: these are 40x slides."""
MONUSEG = ClassMap(cells=(Entry("nucleus", UNTYPED),))
MONUSAC = ClassMap(
    cells=(
        Entry("Epithelial", Cell.EPITHELIAL),
        Entry("Lymphocyte", Cell.INFLAMMATORY),
        Entry("Macrophage", Cell.OTHER),
        Entry("Neutrophil", Cell.OTHER),
        Entry("Ambiguous", IGNORED),
    )
)
Outlines = list[tuple[str, NDArray[np.float64]]]
"""Name of the annotation and corners [n 2] of each outline."""


def read_monuseg(root: Path, *, classes: ClassMap = MONUSEG, mpp: float | None = None) -> Iterator[Sample]:
    """The images of MoNuSeg, one by one; every nucleus is outlined and none is typed.

    Raises
    ------
    DataError : not this layout, a damaged XML file, or a picture that is missing.
    """
    for path in found_files(root, "Annotations/*.xml", "*.xml", "**/*.xml", what="XML annotations"):
        stated, outlines = _read(path)
        label = classes.cell_labels(["nucleus"] * len(outlines), path)
        yield _sample("monuseg", path, [o for _, o in outlines], label, mpp or stated, partial=False)


def read_monusac(root: Path, *, classes: ClassMap = MONUSAC, mpp: float | None = None) -> Iterator[Sample]:
    """The images of MoNuSAC, one by one; ground is known near outlined nuclei alone.

    Raises
    ------
    DataError : not this layout, a damaged XML file, an unknown class, or a picture that is missing.
    """
    for path in found_files(root, "**/*.xml", what="XML annotations"):
        stated, outlines = _read(path)
        label = classes.cell_labels([name for name, _ in outlines], path)
        yield _sample("monusac", path, [o for _, o in outlines], label, mpp or stated, partial=True)


def _sample(
    source: str, path: Path, outlines: list[NDArray[np.float64]], label: NDArray[np.int8], mpp: float, *, partial: bool
) -> Sample:
    image = read_rgb(_picture(path))
    keep = label != IGNORED
    centres = [outline_centre(o) for o, k in zip(outlines, keep, strict=True) if k]
    x, y = np.array(centres, np.float32).reshape(-1, 2).T
    known = near((x, y), image.shape, mpp) if partial else None
    if not keep.all():
        unclear = np.zeros(image.shape[:2], np.uint8)
        corners = [np.round(o).astype(np.int32) for o, k in zip(outlines, keep, strict=True) if not k]
        cv2.fillPoly(unclear, corners, 1)
        known = (unclear == 0) if known is None else known & (unclear == 0)
    patient, centre = tcga(path.stem)
    return Sample(
        name=path.stem,
        source=source,
        image=image,
        mpp=mpp,
        x_px=x,
        y_px=y,
        label=label[keep],
        known=known,
        group=patient or path.stem,
        patient=patient,
        centre=centre,
        complete=(Cell.EPITHELIAL,) if partial and keep.all() else (),
        exhaustive=not partial,
    )


def _picture(path: Path) -> Path:
    places = (path.parent, path.parent.with_name("Tissue Images"), path.parent.with_name("TissueImages"))
    names = [place / f"{path.stem}{ending}" for place in places for ending in (".tif", ".tiff", ".png", ".svs")]
    found = next((n for n in names if n.is_file()), None)
    if found is None:
        raise DataError("its picture is missing", where=path, do=f"put {path.stem}.tif beside it")
    return found


def _read(path: Path) -> tuple[float, Outlines]:
    """Microns per pixel and outlines of an ImageScope file."""
    out: Outlines = []
    try:
        root = ET.parse(path).getroot()
        for annotation in root.iter("Annotation"):
            attribute = annotation.find("Attributes/Attribute")
            name = "" if attribute is None else attribute.get("Name", "")
            for region in annotation.iter("Region"):
                corners = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
                if len(corners) > 2:
                    out.append((name, np.array(corners)))
        stated = float(root.get("MicronsPerPixel") or MPP)
    except (OSError, ET.ParseError, KeyError, ValueError) as err:
        raise DataError("is not an ImageScope annotation", where=path, found=err, do="download it again") from err
    return (stated if _MPP_RANGE[0] <= stated <= _MPP_RANGE[1] else MPP), out
