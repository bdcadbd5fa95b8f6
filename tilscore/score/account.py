"""The account: what each part of the slide is, what it holds, and what the score would be without taking it out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.labels import Region
from tilscore.masks import Mask
from tilscore.raster import Raster, in_mask
from tilscore.score.parts import Part, Parts, histogram
from tilscore.space import Grid

Floats = NDArray[np.floating[Any]]

MEANING = {
    Part.GLASS: "no tissue",
    Part.PEN: "pen marks on tissue or glass",
    Part.BLUR: "tissue out of focus: nuclei are missed there",
    Part.FOLD: "folded tissue",
    Part.EXCLUDED: "drawn as not to be scored",
    Part.CRUSH: "drawn as crushed",
    Part.BENIGN: "drawn as benign or in situ, and the stroma around it",
    Part.OUTSIDE_BED: "sound tissue outside the tumour bed",
    Part.EDGE: "rim of the tissue in the bed",
    Part.AGGREGATE: "lymphoid aggregates in the bed's stroma",
    Part.OTHER: "lumen and the like in the bed",
    Part.TUMOUR: "tumour (epithelium) in the bed",
    Part.STROMA: "evaluable stroma: the denominator",
    Part.NECROSIS: "necrosis in the bed",
    Part.FAT: "fat in the bed",
}
_BACK = (Part.BLUR, Part.FOLD, Part.EXCLUDED, Part.CRUSH, Part.BENIGN, Part.EDGE, Part.AGGREGATE)
"""Exclusions whose stroma within the bed would count."""
_AS_STROMA = (Part.NECROSIS, Part.FAT)
"""Exclusions that would count as a whole, as if they were stroma."""


@dataclass(frozen=True)
class Line:
    """One part in the account.

    Parameters
    ----------
    role : `counted` (the denominator), `excluded`, `flagged` (counted, but to be known), or `rest`.
    mm2, n_px : its area. A flagged part lies inside others and is not added.
    n_tils : inflammatory cells in it.
    stroma_mm2, n_stroma_tils : what would enter the score with it (or leave it, where it is flagged).
    score_without_this_exclusion : TILs per mm2 if it were not taken out (if it were, where it is flagged); the bed
        stays as it is. None where that means nothing, and for pen: what lies under it cannot be known.
    """

    part: str
    role: str
    meaning: str
    mm2: float
    n_px: int
    n_tils: int
    stroma_mm2: float | None = None
    n_stroma_tils: int | None = None
    score_without_this_exclusion: float | None = None


def account(
    parts: Parts, x_um: Floats, y_um: Floats, *, aggregates: Mask | None = None, scored: bool = True
) -> list[dict[str, Any]]:
    """Every part of the slide, once; the pixels sum to the slide's, those of tissue to the tissue's.

    Parameters
    ----------
    x_um, y_um : inflammatory cells. aggregates : [h w] bool: in evaluable stroma and counted, only flagged.
    scored : False leaves out what scores would be: the slide has none.
    """
    grid = parts.grid
    code = (parts.values * 10 + parts.regions * 2 + parts.reach).astype(np.uint8)
    n_px = histogram(code)[: len(Part) * 10].reshape(len(Part), 5, 2)
    # A point outside the grid reads 0: glass.
    under = Raster(code, grid).sample(x_um, y_um)
    n_cells = np.bincount(under, minlength=256)[: len(Part) * 10].reshape(len(Part), 5, 2)
    stroma_px, n_tils = parts.n_px[Part.STROMA], int(n_cells[Part.STROMA].sum())
    lines = []
    for part in Part:
        take = _taken_back(part)
        line = Line(
            part=part.name.lower(),
            role="counted" if part == Part.STROMA else "excluded" if take is not None or part == Part.PEN else "rest",
            meaning=MEANING[part],
            mm2=parts.mm2(part),
            n_px=parts.n_px[part],
            n_tils=int(n_cells[part].sum()),
        )
        if take is not None:
            line = _without(line, int(n_px[part][take].sum()), int(n_cells[part][take].sum()), stroma_px, n_tils, grid)
        lines.append(line)
    if aggregates is not None:
        held = int(aggregates.sum())
        inside = int(in_mask(aggregates, grid, x_um, y_um).sum())
        lines.append(_without(_flagged(held, inside, grid), -held, -inside, stroma_px, n_tils, grid))
    rows = [asdict(line) for line in lines]
    if not scored:
        for row in rows:
            row["score_without_this_exclusion"] = None
    return rows


def _taken_back(part: Part) -> tuple[Any, ...] | None:
    """Index into [region, within reach] of what of a part would count; None for a part that is no exclusion."""
    if part in _BACK:
        return Region.STROMA, 1
    if part == Part.OUTSIDE_BED:
        return Region.STROMA, slice(None)
    return (slice(None), slice(None)) if part in _AS_STROMA else None


def _without(line: Line, more_px: int, more_tils: int, stroma_px: int, n_tils: int, grid: Grid) -> Line:
    mm2 = (stroma_px + more_px) * grid.pixel_mm2
    return replace(
        line,
        stroma_mm2=abs(more_px) * grid.pixel_mm2,
        n_stroma_tils=abs(more_tils),
        score_without_this_exclusion=(n_tils + more_tils) / mm2 if mm2 > 0 else None,
    )


def _flagged(n_px: int, n_tils: int, grid: Grid) -> Line:
    meaning = MEANING[Part.AGGREGATE] + ": counted; the last column is the score if they were not"
    return Line("aggregate_flagged", "flagged", meaning, n_px * grid.pixel_mm2, n_px, n_tils)


def area_account(parts: Parts) -> dict[str, float]:
    """Area of every part in mm2."""
    return {part.name.lower(): parts.mm2(part) for part in Part}
