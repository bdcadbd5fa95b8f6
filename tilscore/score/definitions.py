"""What each number is, in words, with its unit, its formula and its constants."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tilscore.score.config import ScoreConfig


def definitions(cfg: ScoreConfig, calibration: str | None = None) -> dict[str, dict[str, Any]]:
    """By number: `unit`, `what`, `formula` and `constants`."""
    inf = cfg.infiltrated
    return {
        "til_density_per_mm2": _one(
            "1/mm2", "inflammatory cells with their centre in evaluable stroma, per area of it", "n_tils / stroma_mm2"
        ),
        "stil_area_pct": _one(
            "%",
            "share of evaluable stroma that the TILs cover at a declared area each, at most 100; the cells' measured "
            "areas take its place where the cells carry them",
            "100 * n_tils * area_per_til_um2 / (stroma_mm2 * 1e6)",
            area_per_til_um2=cfg.area_per_til_um2,
        ),
        "infiltrated_area_pct": _one(
            "%",
            "share of evaluable stroma within a radius of a TIL of evaluable stroma; enclosed gaps are closed",
            "100 * infiltrated_mm2 / stroma_mm2",
            **asdict(inf),
        ),
        "calibrated_stil_pct": _one(
            "%",
            "monotone curve from one of the numbers to pathologists' sTIL %; null without a calibration",
            "curve(input)",
            calibration=calibration,
        ),
        "itil_density_per_mm2": _one(
            "1/mm2", "inflammatory cells with their centre in the bed's tumour, per area of it", "n_itils / tumour_mm2"
        ),
        "contact_itil_density_per_mm2": _one(
            "1/mm2",
            "inflammatory cells in the bed's tumour or in evaluable stroma that touches it, per area of both",
            "n_contact_itils / contact_mm2",
            contact_um=cfg.contact_um,
        ),
        "evaluable stroma": _one(
            "mm2", "pixels of stroma in the bed, on sound tissue, without what was drawn to be left out", "stroma_mm2"
        ),
        "bed": _one(
            "",
            "sound tissue near to tumour, gaps filled; a given area or a field is the bed as a whole; T is the "
            "tumour within radius_um of a nest, and the nest",
            "distance to a nest <= radius_um * clip((T - min_nest_um2) / (full_reach_um2 - min_nest_um2), 0, 1)",
            **asdict(cfg.bed),
        ),
    }


def _one(unit: str, what: str, formula: str, **constants: Any) -> dict[str, Any]:
    return {"unit": unit, "what": what, "formula": formula, "constants": constants}
