"""Maps of numbered nuclei: their values checked, and the place and the class of each nucleus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.reading import Points
from tilscore.errors import DataError


def instance_map(values: np.ndarray, where: object) -> NDArray[np.int64]:
    """A map of numbers or codes [h w] as whole numbers.

    Raises
    ------
    DataError : a value below 0, or none at all.
    """
    inst = np.asarray(values)
    odd = inst[~((inst >= 0) & np.isfinite(inst))]
    if odd.size:
        raise DataError("a map holds a value that is no number of a nucleus", where=where, found=odd.flat[0])
    return inst.astype(np.int64)


def check_pictures(images: np.ndarray, where: object) -> None:
    """Refuse arrays of pictures that are not [n h w 3] of 0 to 255.

    Raises
    ------
    DataError : another shape, or grey levels from 0 to 1: as whole numbers all of them would be black.
    """
    if images.ndim != 4 or images.shape[3] != 3:
        raise DataError(
            "pictures are no array [n h w 3]", where=where, found=images.shape, do="use the set as published"
        )
    top = float(images[0].max(initial=0)) if images.dtype.kind == "f" and len(images) else 0.0
    if 0 < top <= 1:
        found, do = f"{images.dtype} up to {top:g}", "multiply them by 255"
        raise DataError("grey levels of pictures go from 0 to 255", where=where, found=found, do=do)


def instance_centres(inst: NDArray[np.integer]) -> tuple[NDArray[np.int64], Points]:
    """Numbers [n] of the nuclei of an instance map [h w] (0 = none) and their centres of mass.

    The centre of pixel 0 lies at 0.5.
    """
    rows, cols = np.nonzero(inst)
    ids, of = np.unique(inst[rows, cols], return_inverse=True)
    n = np.maximum(np.bincount(of, minlength=len(ids)), 1)
    x = np.bincount(of, cols, len(ids)) / n + 0.5
    y = np.bincount(of, rows, len(ids)) / n + 0.5
    return ids.astype(np.int64), (x.astype(np.float32), y.astype(np.float32))


def instance_codes(inst: NDArray[np.integer], codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """The commonest code [n] under each nucleus of an instance map, in the order of `instance_centres`.

    Code 0 (no class) counts only where a nucleus has no other.
    """
    at = inst > 0
    ids, of = np.unique(inst[at], return_inverse=True)
    value = codes[at].astype(np.int64)
    n_codes = int(value.max(initial=0)) + 1
    votes = np.bincount(of * n_codes + value, minlength=len(ids) * n_codes).reshape(len(ids), n_codes)
    votes[:, 0] = np.minimum(votes[:, 0], votes[:, 1:].sum(axis=1) == 0)
    return np.asarray(votes.argmax(axis=1), np.int64)
