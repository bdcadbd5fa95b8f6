"""The loop of inference: blocks of tissue read ahead, given to the network, and put together.

Worker processes read blocks, the backend finds cells in them, and each cell belongs to the one block whose keep
window holds its centre. Only points and the region map stay, so memory is flat in the size of the slide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tilscore.cells import Cells
from tilscore.config import check_ranges
from tilscore.errors import SlideError
from tilscore.infer.blocks import ON_TISSUE, Block, plan_blocks
from tilscore.network.config import MPP, REGION_STRIDE, StainRange
from tilscore.raster import Raster
from tilscore.slide import Slide, SlideSpec
from tilscore.slide.readahead import Pixels, read_windows
from tilscore.space import Grid
from tilscore.stain import GLASS_LEVEL, StainCheck, StainConfig, check_stain, glass_of, normalised, white_table
from tilscore.stain.white import Colour

if TYPE_CHECKING:
    from tilscore.backends import Backend, BlockResult

REGION_MPP = MPP * REGION_STRIDE
BLOCK_UM = 1024.0
"""Side of the blocks where none is given."""


@dataclass(frozen=True)
class InferConfig:
    """How the slide is cut and read."""

    block_um: float | None = None
    """Largest side of the blocks, rounded to 32 um; they are cut to the tissue. Larger ones waste less halo and need
    more memory. None = `BLOCK_UM` divided by the network's zoom, so that every network sees as many pixels."""
    halo_um: float = 96.0
    """What is read around a block, so that the network sees what a cell belongs to. Cells change up to 80 um from an
    edge: on a frozen section blocks of 256 um found 2.4 % fewer than blocks of 768 um with 64 um, 0.3 % with 96 um."""
    origin_um: float = 0.0
    """Where the first block starts; results hardly depend on it (a test holds that)."""
    turns: int = 1
    """Views of each block, turned and mirrored, whose maps are averaged (1, 2, 4 or 8): the time grows with them."""
    workers: int | None = None
    """Processes that read; 0 reads in this process; None = as many as the backend wants (1 on a CPU, 8 on a GPU)."""
    white_balance: bool = True
    """Brighten slides with tinted glass until it is white, as in training; fields, which may hold no glass, never."""
    stain: StainConfig = field(default_factory=StainConfig)
    """How stain and focus are measured."""
    stain_normalise: bool = False
    """Scale each stain of the slide to the model's typical density (see `stain.normalise`)."""
    max_unreadable_frac: float = 0.005
    """More unreadable pixels than this fail the slide: numbers from bad pixels are worse than none."""

    def __post_init__(self) -> None:
        lengths = {"block_um": (16, 8192), "halo_um": (0, 1024), "origin_um": (-8192, 8192)}
        check_ranges(self, "infer", **lengths, workers=(0, 1024), max_unreadable_frac=(0, 1))


class InferResult(NamedTuple):
    """Cells and regions of one slide."""

    cells: Cells
    regions: Raster
    n_blocks: int
    unreadable_frac: float
    glass_rgb: tuple[int, int, int] | None
    """Colour that was taken for white; None = the pixels were used as they are."""
    stain: StainCheck
    """Stain and focus, held against the model's range."""


def infer_slide(
    spec: SlideSpec,
    slide: Slide,
    tissue: Raster,
    backend: Backend,
    cfg: InferConfig,
    *,
    threshold: float,
    zoom: int = 1,
    stain_range: StainRange | None = None,
    allow_upsampling: bool = False,
    progress: bool = False,
) -> InferResult:
    """Find and name the nuclei and regions of one slide.

    Parameters
    ----------
    spec : what worker processes open; `slide` is the same slide, opened here.
    threshold : lowest probability of a nucleus.
    zoom : how many times the network magnifies what it sees.
    stain_range : what the model was trained on, where it states it.

    Raises
    ------
    SlideError : too many pixels cannot be read.
    """
    block_um = cfg.block_um or BLOCK_UM / zoom
    grid = slide.level0.at(MPP)
    blocks = plan_blocks(grid, tissue, block_um=block_um, halo_um=cfg.halo_um, origin_um=cfg.origin_um)
    glass = None if slide.is_field else glass_of(slide)
    stain = check_stain(
        slide, tissue, stain_range or StainRange(), cfg.stain, glass=glass, normalise=cfg.stain_normalise
    )
    prepare = _Preparation(glass, stain, balance=cfg.white_balance)
    workers = backend.readers if cfg.workers is None else cfg.workers
    pixels = read_windows(spec, slide, [b.read for b in blocks], workers, allow_upsampling=allow_upsampling)
    found, bar = _Found(slide.level0.at(REGION_MPP)), _TissueBar(tissue, progress)
    for batch in _batches(zip(blocks, pixels, strict=True), backend.batch):
        results = backend.detect(np.stack([prepare(p.image) for _, p in batch]), threshold)
        for (block, read), result in zip(batch, results, strict=True):
            found.add(block, read, result)
            bar.done(block)
    bar.close()
    backend.rest()
    if found.unreadable_frac > cfg.max_unreadable_frac:
        raise SlideError(
            "too much of the tissue cannot be read",
            where=slide.path,
            found=f"{found.unreadable_frac:.1%}",
            do="copy the file again or rescan the slide",
        )
    return InferResult(
        found.cells_on(tissue), found.regions, len(blocks), found.unreadable_frac, prepare.balanced, stain
    )


class _Found:
    """What the blocks have given so far."""

    def __init__(self, region_grid: Grid) -> None:
        self.regions = Raster(np.zeros(region_grid.shape, np.uint8), region_grid)
        self._cells: list[Cells] = []
        self._unreadable_um2 = self._read_um2 = 0.0

    def add(self, block: Block, read: Pixels, result: BlockResult) -> None:
        self._cells.append(_own_cells(block, result))
        _paste_regions(self.regions.values, block, result.regions)
        self._unreadable_um2 += read.unreadable_um2
        self._read_um2 += block.read.clip().box.area_mm2 * 1e6

    @property
    def unreadable_frac(self) -> float:
        return self._unreadable_um2 / max(self._read_um2, 1.0)

    def cells_on(self, tissue: Raster) -> Cells:
        """The cells on tissue, each with the region under it."""
        cells = Cells.concat(self._cells)
        cells = cells[np.isin(tissue.sample(cells.x_um, cells.y_um), ON_TISSUE)]
        return cells.with_region(self.regions.sample(cells.x_um, cells.y_um))


class _Preparation:
    """What is done to pixels before the network sees them: white balance, and stain normalisation where asked for."""

    def __init__(self, glass: Colour | None, stain: StainCheck, *, balance: bool) -> None:
        self.balanced = glass if balance else None
        self.table = None if self.balanced is None else white_table(self.balanced)
        self.how = stain.normalisation
        white = np.array([[glass or (GLASS_LEVEL,) * 3]], np.uint8)
        red, green, blue = (white if self.table is None else cv2.LUT(white, self.table))[0, 0].tolist()
        self.white: Colour = red, green, blue

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.table is not None:
            image = np.asarray(cv2.LUT(image, self.table), np.uint8)
        return normalised(image, self.how, self.white)


def _own_cells(block: Block, result: BlockResult) -> Cells:
    """The block's cells inside its keep window, on the slide."""
    peaks = result.peaks
    x_um = (peaks.x_px.astype(np.float64) + block.read.x) * MPP
    y_um = (peaks.y_px.astype(np.float64) + block.read.y) * MPP
    own = block.keep.box.contains(x_um, y_um)
    label = peaks.types.argmax(axis=1).astype(np.uint8)
    prob = peaks.detection * peaks.types.max(axis=1, initial=0)
    return Cells(x_um.astype(np.float32), y_um.astype(np.float32), label, prob)[own]


def _paste_regions(regions: NDArray[np.uint8], block: Block, values: NDArray[np.uint8]) -> None:
    """Put the keep window's part of a block's region map in its place."""
    s = REGION_STRIDE
    top, left = (block.keep.y - block.read.y) // s, (block.keep.x - block.read.x) // s
    y, x = block.keep.y // s, block.keep.x // s
    out = regions[y : y + -(-block.keep.h // s), x : x + -(-block.keep.w // s)]
    out[:] = values[top : top + out.shape[0], left : left + out.shape[1]]


def _batches(items: Iterator[tuple[Block, Pixels]], size: int) -> Iterator[list[tuple[Block, Pixels]]]:
    """Blocks of one shape together, up to `size` of them."""
    batch: list[tuple[Block, Pixels]] = []
    for block, pixels in items:
        if batch and (len(batch) == size or block.read.shape != batch[0][0].read.shape):
            yield batch
            batch = []
        batch.append((block, pixels))
    if batch:
        yield batch


class _TissueBar:
    """Progress in mm2 of tissue, with the rate and the time left."""

    def __init__(self, tissue: Raster, show: bool) -> None:
        self.tissue = tissue
        total = tissue.area_mm2(*ON_TISSUE)
        form = "{desc} {percentage:3.0f}% |{bar:24}| {n:.1f}/{total:.1f} mm2, {rate_fmt}, {remaining} left"
        self.bar = tqdm(total=total, unit="mm2", desc="infer", disable=not show, bar_format=form)

    def done(self, block: Block) -> None:
        window = self.tissue.grid.covering_window(block.keep.box).slices
        n = int(np.isin(self.tissue.values[window], ON_TISSUE).sum())
        self.bar.update(min(n * self.tissue.grid.pixel_mm2, max(self.bar.total - self.bar.n, 0)))

    def close(self) -> None:
        self.bar.close()
