"""How a slide is cut for the network: rectangles on its tissue, each read with a margin around it.

Most of a biopsy's slide is glass, and so is most of a square laid over the edge of a core. The slide is cut into
squares, and each square again wherever that leaves less to compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tilscore.labels import Area
from tilscore.masks import extent
from tilscore.network.config import MPP, SIZE_MULTIPLE
from tilscore.raster import Raster
from tilscore.space import Grid, Window

ON_TISSUE = (Area.TISSUE, Area.BLUR, Area.FOLD)
"""Where cells are kept: the score leaves blur and folds out, the cells file does not."""
STEP_PX = 2 * SIZE_MULTIPLE
"""Sides of blocks are multiples of 32 um: few sizes, so that those of one size can be computed together."""
CUT_PX = 40_000
"""What a further block costs besides its pixels, in pixels: none is cut off for less."""


class Block(NamedTuple):
    """A piece of the slide at the network's resolution."""

    keep: Window
    """Cells centred here are this block's."""
    read: Window
    """What the network sees."""


class _Part(NamedTuple):
    """Rows and columns of a part of a mask."""

    top: int
    bottom: int
    left: int
    right: int


def plan_blocks(grid: Grid, tissue: Raster, *, block_um: float, halo_um: float, origin_um: float) -> list[Block]:
    """Blocks whose keep windows cover the tissue and do not overlap, the large ones first.

    Parameters
    ----------
    grid : the slide at the network's resolution.
    block_um : largest side of a keep window; halo_um : what is read around it.
    origin_um : where the first square starts. All three are rounded: blocks start at multiples of the network's
        coarsest pixel, so that every cut shows it the same tissue under the same pixels.
    """
    size = max(1, round(block_um / MPP / STEP_PX)) * STEP_PX
    halo = max(1, round(halo_um / MPP / SIZE_MULTIPLE)) * SIZE_MULTIPLE
    start = round(origin_um / MPP / SIZE_MULTIPLE) * SIZE_MULTIPLE % size
    start = start - size if start else 0
    on = _steps_with_tissue(grid, tissue, start)
    blocks = []
    for part in _squares(on, size // STEP_PX):
        for top, bottom, left, right in _cut(on, part, 2 * halo):
            x, y = start + left * STEP_PX, start + top * STEP_PX
            whole = Window(grid, x, y, (right - left) * STEP_PX, (bottom - top) * STEP_PX)
            blocks.append(Block(whole.clip(), whole.grow(halo)))
    return sorted(blocks, key=lambda b: (-b.read.w * b.read.h, b.read.w))


def _steps_with_tissue(grid: Grid, tissue: Raster, start: int) -> NDArray[np.bool_]:
    """[rows columns] bool: which squares of `STEP_PX` from `start` on hold tissue, however little."""
    inside = tissue.mask(*ON_TISSUE)
    for axis, n_px in ((0, grid.height_px), (1, grid.width_px)):
        edges_um = grid.to_um(np.append(np.arange(start, n_px, STEP_PX), n_px).clip(0))
        first = tissue.grid.index(edges_um[:-1])
        end = -tissue.grid.index(-edges_um[1:])  # rounded up
        sums = np.insert(np.cumsum(inside, axis=axis, dtype=np.int32), 0, 0, axis=axis)
        last = sums.shape[axis] - 1
        inside = sums.take(end.clip(0, last), axis=axis) > sums.take(first.clip(0, last), axis=axis)
    return inside


def _squares(on: NDArray[np.bool_], size: int) -> Iterator[_Part]:
    """The mask row by row in squares of at most `size`."""
    height, width = on.shape
    for top in range(0, height, size):
        for left in range(0, width, size):
            yield _Part(top, min(top + size, height), left, min(left + size, width))


def _cut(on: NDArray[np.bool_], part: _Part, margin_px: int) -> list[_Part]:
    """The cheapest parts found that hold all of a part's tissue; none without tissue.

    Each is shrunk to its tissue, and cut in two where the two, shrunk, cost the least, as long as that pays.
    """
    whole = _shrunk(on, part)
    if whole is None:
        return []
    top, bottom, left, right = whole
    if on[top:bottom, left:right].all():
        return [whole]
    cuts = [(_Part(top, y, left, right), _Part(y, bottom, left, right)) for y in range(top + 1, bottom)]
    cuts += [(_Part(top, bottom, left, x), _Part(top, bottom, x, right)) for x in range(left + 1, right)]
    both = [sum(_cost(shrunk, margin_px) for p in cut if (shrunk := _shrunk(on, p))) for cut in cuts]
    if not both or min(both) >= _cost(whole, margin_px):
        return [whole]
    return [part for half in cuts[int(np.argmin(both))] for part in _cut(on, half, margin_px)]


def _shrunk(on: NDArray[np.bool_], part: _Part) -> _Part | None:
    """The smallest part that holds a part's tissue."""
    rows, columns = extent(on[part.top : part.bottom, part.left : part.right])
    if rows.stop == 0:
        return None
    top, left = part.top, part.left
    return _Part(top + rows.start, top + rows.stop, left + columns.start, left + columns.stop)


def _cost(part: _Part, margin_px: int) -> int:
    """Pixels to compute for a part, and what a block costs besides."""
    height, width = (part.bottom - part.top) * STEP_PX, (part.right - part.left) * STEP_PX
    return (height + margin_px) * (width + margin_px) + CUT_PX
