"""Figures of agreement from a table of readings (columns case, reader, score)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tilscore.stats.agreement import (
    CATEGORY_CUTS,
    Estimate,
    Floats,
    bland_altman,
    categories,
    ccc,
    cross_table,
    mae,
    pearson,
    quadratic_kappa,
    spearman,
)

if TYPE_CHECKING:
    import pandas as pd


def flat(name: str, figure: Estimate) -> dict[str, float | None]:
    """`{name, name_low, name_high}`; of a limit of agreement `{name, name_from, name_to}`."""
    low, high = ("from", "to") if "limit_" in name else ("low", "high")
    return {name: figure.value, f"{name}_{low}": figure.low, f"{name}_{high}": figure.high}


def flat_all(figures: Mapping[str, Estimate], prefix: str = "") -> dict[str, float | None]:
    """`flat` of each, names with `prefix`."""
    return {k: v for name, figure in figures.items() for k, v in flat(prefix + name, figure).items()}


def two_figures(x: Floats, y: Floats) -> dict[str, Any]:
    """All figures of two measurements of independent cases (x - y), in percent points."""
    limits = bland_altman(x, y)
    named = {
        "pearson": pearson(x, y),
        "spearman": spearman(x, y),
        "ccc": ccc(x, y),
        "mae": mae(x, y),
        "bias": limits.bias,
        "limit_low": limits.low_limit,
        "limit_high": limits.high_limit,
        "kappa_quadratic": quadratic_kappa(x, y),
        "slope_of_difference": limits.slope,
        "slope_of_spread": limits.spread_slope,
    }
    result: dict[str, Any] = {"n_cases": len(x), **flat_all(named)}
    result["difference_sd"] = limits.sd
    result["category_table"] = cross_table(x, y).astype(int).tolist()
    return result


def others_mean(frame: pd.DataFrame, min_readers: int) -> pd.DataFrame:
    """Each score of a case with enough readers, with the mean of the other readers' (columns score, others)."""
    group = frame.groupby("case", sort=False)["score"]
    n, total = group.transform("size"), group.transform("sum")
    kept = n >= max(2, min_readers)
    return frame[kept].assign(others=((total - frame["score"]) / (n - 1).clip(lower=1))[kept])


def every_pair(frame: pd.DataFrame) -> tuple[Floats, Floats, np.ndarray]:
    """All pairs of readers of a case, in both orders: first, second, case."""
    ordered = frame.sort_values("case", kind="stable")
    score = ordered["score"].to_numpy(float)
    names, start, size = np.unique(ordered["case"].to_numpy(str), return_index=True, return_counts=True)
    first, second, case = [], [], []
    for k in np.unique(size[size > 1]):
        i, j = np.nonzero(~np.eye(k, dtype=bool))
        at = start[size == k]
        first.append((at[:, None] + i).ravel())
        second.append((at[:, None] + j).ravel())
        case.append(np.repeat(names[size == k], len(i)))
    if not first:
        return np.zeros(0), np.zeros(0), np.zeros(0, str)
    return score[np.concatenate(first)], score[np.concatenate(second)], np.concatenate(case)


def spread_by_category(x: Floats, y: Floats) -> list[float | None]:
    """Root mean square difference of a pair, by the category of the pair's mean."""
    level = categories((x + y) / 2)
    found = [(x - y)[level == k] for k in range(len(CATEGORY_CUTS) + 1)]
    return [float(np.sqrt((d**2).mean())) if len(d) else None for d in found]
