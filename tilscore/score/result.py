"""The score of one slide, and its row of `scores.csv`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 2
COLUMNS_1 = (
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
"""Columns of version 1; later versions begin with them."""
COLUMNS = (
    *COLUMNS_1,
    "til_density_low",
    "til_density_high",
    "stil_area_low",
    "stil_area_high",
    "infiltrated_area_pct",
    "calibrated_stil_pct",
    "itil_density_per_mm2",
    "contact_itil_density_per_mm2",
    "n_cores",
    "site",
    "specimen",
    "settings",
    "version",
)
"""Columns of `scores.csv`; a later layout only adds some at the end."""


@dataclass(frozen=True)
class Score:
    """The score of one slide; numbers are None where there is none, and what version 1 did not know is None or empty.

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
    constants : every constant that entered.
    infiltrated_area_pct : share of evaluable stroma within a radius of a TIL, gaps closed.
    calibrated_stil_pct : the calibrated number; None without a calibration.
    contact_itil_density_per_mm2 : the same in tumour and in stroma that touches it.
    n_itils, n_contact_itils : the cells of the two.
    n_cores : numbered pieces of tissue; `cores` are their scores and `core_spread` is how they differ.
    intervals : 95 % intervals by number. compat : numbers of other systems.
    account : the parts with what they hold. aggregates : lymphoid aggregates.
    site, specimen : as stated; None where unknown. notes : codes of `NOTES`.
    stain : stain and focus, with what lies beyond the model's training (see `tilscore.stain`).
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
    infiltrated_area_pct: float | None = None
    calibrated_stil_pct: float | None = None
    contact_itil_density_per_mm2: float | None = None
    n_itils: int | None = None
    n_contact_itils: int | None = None
    contact_mm2: float | None = None
    """Area of the tumour and of the stroma that touches it."""
    n_cores: int | None = None
    cores: list[dict[str, Any]] = field(default_factory=list)
    core_spread: dict[str, Any] = field(default_factory=dict)
    intervals: dict[str, Any] = field(default_factory=dict)
    compat: dict[str, Any] = field(default_factory=dict)
    account: list[dict[str, Any]] = field(default_factory=list)
    aggregates: list[dict[str, Any]] = field(default_factory=list)
    site: str | None = None
    specimen: str | None = None
    notes: tuple[str, ...] = ()
    stain: dict[str, Any] = field(default_factory=dict)

    def bound(self, number: str, end: str) -> float | None:
        """`low` or `high` of a number's interval; None where there is none."""
        value = (self.intervals.get(number) or {}).get(end)
        return None if value is None else float(value)

    @property
    def til_density_low(self) -> float | None:
        return self.bound("til_density_per_mm2", "low")

    @property
    def til_density_high(self) -> float | None:
        return self.bound("til_density_per_mm2", "high")

    @property
    def stil_area_low(self) -> float | None:
        return self.bound("stil_area_pct", "low")

    @property
    def stil_area_high(self) -> float | None:
        return self.bound("stil_area_pct", "high")

    def row(
        self,
        slide_id: str,
        *,
        mpp_um: float,
        mpp_source: str,
        model: str,
        seconds: float,
        settings: str = "",
        version: str = "",
    ) -> dict[str, Any]:
        """The slide's row of `scores.csv`."""
        values = {name: getattr(self, name) for name in COLUMNS if hasattr(self, name)}
        values["reasons"] = ";".join(self.reasons)
        values |= {"slide_id": slide_id, "mpp_um": mpp_um, "mpp_source": mpp_source}
        return values | {"model": model, "seconds": seconds, "settings": settings, "version": version}


def failed_row(slide_id: str, code: str) -> dict[str, Any]:
    """The row of a slide that could not be processed: a status, a reason and no number."""
    return dict.fromkeys(COLUMNS) | {"slide_id": slide_id, "status": "failed", "reasons": code}
