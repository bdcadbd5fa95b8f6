"""The figure of levels: every baseline biopsy in its place, for cohorts in which no change can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tilscore.cohort.page.figchange import FLOOR_PER_MM2, LONGEST, axes_sign
from tilscore.cohort.page.results import CohortResults
from tilscore.cohort.page.style import INK, MANY, MUTED, SPECIMENS, log_axis, new_figure, span, specimen_key
from tilscore.errors import printable
from tilscore.inputs.words import several

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def baselines(found: CohortResults) -> pd.DataFrame:
    """The baseline biopsies that have a score, the lowest density first, with `place` from 1."""
    here = found.biopsies[found.biopsies["til_density_per_mm2"].notna() & (found.biopsies["timepoint"] == "baseline")]
    here = here.sort_values(["til_density_per_mm2", "patient_id"], ignore_index=True)
    return here.assign(place=np.arange(1, len(here) + 1))


def levels(found: CohortResults) -> Figure:
    """Density of every patient's biopsy with its interval, in order; who is on the shortlist has a name."""
    here = baselines(found)
    figure = new_figure(9.0, 3.8)
    axes = figure.subplots()
    value, low, high = (
        here[name].astype(float).clip(lower=FLOOR_PER_MM2).to_numpy()
        for name in ("til_density_per_mm2", "til_density_low", "til_density_high")
    )
    place = here["place"].to_numpy()
    many = len(here) > MANY
    axes.vlines(place, low, high, color=MUTED, linewidth=0.8, alpha=0.6, rasterized=many)
    kind = here["specimen"].map(specimen_key)
    for name, (marker, colour) in SPECIMENS.items():
        chosen = (kind == name).to_numpy()
        axes.plot(place[chosen], value[chosen], marker, color=colour, markersize=4, markeredgewidth=0, rasterized=many)
    axes.axhline(float(np.median(value)), color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
    picked = {row["patient_id"] for row in (found.rank or {}).get("shortlist") or []}
    for patient, x, y in zip(here["patient_id"], place, high, strict=True):
        if patient in picked:
            where: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "va": "bottom"}
            axes.annotate(printable(patient, LONGEST), (x, y), rotation=90, fontsize=7, color=INK, **where)
    bottom, top = span([*low[np.isfinite(low)], *value, *high[np.isfinite(high)]])
    log_axis(axes.yaxis, bottom, top * (top / bottom) ** (0.25 if picked else 0))
    axes.set_ylabel("TILs per mm² of stroma")
    axes.set_xlabel(f"{several(len(here), 'patient')}, from the lowest to the highest density")
    axes.set_xlim(0, len(here) + 1)
    axes.grid(axis="y")
    signs = [axes_sign(name, *SPECIMENS[name]) for name in SPECIMENS if (kind == name).any()]
    figure.legend(handles=signs, loc="outside lower center", ncols=len(signs))
    return figure
