"""The score as a stage: cells, regions and tissue in; numbers with their intervals, account and reasons out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.config import as_values
from tilscore.errors import DataError
from tilscore.labels import Area, Cell, Region
from tilscore.masks import Mask
from tilscore.raster import Raster
from tilscore.score.account import account, area_account
from tilscore.score.aggregates import describe_aggregates, find_aggregates
from tilscore.score.bounds import make_intervals
from tilscore.score.config import ScoreConfig
from tilscore.score.cores import Cores, core_scores, core_spread, find_cores
from tilscore.score.numbers import Tils, make_numbers
from tilscore.score.parts import Part, Parts, divide, histogram
from tilscore.score.result import Score
from tilscore.score.sites import bed_rules, rules
from tilscore.space import BoxUm

Drawn = Mapping[str, Mask]


@dataclass(frozen=True)
class Scored:
    """A score with the map that it was counted on."""

    score: Score
    parts: Parts


def score_with_parts(
    cells: Cells,
    regions: Raster,
    tissue: Raster,
    cfg: ScoreConfig | None = None,
    *,
    given: Mask | None = None,
    drawn: Drawn | None = None,
    flags: tuple[str, ...] = (),
    site: str | None = None,
    specimen: str | None = None,
    cell_areas_um2: NDArray[np.floating[Any]] | None = None,
    box: BoxUm | None = None,
) -> Scored:
    """Score one slide (Salgado et al. 2015: stroma of the tumour bed only, the whole of it, no hotspots).

    Parameters
    ----------
    cells : of the whole slide, found by whatever.
    regions : of `labels.Region`. tissue : of `labels.Area`, at any resolution; both of the slide from its corner.
    given : [h w] bool on the grid of `regions`: the area that is the bed, e.g. the whole of a field. At a site whose
        own tissue is full of lymphocytes the bed is found in it, between the nests.
    drawn : [h w] bool on that grid by kind of drawn area (`roi.KINDS`); `roi` takes the place of `given`, and is the
        bed as it was drawn at every site.
    flags : reasons that are known beforehand, e.g. `low_resolution`.
    site, specimen : words of `sites.SITES` and `sites.SPECIMENS`; None where unknown.
    cell_areas_um2 : [n] measured area of each cell, where there is one.
    box : the slide, whose last pixels the maps may reach beyond.

    Raises
    ------
    DataError : a map holds a value that is no class, the maps are not of one size in microns, or a cell has no position
        or one outside of them.
    UsageError : an unknown site or specimen.
    """
    cfg, drawn = cfg or ScoreConfig(), drawn or {}
    _check(cells, regions, tissue)
    site_rule, specimen_rule = rules(site, specimen)
    roi = drawn.get("roi")
    bed = cfg.bed if roi is not None else bed_rules(cfg.bed, site_rule)
    given = given if roi is None else roi
    parts = divide(regions, tissue, cfg, bed, given=given, drawn=drawn, box=box)
    if bed.inside_only:
        given = None  # the bed was found
    tils, parts, aggregates = _counted(cells, parts, drawn, cfg, cell_areas_um2)
    why = (specimen_rule.code,) if not specimen_rule.evaluable else _not_evaluable(parts, cfg, given)
    cores = find_cores(tissue, cfg.cores)
    head = _head(tils, parts, aggregates, cfg, tls=drawn.get("tls"), scored=not why)
    head |= {"site": site, "specimen": specimen, "notes": _notes(site, specimen, cell_areas_um2 is not None, cfg)}
    head["n_cores"] = len(cores)
    head["constants"]["bed"] = "given" if given is not None else as_values(bed)
    warned = (site_rule.code,) if site_rule.code else ()
    if why:
        return Scored(Score(status="not_evaluable", reasons=(*why, *flags, *warned), **_NO_NUMBERS, **head), parts)
    numbers, doubts = _scored(cells, tils, parts, cores, cfg)
    head["constants"] |= numbers.pop("constants")
    n_in_aggregates = sum(one["n_tils"] for one in head["aggregates"])
    reasons = (*flags, *_cautions(parts, n_in_aggregates, cfg, given), *doubts, *warned)
    return Scored(Score(status="ok", reasons=reasons, **numbers, **head), parts)


_NO_NUMBERS: dict[str, Any] = dict.fromkeys(
    ("til_density_per_mm2", "stil_area_pct", "n_tils", "itil_density_per_mm2"), None
)


def _check(cells: Cells, regions: Raster, tissue: Raster) -> None:
    for raster, kind, name in ((regions, Region, "region map"), (tissue, Area, "tissue map")):
        worst = int(raster.values.max(initial=0))
        if worst >= len(kind):
            raise DataError(f"{name} with a value that is no class", found=worst, do="run the stage that writes it")
    if not (np.isfinite(cells.x_um).all() and np.isfinite(cells.y_um).all()):
        raise DataError("cells without a position", do="run `tilscore infer` again")
    outside = len(cells) - int(regions.grid.box.grow(regions.grid.mpp).contains(cells.x_um, cells.y_um).sum())
    if outside:
        do = "give positions in microns from the top left corner of level 0"
        raise DataError("cells outside the region map", found=f"{outside} of {len(cells)}", do=do)
    for side in ("width_um", "height_um"):
        sizes = [getattr(raster.grid, side) for raster in (regions, tissue)]
        if abs(sizes[0] - sizes[1]) > regions.grid.mpp + tissue.grid.mpp:
            found = " and ".join(f"{size:g} um" for size in sizes)
            raise DataError("region map and tissue map are not of one slide", found=found, do="check their resolution")


def _counted(
    cells: Cells, parts: Parts, drawn: Drawn, cfg: ScoreConfig, cell_areas_um2: NDArray[np.floating[Any]] | None
) -> tuple[Tils, Parts, Mask]:
    """The inflammatory cells that count; the parts, without lymphoid aggregates where these are left out; and [h w]
    bool where they lie."""
    keep = (cells.label == Cell.INFLAMMATORY) & (cells.prob >= cfg.min_prob)
    areas = None if cell_areas_um2 is None else np.asarray(cell_areas_um2, np.float64)[keep]
    tils = Tils.of(cells[keep], parts, areas)
    aggregates = _aggregates(tils, parts, drawn, cfg)
    if cfg.aggregates.exclude and aggregates.any():
        parts = replace(parts, values=np.where(aggregates, np.uint8(Part.AGGREGATE), parts.values))
        tils = Tils.of(cells[keep], parts, areas)
    return tils, parts, aggregates


def _aggregates(tils: Tils, parts: Parts, drawn: Drawn, cfg: ScoreConfig) -> Mask:
    """[h w] bool: lymphoid aggregates in evaluable stroma, found and drawn."""
    stroma = parts.stroma()
    near = tils.of_part(Part.STROMA, Part.TUMOUR)
    aggregates = find_aggregates(near.x_um, near.y_um, stroma, parts.grid, cfg.aggregates)
    return aggregates | (stroma & drawn["tls"]) if "tls" in drawn else aggregates


def _not_evaluable(parts: Parts, cfg: ScoreConfig, given: Mask | None) -> tuple[str, ...]:
    """Codes of what makes a score impossible; empty where it is possible."""
    if parts.tissue_mm2 == 0:
        return ("no_tissue",)
    inside = sum(parts.n_px[p] for p in Part if p >= Part.EDGE)
    stroma_mm2, tumour_mm2, necrosis_px = parts.mm2(Part.STROMA), parts.mm2(Part.TUMOUR), _necrosis_px(parts)
    if given is not None and not inside:
        return (_why_empty(parts),)
    if given is None and (tumour_mm2 == 0 or tumour_mm2 < cfg.min_tumour_mm2):
        if parts.benign_drawn:
            return ("benign_only",)
        left_out = np.isin(parts.values, (Part.EXCLUDED, Part.CRUSH)) & (parts.regions == Region.TUMOUR)
        if (n_px := int(left_out.sum())) and n_px * parts.grid.pixel_mm2 >= cfg.min_tumour_mm2:
            return ("tumour_left_out",)
        return ("necrosis_only" if 2 * necrosis_px * parts.grid.pixel_mm2 >= parts.tissue_mm2 else "no_tumour",)
    if stroma_mm2 == 0:
        return ("necrosis_only" if 2 * parts.n_px[Part.NECROSIS] >= inside else "no_stroma",)
    return ("stroma_too_small",) if stroma_mm2 < cfg.min_stroma_mm2 else ()


def _why_empty(parts: Parts) -> str:
    """Code of what leaves a given area with nothing to score: what was drawn in it, wherever else such areas lie."""
    held = histogram(parts.values[parts.reach])
    if held[Part.BENIGN]:
        return "benign_only"
    return "roi_left_out" if held[Part.EXCLUDED] + held[Part.CRUSH] else "roi_empty"


def _necrosis_px(parts: Parts) -> int:
    """Pixels of necrosis on sound tissue, in the bed or not."""
    return int(((parts.regions == Region.NECROSIS) & (parts.values >= Part.EXCLUDED)).sum())


def _head(
    tils: Tils, parts: Parts, aggregates: Mask, cfg: ScoreConfig, *, tls: Mask | None, scored: bool
) -> dict[str, Any]:
    """Areas and their account, which every slide has."""
    flagged = aggregates if aggregates.any() and not cfg.aggregates.exclude else None
    return {
        "stroma_mm2": parts.mm2(Part.STROMA),
        "tumour_mm2": parts.mm2(Part.TUMOUR),
        "tissue_mm2": parts.tissue_mm2,
        "area_account_mm2": area_account(parts),
        "account": account(parts, tils.x_um, tils.y_um, aggregates=flagged, scored=scored),
        "aggregates": describe_aggregates(aggregates, parts.grid, tils.x_um, tils.y_um, tls),
        "constants": _constants(cfg) | {"region_mpp": parts.grid.mpp, "slide_mm2": parts.slide_mm2},
    }


def _constants(cfg: ScoreConfig) -> dict[str, Any]:
    """The settings; of the calibration the file's name alone, for a score is handed on and its folders are not."""
    return as_values(cfg) | {"calibration": cfg.calibration and cfg.calibration.name}


def _notes(site: str | None, specimen: str | None, measured: bool, cfg: ScoreConfig) -> tuple[str, ...]:
    facts = {
        "site_unknown": site is None,
        "specimen_unknown": specimen is None,
        "no_cell_areas": not measured,
        "no_calibration": cfg.calibration is None,
    }
    return tuple(code for code, holds in facts.items() if holds)


def _scored(
    cells: Cells, tils: Tils, parts: Parts, cores: Cores, cfg: ScoreConfig
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The numbers of a slide that has a score, by name, and codes of what to know about their intervals."""
    numbers = make_numbers(cells, tils, parts, cfg)
    intervals, doubts = make_intervals(numbers, parts, cfg)
    counted = numbers.stroma_tils
    each = core_scores(
        cores,
        parts.raster,
        (counted.x_um, counted.y_um),
        min_stroma_mm2=cfg.min_stroma_mm2,
        area_per_til_um2=numbers.area_per_til_um2,
    )
    made = {"constants": numbers.constants, "intervals": intervals, "cores": each, "core_spread": core_spread(each)}
    return numbers.values | made, doubts


def _cautions(parts: Parts, n_in_aggregates: int, cfg: ScoreConfig, given: Mask | None) -> tuple[str, ...]:
    """Codes of what to know about the tissue under a score; `n_in_aggregates` of its TILs lie in aggregates."""
    tumour_mm2 = parts.mm2(Part.TUMOUR)
    facts = {
        "lymphoid_aggregates": n_in_aggregates > 0 and not cfg.aggregates.exclude,
        "little_tumour": given is None and tumour_mm2 < cfg.little_tumour_mm2,
        "no_tumour_in_area": given is not None and tumour_mm2 < cfg.min_tumour_mm2,
        "little_stroma": parts.mm2(Part.STROMA) < cfg.little_stroma_mm2,
    }
    return tuple(code for code, holds in facts.items() if holds)
