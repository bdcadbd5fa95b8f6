"""The score as a stage: cells, regions and tissue in; TILs per area of stroma out, with the account of every mm2."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tilscore.bed import BedConfig, Mask, find_bed
from tilscore.cells import Cells
from tilscore.config import as_values
from tilscore.errors import DataError
from tilscore.files import write_json
from tilscore.labels import Area, Cell, Region
from tilscore.raster import Raster

SCHEMA_VERSION = 1
COLUMNS = (
    "slide_id",
    "status",
    "reasons",
    "til_density_per_mm2",
    "stil_area_pct",
    "n_tils",
    "stroma_mm2",
    "tumour_mm2",
    "tissue_mm2",
    "mpp_um",
    "mpp_source",
    "model",
    "seconds",
)
"""Columns of `scores.csv`."""

REASONS = {
    "no_tissue": "no sound tissue was found on the slide",
    "no_tumour": "no tumour was found, so there is no tumour bed",
    "no_stroma": "the tumour bed holds no stroma",
    "stroma_too_small": "the tumour bed holds too little stroma for a score",
    "roi_empty": "the given area holds no tissue",
    "little_stroma": "under 0.1 mm2 of stroma: the score is uncertain",
    "low_resolution": "the slide is coarser than the model was trained on",
    "upsampled": "the slide is far coarser than the model was trained on",
    "mpp_differs_from_file": "the resolution given by hand is not the one that the file states",
    "mpp_against_objective": "the resolution does not fit the objective that the file states",
}
"""What the codes of `reasons` mean."""


@dataclass(frozen=True)
class ScoreConfig:
    """What is counted, and from when on there is a score."""

    bed: BedConfig = field(default_factory=BedConfig)
    area_per_til_um2: float = 28.3
    """Area of one TIL in the sTIL area %, declared: a disc of 6 um, the nucleus of a lymphocyte in fixed tissue. Others
    declare 64 to 113 um2, which counts cytoplasm and gaps too. The density is free of this choice."""
    min_prob: float = 0.0
    """Inflammatory cells of a lower probability do not count. The model's detection threshold was applied before, so 0
    counts all cells of the file, at the operating point that the model was set to."""
    min_tumour_mm2: float = 0.01
    """Less tumour than this in all is not trusted to be tumour (0.1 x 0.1 mm). Not asked of a given area."""
    min_stroma_mm2: float = 0.02
    """Below it a single cell moves the density by 50 per mm2: no score."""
    little_stroma_mm2: float = 0.1
    """Below it the score carries the flag `little_stroma`."""


@dataclass(frozen=True)
class Score:
    """The score of one slide; numbers are None where there is none.

    Parameters
    ----------
    status : `ok` or `not_evaluable`.
    reasons : codes of `REASONS`: why there is no score, or what to know about the one there is.
    til_density_per_mm2 : TILs in evaluable stroma per mm2 of it.
    stil_area_pct : 100 * n_tils * area_per_til / stroma area, at most 100.
    n_tils : inflammatory cells whose centre lies in evaluable stroma.
    itil_density_per_mm2 : inflammatory cells in tumour, per mm2 of tumour in the bed.
    stroma_mm2, tumour_mm2 : within the bed. tissue_mm2 : sound tissue of the whole slide.
    area_account_mm2 : every part of the slide once; sums to its area.
    """

    status: str
    reasons: tuple[str, ...]
    til_density_per_mm2: float | None
    stil_area_pct: float | None
    n_tils: int | None
    itil_density_per_mm2: float | None
    stroma_mm2: float
    tumour_mm2: float
    tissue_mm2: float
    area_account_mm2: dict[str, float]
    constants: dict[str, Any]

    def row(self, slide_id: str, *, mpp_um: float, mpp_source: str, model: str, seconds: float) -> dict[str, Any]:
        """The slide's row of `scores.csv`."""
        values = {name: getattr(self, name) for name in COLUMNS if hasattr(self, name)}
        values["reasons"] = ";".join(self.reasons)
        values |= {"slide_id": slide_id, "mpp_um": mpp_um, "mpp_source": mpp_source}
        return values | {"model": model, "seconds": seconds}


def failed_row(slide_id: str, code: str) -> dict[str, Any]:
    """The row of a slide that could not be processed: a status, a reason and no number."""
    return dict.fromkeys(COLUMNS) | {"slide_id": slide_id, "status": "failed", "reasons": code}


def score_slide(
    cells: Cells,
    regions: Raster,
    tissue: Raster,
    cfg: ScoreConfig | None = None,
    *,
    given: Mask | None = None,
    flags: tuple[str, ...] = (),
) -> Score:
    """Score one slide (Salgado et al. 2015: stroma of the tumour bed only, the whole of it, no hotspots).

    Parameters
    ----------
    regions : of `labels.Region`. tissue : of `labels.Area`.
    given : [h w] bool on the grid of `regions`: a drawn ROI or the whole of a field, which is the bed.
    flags : reasons that are known beforehand, e.g. `low_resolution`.

    Raises
    ------
    DataError : a map holds a value that is no class, or a cell has no position.
    """
    cfg = cfg or ScoreConfig()
    _check(cells, regions, tissue)
    grid = regions.grid
    bed = find_bed(regions, tissue, cfg.bed, given=given)
    account = area_account(regions, tissue, bed)
    stroma_mm2, tumour_mm2 = account["stroma"], account["tumour"]
    tissue_mm2 = sum(v for k, v in account.items() if k not in EXCLUDED)
    why = _why_not(account, tissue_mm2, cfg, given)
    n_tils = n_itils = None
    if not why:
        inflammatory = cells[(cells.label == Cell.INFLAMMATORY) & (cells.prob >= cfg.min_prob)]
        in_bed = Raster(np.where(bed, regions.values, 255).astype(np.uint8), grid)
        under = in_bed.sample(inflammatory.x_um, inflammatory.y_um)
        n_tils, n_itils = int((under == Region.STROMA).sum()), int((under == Region.TUMOUR).sum())
        if stroma_mm2 < cfg.little_stroma_mm2:
            flags = (*flags, "little_stroma")
    return Score(
        status="not_evaluable" if why else "ok",
        reasons=(*why, *flags),
        til_density_per_mm2=None if n_tils is None else n_tils / stroma_mm2,
        stil_area_pct=None if n_tils is None else min(100.0, n_tils * cfg.area_per_til_um2 / stroma_mm2 / 1e4),
        n_tils=n_tils,
        itil_density_per_mm2=n_itils / tumour_mm2 if n_itils is not None and tumour_mm2 else None,
        stroma_mm2=stroma_mm2,
        tumour_mm2=tumour_mm2,
        tissue_mm2=tissue_mm2,
        area_account_mm2=account,
        constants=as_values(cfg)
        | {"region_mpp": grid.mpp, "bed": "given" if given is not None else as_values(cfg.bed)},
    )


def _check(cells: Cells, regions: Raster, tissue: Raster) -> None:
    for raster, kind, name in ((regions, Region, "region map"), (tissue, Area, "tissue map")):
        worst = int(raster.values.max(initial=0))
        if worst >= len(kind):
            raise DataError(f"{name} with a value that is no class", found=worst, do="run the stage that writes it")
    if not (np.isfinite(cells.x_um).all() and np.isfinite(cells.y_um).all()):
        raise DataError("cells without a position", do="run `tilscore infer` again")


EXCLUDED = ("glass", "pen", "blur", "fold")


def area_account(regions: Raster, tissue: Raster, bed: Mask) -> dict[str, float]:
    """Area of every part of the slide in mm2, each pixel counted once: what is not sound tissue, what lies outside
    the bed, and the regions of the bed."""
    areas = tissue.on(regions.grid).values
    part = np.full(regions.grid.shape, len(Area), np.uint8)
    for area in Area:
        if area != Area.TISSUE:
            part[areas == area] = area
    part[bed] = regions.values[bed] + len(Area) + 1
    counts = np.bincount(part.ravel(), minlength=len(Area) + 1 + len(Region))
    names = [a.name.lower() for a in Area] + ["outside_bed"] + [r.name.lower() for r in Region]
    account = {name: int(n) * regions.grid.pixel_mm2 for name, n in zip(names, counts, strict=True)}
    del account["tissue"]
    return account


def _why_not(account: dict[str, float], tissue_mm2: float, cfg: ScoreConfig, given: Mask | None) -> tuple[str, ...]:
    """Codes of what makes a score impossible; empty where it is possible."""
    if tissue_mm2 == 0:
        return ("no_tissue",)
    if given is not None and not any(account[r.name.lower()] for r in Region):
        return ("roi_empty",)
    why = []
    if given is None and account["tumour"] < cfg.min_tumour_mm2:
        why.append("no_tumour")
    elif account["stroma"] == 0:
        why.append("no_stroma")
    elif account["stroma"] < cfg.min_stroma_mm2:
        why.append("stroma_too_small")
    return tuple(why)


def definitions(cfg: ScoreConfig) -> dict[str, str]:
    """What each number is, in words, with its constants."""
    return {
        "til_density_per_mm2": "inflammatory cells with their centre in evaluable stroma / area of that stroma, 1/mm2",
        "stil_area_pct": f"100 * n_tils * {cfg.area_per_til_um2} um2 / area of evaluable stroma, %",
        "itil_density_per_mm2": "inflammatory cells with their centre in the bed's tumour / area of that tumour, 1/mm2",
        "evaluable stroma": "pixels of stroma in the bed, on sound tissue (no pen, blur or fold)",
        "bed": f"sound tissue within {cfg.bed.radius_um} um of tumour; a given area or a field is the bed as a whole",
    }


def write_score(path: Path, score: Score, slide_id: str, cfg: ScoreConfig) -> None:
    """Write `score.json`."""
    head = {"schema_version": SCHEMA_VERSION, "slide_id": slide_id}
    write_json(path, head | asdict(score) | {"definitions": definitions(cfg)})


def read_score(path: Path) -> Score:
    """Read a `score.json`.

    Raises
    ------
    DataError : no such file, or not a score of this version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError("another schema version")
        for extra in ("slide_id", "definitions"):
            values.pop(extra)
        return Score(**values | {"reasons": tuple(values["reasons"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise DataError("is not a score", where=path, found=err, do="run `tilscore score` first") from err
