"""Lizard and its patches CoNIC: six types of nuclei in colon at 0.5 um/px (Graham et al. 2021, arXiv 2108.11195).

Lizard: warwick.ac.uk/fac/cross_fac/tia/data/lizard (CC BY-NC-SA 4.0). `lizard_images1/Lizard_Images1/<image>.png`,
`lizard_images2/Lizard_Images2/<image>.png`, `lizard_labels/Lizard_Labels/Labels/<image>.mat` with `inst_map` [h w],
`id` [n 1] (its numbers), `class` [n 1], `bbox`, `centroid`.
CoNIC: conic-challenge.grand-challenge.org (CC BY-NC-SA 4.0). One folder with `images.npy` [n 256 256 3] uint8,
`labels.npy` [n 256 256 2] uint16 (number, class), `counts.csv` and `patch_info.csv` (`patch_info`: `consep_1-0000`).
Both have the class codes 1 to 6 below. `counts.csv` counts the middle 224 px only: it is not used for positions.

Patches of one image overlap: the image is the group. Names begin with where an image comes from, a word of `ORIGINS`.
It tells the centre: CoNSeP, CRAG and GlaS are all of one hospital, that of `consep` and `crchisto` here; of the others
it is all that is told. **The set contains CoNSeP and PanNuke images**: leave them out with `skip: [consep, pannuke]`
where those sets test the model. Granulocytes are told apart here and are `other`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.instances import check_pictures, instance_centres, instance_codes, instance_map
from tilscore.datasets.reading import chosen, plain_word, read_mat, read_rgb
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import Cell

MPP = 0.5
ORIGINS = {"consep": "UHCW", "crag": "UHCW", "dpath": "dpath", "glas": "UHCW", "pannuke": "pannuke", "tcga": "tcga"}
"""Where an image comes from, the first word of its name, and the centre that this tells."""
_DO = "give the folder of this set alone, that holds lizard_images1, lizard_images2 and lizard_labels, unpacked"
CLASSES = ClassMap(
    cells=(
        Entry("no type", UNTYPED, 0),
        Entry("neutrophil", Cell.OTHER, 1),
        Entry("epithelial", Cell.EPITHELIAL, 2),
        Entry("lymphocyte", Cell.INFLAMMATORY, 3),
        Entry("plasma", Cell.INFLAMMATORY, 4),
        Entry("eosinophil", Cell.OTHER, 5),
        Entry("connective", Cell.STROMAL, 6),
    )
)


def read_lizard(
    root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None, skip: str | Collection[str] = ()
) -> Iterator[Sample]:
    """The images of Lizard, one by one; those whose name begins with a word of `skip` are left out.

    Raises
    ------
    ConfigError : a word of `skip` that no image of this set begins with.
    DataError : not this layout, an unknown class code, or a partner file that is missing or does not fit.
    """
    tables = _tables(root)
    left_out = chosen(skip, {*ORIGINS, *(_origin(t.stem) for t in tables)}, option="skip", where=root)
    pictures = {p.stem: p for p in root.glob("**/*.png") if "overlay" not in str(p.relative_to(root)).lower()}
    for table in tables:
        if plain_word(_origin(table.stem)) in left_out:
            continue
        if table.stem not in pictures:
            found = f"{len(pictures)} pictures, no {table.stem}.png"
            raise DataError("labels without their image below this folder", where=root, found=found, do=_DO)
        image = read_rgb(pictures[table.stem])
        held = read_mat(table, "inst_map", "id", "class")
        inst, number = instance_map(held["inst_map"], table), held["id"].ravel().astype(np.int64)
        if len(number) != held["class"].size:
            found = f"{len(number)} id, {held['class'].size} class"
            raise DataError("not one class a nucleus", where=table, found=found, do="unpack it again")
        if inst.shape != image.shape[:2]:
            raise DataError("map has another size than the image", where=table, found=f"{inst.shape}, {image.shape}")
        ids, points = instance_centres(inst)
        code = dict(zip(number.tolist(), held["class"].ravel().astype(int).tolist(), strict=True))
        label = classes.cell_codes(np.array([code.get(int(i), 0) for i in ids], np.int64), table)
        yield _sample("lizard", table.stem, table.stem, image, points, label, mpp)


def _tables(root: Path) -> list[Path]:
    """The label files, all of one folder."""
    tables = sorted(p for p in root.glob("**/Labels/*.mat") if not p.name.startswith("."))
    if not tables:
        raise DataError("no Labels/*.mat below this folder", where=root, do=_DO)
    places = sorted({p.parent.relative_to(root).as_posix() for p in tables})
    if len(places) > 1:  # a folder further up, where CoNSeP has Labels too
        raise DataError("several sets below this folder", where=root, found=", ".join(places), do=_DO)
    return tables


def read_conic(
    root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None, skip: str | Collection[str] = ()
) -> Iterator[Sample]:
    """The patches of CoNIC, one by one; the arrays are mapped, not loaded.

    Raises
    ------
    ConfigError : a word of `skip` that no image of this set begins with.
    DataError : not this layout, an unknown class code, or files that are missing or do not fit together.
    """
    images, labels = (_mapped(root / f) for f in ("images.npy", "labels.npy"))
    check_pictures(images, root / "images.npy")
    names = _table(root / "patch_info.csv").iloc[:, 0].astype(str).tolist()
    counts = root / "counts.csv"
    n_counts = len(_table(counts)) if counts.exists() else len(names)
    if not (len(images) == len(labels) == len(names) == n_counts) or labels.shape != (*images.shape[:3], 2):
        found = f"{images.shape}, {labels.shape}, {len(names)} names, {n_counts} counts"
        raise DataError("images, labels and tables do not fit together", where=root, found=found)
    left_out = chosen(skip, {*ORIGINS, *map(_origin, names)}, option="skip", where=root)
    for i, name in enumerate(names):
        if plain_word(_origin(name)) in left_out:
            continue
        inst, code = (np.asarray(labels[i, ..., c]).astype(np.int64) for c in (0, 1))
        _, points = instance_centres(inst)
        label = classes.cell_codes(instance_codes(inst, code), f"{root} patch {i}")
        image = np.array(images[i], np.uint8)
        yield _sample("conic", name, name.rsplit("-", 1)[0], image, points, label, mpp)


def _sample(
    source: str,
    name: str,
    group: str,
    image: NDArray[np.uint8],
    points: tuple[NDArray[np.float32], NDArray[np.float32]],
    label: NDArray[np.int8],
    mpp: float | None,
) -> Sample:
    centre = ORIGINS.get(_origin(name).lower(), _origin(name))
    return Sample(
        name, source, image, mpp or MPP, *points, label, group=group, patient="", centre=centre, organ="colon"
    )


def _origin(name: str) -> str:
    return name.split("_")[0]


def _mapped(path: Path) -> np.ndarray:
    try:
        mapped: np.ndarray = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as err:
        raise DataError("array is missing or damaged", where=path, found=err, do="unpack the set again") from err
    return mapped


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as err:
        raise DataError("table is missing or damaged", where=path, found=err, do="unpack the set again") from err
