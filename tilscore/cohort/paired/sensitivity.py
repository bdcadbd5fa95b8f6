"""The change again: under each definition of the score, and with pairs that are alike in one respect."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

from tilscore.cohort.paired.change import rank_row
from tilscore.cohort.paired.pairs import AnalyseConfig, Measure, build_pairs

COLUMNS = [
    *("timepoint", "definition", "pairs", "unit", "n_pairs", "n_effective", "estimate", "low", "high"),
    *("ratio", "ratio_low", "ratio_high", "p", "adjusted_for", "not_adjusted_for", "status", "reason"),
]


def definitions(biopsies: pd.DataFrame, scored: Collection[str]) -> list[Measure]:
    """Every score in the biopsies table that has a value: densities on the log scale, percentages in points.

    Parameters
    ----------
    scored : columns of the scores; others, such as Ki67 %, were carried from the manifest and are no TIL score.
    """
    found = []
    for column in (c for c in biopsies.columns if c in scored):
        scale = "log" if column.endswith("_per_mm2") else "points" if column.endswith("_pct") else None
        values = pd.to_numeric(biopsies[column], errors="coerce") if scale else None
        if scale and values is not None and values.notna().any() and (values.dropna() >= 0).all():
            found.append(Measure(column, column, "", "", scale))
    return found


def subsets(pairs: pd.DataFrame) -> dict[str, pd.Series]:
    """Which pairs count in each analysis."""
    cores = (pairs["specimen_before"] == "core") & (pairs["specimen_after"] == "core")
    everyone = pd.Series(True, index=pairs.index)
    return {
        "all": everyone,
        "same specimen": pairs["same_specimen"],
        "core only": cores,
        "same site": pairs["same_site"],
        "same specimen and site": pairs["same_specimen"] & pairs["same_site"],
    }


def sensitivity(biopsies: pd.DataFrame, scored: Collection[str], cfg: AnalyseConfig) -> pd.DataFrame:
    """Adjusted Hodges-Lehmann change for each time point, definition and choice of pairs (columns: `COLUMNS`).

    The p values are not corrected for their number: the table shows whether the result holds, it is no new test.

    Parameters
    ----------
    scored : as for `definitions`.
    """
    measures = definitions(biopsies, scored)
    pairs = build_pairs(biopsies, cfg, measures)
    rows: list[dict[str, Any]] = []
    for timepoint, group in pairs.groupby("timepoint", sort=False):
        chosen = subsets(group)
        for measure in measures:
            for name, mask in chosen.items():
                some = group[mask & group[measure.delta].notna()]
                row = rank_row(some, measure, cfg)
                rows.append(row | {"timepoint": timepoint, "definition": measure.column, "pairs": name})
    return pd.DataFrame(rows).reindex(columns=COLUMNS)
