"""COCO JSON: outlines, run lengths or boxes of nuclei beside pictures (cocodataset.org/#format-data).

`images` (`id`, `file_name`), `categories` (`id`, `name`), `annotations` (`image_id`, `category_id`, `segmentation` or
`bbox`). A segmentation is a list of polygons `[x0, y0, x1, y1, ...]` in continuous pixels, or run lengths `counts` of a
mask of `size` [h w], column by column, beginning with the zeros. A box is `[x, y, w, h]`.

PanNuke's patches are passed on in this form with two classes (neoplastic, all others together): where a set keeps
inflammatory and stromal nuclei in one class, that class is untyped here. Other classes: name them with `classes`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.instances import instance_centres
from tilscore.datasets.reading import found_files, outline_centre, read_rgb, tcga
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import Cell

MPP = 0.25
_NEEDED = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}
CLASSES = ClassMap(
    cells=(
        Entry("Neoplastic", Cell.EPITHELIAL),
        Entry("No-neoplastic", UNTYPED),
        Entry("Non-neoplastic", UNTYPED),
        Entry("Inflammatory", Cell.INFLAMMATORY),
        Entry("Connective", Cell.STROMAL),
        Entry("Dead", Cell.OTHER),
        Entry("Epithelial", Cell.EPITHELIAL),
        Entry("Stromal", Cell.STROMAL),
        Entry("Other", Cell.OTHER),
        Entry("Nucleus", UNTYPED),
    )
)


def read_coco(
    root: Path,
    *,
    classes: ClassMap = CLASSES,
    mpp: float | None = None,
    annotations: str = "*.json",
    organ: str = "",
    bgr: bool = False,
) -> Iterator[Sample]:
    """The pictures of COCO files, one by one; every nucleus is taken to be labelled.

    Parameters
    ----------
    mpp : um/px of the pictures; 0.25 where not given.
    annotations : name of the JSON file, or a pattern for several.
    bgr : the pictures were written with red and blue exchanged; put them right.

    Raises
    ------
    DataError : no COCO file, an unknown class, or a picture that is missing.
    """
    for path in found_files(root, annotations, f"annotations/{annotations}", what="COCO JSON"):
        held = load(path)
        names = {c["id"]: str(c["name"]) for c in held["categories"]}
        for image, objects in of_images(held, path):
            picture = find_picture(path, str(image["file_name"]))
            words = [names.get(o["category_id"], str(o["category_id"])) for o in objects]
            label = classes.cell_labels(words, path)
            xy = np.array([centre(o, path) for o in objects], np.float32).reshape(-1, 2)
            patient, site = tcga(picture.stem)
            yield Sample(
                name=picture.stem,
                source="coco",
                image=np.ascontiguousarray(read_rgb(picture)[..., ::-1]) if bgr else read_rgb(picture),
                mpp=mpp or MPP,
                x_px=xy[:, 0],
                y_px=xy[:, 1],
                label=label,
                group=patient or picture.stem,
                patient=patient,
                centre=site,
                organ=organ,
            )


def load(path: Path) -> dict[str, Any]:
    """The content of a COCO file."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise DataError("COCO file is missing or damaged", where=path, found=err, do="download it again") from err
    missing = set(_NEEDED) - set(held if isinstance(held, dict) else ())
    if missing:
        raise DataError("is not a COCO file", where=path, found=f"without {', '.join(sorted(missing))}")
    for part, keys in _NEEDED.items():
        entries = held[part] if isinstance(held[part], list) else [held[part]]
        for i, one in enumerate(entries):
            lost = [k for k in keys if not isinstance(one, dict) or k not in one]
            if lost:
                found, do = f"{part}[{i}] without {lost[0]}", f"each of {part} needs {' and '.join(keys)}"
                raise DataError("is not a COCO file", where=path, found=found, do=do)
    return dict(held)


def of_images(held: dict[str, Any], path: Path) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each picture of a COCO file with its objects, by file name."""
    objects: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for one in held["annotations"]:
        objects[one["image_id"]].append(one)
    lost = set(objects) - {i["id"] for i in held["images"]}
    if lost:
        raise DataError("objects of a picture that is not listed", where=path, found=sorted(map(str, lost))[0])
    return [(i, objects[i["id"]]) for i in sorted(held["images"], key=lambda i: str(i["file_name"]))]


def find_picture(path: Path, name: str) -> Path:
    """A picture that a COCO file names: beside it, or under `images`, whatever folders the name has."""
    short, here = Path(name.replace("\\", "/")).name, path.resolve().parent
    for place in (here / name, here / "images" / short, here / short, here.parent / short):
        if place.is_file():
            return place
    raise DataError("names a picture that is missing", where=path, found=name, do="unpack the pictures beside it")


def centre(one: dict[str, Any], path: Path) -> tuple[float, float]:
    """Centre of mass of an object in continuous pixels; the middle of its box where it has no outline."""
    try:
        shape = one.get("segmentation") or []
        if isinstance(shape, dict):
            return _mask_centre(shape)
        if any(shape):
            return outline_centre(*(np.array(ring, np.float64).reshape(-1, 2) for ring in shape if ring))
        return _box_middle(one)
    except (KeyError, TypeError, ValueError) as err:
        do = "write uncompressed run lengths, polygons or boxes"
        raise DataError("object without outline", where=path, found=f"id {one.get('id')}: {err}", do=do) from err


def box_middle(one: dict[str, Any], path: Path) -> tuple[float, float]:
    """Middle of an object's box in continuous pixels."""
    try:
        return _box_middle(one)
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(
            "object without box", where=path, found=f"id {one.get('id')}: {err}", do="unpack it again"
        ) from err


def _box_middle(one: dict[str, Any]) -> tuple[float, float]:
    x, y, w, h = (float(v) for v in one["bbox"])
    return x + w / 2, y + h / 2


def _mask_centre(shape: dict[str, Any]) -> tuple[float, float]:
    height, width = (int(v) for v in shape["size"])
    if isinstance(shape["counts"], str):
        raise ValueError("compressed run lengths")
    counts = np.array(shape["counts"], np.int64)
    if counts.sum() != height * width:
        raise ValueError(f"run lengths of {counts.sum()} pixels in a mask of {height * width}")
    mask = np.repeat(np.arange(len(counts)) % 2, counts).reshape(width, height).T
    _, (x, y) = instance_centres(mask)
    if not len(x):
        raise ValueError("an empty mask")
    return float(x[0]), float(y[0])
