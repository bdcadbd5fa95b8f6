"""PanNuke: nuclei of 19 organs, 256 px patches at 0.25 um/px (Gamper et al. 2020, arXiv 2003.10778).

Get the three folds from warwick.ac.uk/fac/cross_fac/tia/data/pannuke (CC BY-NC-SA 4.0). Layout of a fold:
`images/fold<k>/images.npy` [n 256 256 3] and `types.npy` [n] (organ), `masks/fold<k>/masks.npy` [n 256 256 6]:
one channel of instance numbers a class (neoplastic, inflammatory, connective, dead, epithelial), then background.
Both are float64: they are mapped, not loaded, and one patch is read at a time.

The set tells no patient. Its folds are its only published split, so a fold is the group: cross-validation over three
folds holds out one of them. Intervals draw its patches, as if each were of another patient: they are too narrow where
patches share a slide. Inflammatory includes granulocytes and macrophages. Labels were made half automatically.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.instances import check_pictures, instance_centres, instance_map
from tilscore.datasets.reading import chosen, found_files, plain_word
from tilscore.datasets.sample import Sample
from tilscore.errors import DataError
from tilscore.labels import Cell

MPP = 0.25
CLASSES = ClassMap(
    cells=(
        Entry("Neoplastic", Cell.EPITHELIAL, 0),
        Entry("Inflammatory", Cell.INFLAMMATORY, 1),
        Entry("Connective", Cell.STROMAL, 2),
        Entry("Dead", Cell.OTHER, 3),
        Entry("Epithelial", Cell.EPITHELIAL, 4),
    )
)


def read_pannuke(
    root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None, organs: str | Collection[str] = ()
) -> Iterator[Sample]:
    """The patches of all folds under `root`, one by one.

    Parameters
    ----------
    organs : organs to keep, e.g. "Breast" or ("Breast", "Adrenal gland"); empty = all. All three folds in memory take
        1.6 GB.

    Raises
    ------
    ConfigError : an organ that no patch is of.
    DataError : not this layout, or arrays that do not fit together.
    """
    paths = found_files(root.resolve(), "**/images.npy", what="images.npy")
    folds = [_arrays(path) for path in paths]
    wanted = chosen(organs, {str(t) for _, _, types in folds for t in types}, option="organs", where=root)
    for path, (images, masks, types) in zip(paths, folds, strict=True):
        fold = path.parent.name
        for i, organ in enumerate(str(t).lower() for t in types):
            if wanted and plain_word(organ) not in wanted:
                continue
            parts = [_channel(masks[i, ..., c], c, classes, path) for c in range(5)]
            label = np.concatenate([p[1] for p in parts])
            x, y = np.concatenate([p[0] for p in parts], axis=1)
            yield Sample(
                name=f"{fold}-{i:04d}",
                source="pannuke",
                image=np.asarray(images[i]).astype(np.uint8),
                mpp=mpp or MPP,
                x_px=x,
                y_px=y,
                label=label,
                group=fold,
                unit=f"{fold}-{i:04d}",
                organ=organ.replace("_", " "),
            )


def _channel(inst: np.ndarray, code: int, classes: ClassMap, where: Path) -> tuple[np.ndarray, np.ndarray]:
    """Centres [2 n] and labels [n] of one class's channel."""
    ids, points = instance_centres(instance_map(inst, where))
    return np.stack(points), classes.cell_codes(np.full(len(ids), code), where)


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, masks and organs of a fold, mapped."""
    masks = path.parents[2] / "masks" / path.parent.name / "masks.npy"
    masks = masks if masks.exists() else path.with_name("masks.npy")
    files = (path, masks, path.with_name("types.npy"))
    for file in files:
        if not file.is_file():
            raise DataError("partner file is missing", where=file, do="unpack the fold again")
    try:
        images, inst = (np.load(f, mmap_mode="r") for f in files[:2])
        types = np.load(files[2])
    except (OSError, ValueError, EOFError) as err:
        raise DataError("array is damaged", where=path.parent, found=err, do="unpack the fold again") from err
    check_pictures(images, path)
    if images.shape[:3] != inst.shape[:3] or inst.shape[3:] != (6,) or len(types) != len(images):
        found = f"{images.shape}, {inst.shape}, {types.shape}"
        raise DataError("images, masks and types do not fit together", where=path.parent, found=found)
    return images, inst, types
