"""All layouts under their names: `read_set("nucls", folder)`."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tilscore.datasets import (
    aperio,
    bcss,
    brca_m2c,
    coco,
    consep,
    crchisto,
    lizard,
    nucls,
    ocelot,
    pannuke,
    panoptils,
    pictures,
    plain,
    qupath,
    tiger,
)
from tilscore.datasets.classes import IGNORED, ClassMap
from tilscore.datasets.reading import near
from tilscore.datasets.sample import Sample
from tilscore.errors import ConfigError, DataError

Reader = Callable[..., Iterator[Sample]]
IGNORED_UM = 5.0
"""Half the width of a large nucleus."""
OFF_UM = 10.0
"""A centre this far off the image is of a nucleus that its border cuts."""


@dataclass(frozen=True)
class Format:
    """A layout: its reader, the classes that it knows, and what it is."""

    read: Reader
    classes: ClassMap
    about: str


def _plain(root: Path, *, mpp: float | None = None, classes: ClassMap = plain.CLASSES) -> Iterator[Sample]:
    yield from plain.read_plain(root, _needed(mpp, root), classes=classes)


def _pictures(root: Path, *, mpp: float | None = None, classes: ClassMap = pictures.CLASSES) -> Iterator[Sample]:
    if classes != pictures.CLASSES:
        raise ConfigError("pictures that nobody annotated have no classes", where=root, do="leave out `classes`")
    yield from pictures.read_pictures(root, _needed(mpp, root))


def _needed(mpp: float | None, root: Path) -> float:
    if mpp is None:
        raise ConfigError("the resolution of such a set is not stated in it", where=root, do="give its `mpp`")
    return mpp


FORMATS: Mapping[str, Format] = {
    "plain": Format(_plain, plain.CLASSES, "this project's own layout: PNG and CSV"),
    "qupath": Format(qupath.read_qupath, qupath.CLASSES, "QuPath GeoJSON on slides or fields"),
    "pictures": Format(_pictures, pictures.CLASSES, "fields that nobody annotated"),
    "nucls": Format(nucls.read_nucls, nucls.CLASSES, "breast nuclei, PNG and CSV"),
    "brca_m2c": Format(brca_m2c.read_brca_m2c, brca_m2c.CLASSES, "dots on three types of breast nuclei, PNG and text"),
    "pannuke": Format(pannuke.read_pannuke, pannuke.CLASSES, "nuclei of 19 organs, npy folds"),
    "tiger": Format(tiger.read_tiger, tiger.CLASSES, "breast lymphocytes and regions, COCO JSON and masks"),
    "bcss": Format(bcss.read_bcss, bcss.CLASSES, "breast regions, masks"),
    "panoptils": Format(panoptils.read_panoptils, panoptils.CLASSES, "breast regions and nuclei, masks and CSV"),
    "consep": Format(consep.read_consep, consep.CLASSES, "colon nuclei, MATLAB"),
    "crchisto": Format(crchisto.read_crchisto, crchisto.CLASSES, "colon nucleus centres, MATLAB and BMP"),
    "lizard": Format(lizard.read_lizard, lizard.CLASSES, "colon nuclei, MATLAB"),
    "conic": Format(lizard.read_conic, lizard.CLASSES, "colon nuclei, npy patches of Lizard"),
    "monuseg": Format(aperio.read_monuseg, aperio.MONUSEG, "untyped nuclei of seven organs, ImageScope XML"),
    "monusac": Format(aperio.read_monusac, aperio.MONUSAC, "four types of nuclei in four organs, ImageScope XML"),
    "ocelot": Format(ocelot.read_ocelot, ocelot.CLASSES, "tumour and other cells of six organs, CSV and JSON"),
    "coco": Format(coco.read_coco, coco.CLASSES, "outlines or boxes, COCO JSON"),
}


def class_map(name: str, classes: Mapping[str, str] | None = None) -> ClassMap:
    """The class map of a layout, with a user's changes (`ClassMap.changed`)."""
    return _format(name).classes.changed(classes or {})


def read_set(
    name: str,
    root: Path,
    *,
    mpp: float | None = None,
    source: str = "",
    classes: Mapping[str, str] | None = None,
    organ: str = "",
    scanner: str = "",
    centre: str = "",
    coarsen_to_mpp: float | None = None,
    **options: Any,
) -> list[Sample]:
    """All fields of a set.

    Parameters
    ----------
    name : a layout, a key of `FORMATS`.
    root : the set's folder.
    mpp : um/px of its images, where the set does not state it, or to overrule it.
    source : name of the set in splits and results; empty = the folder's name.
    classes : changes of the class map: class of the set to a word (`ClassMap.changed`).
    organ, scanner, centre : what holds for all fields that do not tell it themselves.
    coarsen_to_mpp : average whole pixels together up to this resolution while reading, to save memory.
    options : further arguments of the layout's reader, e.g. `organs` of PanNuke or `skip` of Lizard.

    Raises
    ------
    ConfigError : no such layout or option, or an option of another kind, or a word in one that the set does not know.
    DataError : the folder does not hold that layout, or no field; a file that does not fit; a nucleus without a place
        or off its image; two fields of one name.
    """
    reader = _format(name).read
    known = [k for k in inspect.signature(reader).parameters if k not in ("root", "mpp", "classes", "organ")]
    for option in options:
        if option not in known:
            do = f"use {', '.join([*known, 'coarsen_to_mpp'])}"
            raise ConfigError(f"layout {name} has no option {option}", do=do)
        _check_option(option, options[option], inspect.signature(reader).parameters[option].default)
    if coarsen_to_mpp is not None and not (isinstance(coarsen_to_mpp, int | float) and 0.05 <= coarsen_to_mpp <= 5):
        raise ConfigError("coarsen_to_mpp: must be a number from 0.05 to 5", where=root, found=coarsen_to_mpp)
    out: list[Sample] = []
    for sample in partial(reader, root, mpp=mpp, classes=class_map(name, classes), **options)():
        told = replace(
            sample,
            source=source or root.resolve().name,
            organ=sample.organ or organ,
            scanner=sample.scanner or scanner,
            centre=sample.centre or centre,
        )
        told = without_ignored(placed(told, root))
        out.append(told if coarsen_to_mpp is None else coarsened(told, coarsen_to_mpp))
    if not out:
        raise DataError("the set holds no field", where=root, do="choose less strictly in its options")
    twice = [field for field, n in Counter(s.name for s in out).items() if n > 1]
    if twice:
        do = "rename one with its files, or read their folders as two sets"
        raise DataError("two fields have one name", where=root, found=twice[0], do=do)
    return out


def _check_option(option: str, value: object, default: object) -> None:
    """Refuse a value of another kind than a reader's `default`."""
    if isinstance(default, bool):
        fits, kind = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        fits, kind = isinstance(value, str), "a text"
    else:
        fits, kind = value is None or isinstance(value, str | list | tuple | set | frozenset), "a word or several"
    if not fits:
        raise ConfigError(f"{option}: must be {kind}", found=value)


def placed(sample: Sample, root: Path) -> Sample:
    """`sample` with the centres that lie just off its image on its border.

    Raises
    ------
    DataError : a centre that is not finite, or further off.
    """
    xy = np.stack([sample.x_px, sample.y_px])
    height, width = sample.image.shape[:2]
    size = np.array([[width], [height]], xy.dtype)
    lost = int((~np.isfinite(xy)).any(axis=0).sum())
    if lost:
        found, do = f"field {sample.name} of {sample.source}, {lost} in all", "give each nucleus its coordinates"
        raise DataError("a nucleus without a place", where=root, found=found, do=do)
    off = int((np.maximum(-xy, xy - size) * sample.mpp > OFF_UM).any(axis=0).sum())
    if off:
        found = f"field {sample.name} of {sample.source}, {off} in all"
        do = "are they of this image, and in its pixels?"
        raise DataError("nuclei off the image", where=root, found=found, do=do)
    if ((xy >= 0) & (xy < size)).all():
        return sample
    x, y = np.clip(xy, 0, np.nextafter(size, 0))
    return replace(sample, x_px=x, y_px=y)


def without_ignored(sample: Sample) -> Sample:
    """`sample` without the nuclei of ignored classes; within `IGNORED_UM` of them it is not known what there is.

    They may be of any class: none is complete any more.
    """
    ignored = sample.label == IGNORED
    if not ignored.any():
        return sample
    unclear = near((sample.x_px[ignored], sample.y_px[ignored]), sample.image.shape, sample.mpp, IGNORED_UM)
    return replace(
        sample,
        x_px=sample.x_px[~ignored],
        y_px=sample.y_px[~ignored],
        label=sample.label[~ignored],
        known=~unclear if sample.known is None else sample.known & ~unclear,
        complete=(),
    )


def coarsened(sample: Sample, mpp: float) -> Sample:
    """`sample` with as many whole pixels averaged together as stay at or below `mpp`; unchanged where that is one.

    A coarse pixel is known where all of its pixels are; its region is that of the pixel in its middle.
    """
    k = min(int(mpp / sample.mpp + 1e-6), *sample.image.shape[:2])
    if k < 2:
        return sample
    height, width = (n // k * k for n in sample.image.shape[:2])
    image = cv2.resize(sample.image[:height, :width], (width // k, height // k), interpolation=cv2.INTER_AREA)
    known, regions = sample.known, sample.regions
    if known is not None:
        known = np.asarray(known[:height, :width].reshape(height // k, k, -1, k).all(axis=(1, 3)))
    return replace(
        sample,
        image=np.asarray(image, np.uint8),
        mpp=sample.mpp * k,
        x_px=sample.x_px / np.float32(k),
        y_px=sample.y_px / np.float32(k),
        known=known,
        regions=None if regions is None else np.ascontiguousarray(regions[k // 2 : height : k, k // 2 : width : k]),
    )


def _format(name: str) -> Format:
    if name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError("no such layout of annotated sets", found=name, do=f"use one of {', '.join(FORMATS)}{hint}")
    return FORMATS[name]
