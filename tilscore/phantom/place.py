"""Nuclei that keep apart: random points, and those that can stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tilscore.phantom.nuclei import Bank

SPACING = 1.05
"""Two nuclei are at least this many times the sum of their radii apart."""
_TILE_UM = 2000.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Nuclei:
    """Nuclei of a phantom, one entry each in every column.

    Parameters
    ----------
    x_um, y_um : [n] centres; float32 as in `Cells`, so that both fall into the same region.
    variant : [n] index into the `Bank`.
    """

    x_um: NDArray[np.float32]
    y_um: NDArray[np.float32]
    variant: Ints

    def __len__(self) -> int:
        return len(self.x_um)

    def __getitem__(self, keep: NDArray[np.bool_] | Ints | slice) -> Nuclei:
        return Nuclei(self.x_um[keep], self.y_um[keep], self.variant[keep])

    @classmethod
    def empty(cls) -> Nuclei:
        return cls(np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @classmethod
    def concat(cls, parts: list[Nuclei]) -> Nuclei:
        """All nuclei of `parts`, in order."""
        parts = [cls.empty(), *parts]
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("x_um", "y_um", "variant")))


def discs(nuclei: Nuclei, bank: Bank) -> tuple[Floats, Floats, Floats, Ints]:
    """Discs that cover each nucleus: x, y, radius in um and the index of the nucleus.

    A round nucleus is one disc with its short half axis; a long one a row of them along its axis.
    """
    a, b, theta = (column[nuclei.variant] for column in (bank.a_um, bank.b_um, bank.theta))
    n_side = np.ceil((a - b) / b - 0.02).astype(np.int64)
    count = 2 * n_side + 1
    owner = np.repeat(np.arange(len(nuclei)), count)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) - n_side[owner]
    offset = (a - b)[owner] * place / np.maximum(n_side, 1)[owner]
    x = nuclei.x_um.astype(np.float64)[owner] + offset * np.cos(theta[owner])
    y = nuclei.y_um.astype(np.float64)[owner] + offset * np.sin(theta[owner])
    return x, y, b[owner], owner


def overlaps(nuclei: Nuclei, bank: Bank) -> Ints:
    """[n 2] pairs of nuclei, the lower index first, that are closer than `SPACING` times the sum of their radii."""
    if len(nuclei) < 2:
        return np.zeros((0, 2), np.int64)
    x, y, r, owner = discs(nuclei, bank)
    points = np.column_stack([x, y])
    pairs = cKDTree(points).query_pairs(2 * SPACING * float(r.max()), output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    near = np.hypot(*(points[i] - points[j]).T) < SPACING * (r[i] + r[j])
    close = np.sort(owner[pairs[near & (owner[i] != owner[j])]], axis=1)
    return np.unique(close, axis=0)


def _stay(n_fixed: int, n: int, pairs: Ints) -> NDArray[np.bool_]:
    """Greedy choice in order of the index: who has no earlier conflicting neighbour that stays. The first are fixed."""
    state = np.zeros(n, np.int8)
    state[:n_fixed] = 1
    first, second = pairs[:, 0], pairs[:, 1]
    while (state == 0).any():
        state[second[(state[first] == 1) & (state[second] == 0)]] = -1
        open_pair = (state[first] == 0) & (state[second] == 0)
        waits = np.zeros(n, bool)
        waits[second[open_pair]] = True
        state[(state == 0) & ~waits] = 1
    return np.asarray(state == 1)


def add_apart(fixed: Nuclei, new: Nuclei, bank: Bank) -> NDArray[np.bool_]:
    """Which of `new` can stay beside `fixed` and beside those of `new` that came before."""
    keep = np.zeros(len(new), bool)
    if len(new) == 0:
        return keep
    tile = np.stack([new.y_um // _TILE_UM, new.x_um // _TILE_UM])
    reach = 4 * float(bank.a_um.max())
    for ty, tx in np.unique(tile, axis=1).T:
        here = np.flatnonzero((tile[0] == ty) & (tile[1] == tx))
        old = Nuclei.concat([_around(fixed, ty, tx, reach), _around(new[keep], ty, tx, reach)])
        both = Nuclei.concat([old, new[here]])
        keep[here] = _stay(len(old), len(both), overlaps(both, bank))[len(old) :]
    return keep


def _around(nuclei: Nuclei, ty: float, tx: float, reach: float) -> Nuclei:
    y0, x0 = ty * _TILE_UM - reach, tx * _TILE_UM - reach
    side = _TILE_UM + 2 * reach
    return nuclei[(nuclei.y_um > y0) & (nuclei.y_um < y0 + side) & (nuclei.x_um > x0) & (nuclei.x_um < x0 + side)]
