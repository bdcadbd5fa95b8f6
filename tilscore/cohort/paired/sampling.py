"""What differs in the sampling of pairs, and what of it a change can be adjusted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.cohort.paired.pairs import AnalyseConfig

Floats = NDArray[np.float64]
_NOT = "site: not "
"""Before the most common site, the name of the column of all others."""


@dataclass(frozen=True)
class Covariates:
    """Differences of the sampling within pairs, as columns of a regression.

    Attributes
    ----------
    x : (n, k), after minus before. names : the k columns. used, dropped : names of the factors in and left out;
    a dropped factor differs within pairs but could not be adjusted for. unknown : factors that may differ unseen, with
    the number of pairs. one_site : the site that all others, as one group, are compared with; None where each has its
    column.
    """

    x: Floats
    names: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    one_site: str | None = None

    @property
    def told(self) -> list[str]:
        """What is adjusted for, and of sites in two groups which: the sites of the second may still differ."""
        groups = {} if self.one_site is None else {"site": f"site ({self.one_site} against all others)"}
        return [groups.get(factor, factor) for factor in self.used]

    @property
    def lacking(self) -> list[str]:
        """What differs, or may differ, and is not adjusted for."""
        return [*self.dropped, *self.unknown]


def covariates(pairs: pd.DataFrame, cfg: AnalyseConfig, n_taken: int = 0) -> Covariates:
    """Covariate differences of pairs, the most important first: specimen, area, site, cores.

    Factors that do not differ in any pair add no column; sites too many for the pairs become two groups, the most
    common one and the others.

    Parameters
    ----------
    n_taken : columns of the regression, beside the mean, that the pairs must have room for too.
    """
    limit = len(pairs) // cfg.n_pairs_per_term - n_taken
    columns: list[Floats] = []
    found = Covariates(np.zeros((len(pairs), 0)))
    for factor in ("specimen", "area", "site", "cores"):
        new = _differing(pairs, factor)
        if factor == "site" and len(columns) + len(new) > limit:
            new = _differing(pairs, "site in two groups")
        if not new:
            continue
        if len(columns) + len(new) > limit:
            found.dropped.append(factor)
            continue
        columns += list(new.values())
        found.names.extend(new)
        found.used.append(factor)
    x = np.column_stack(columns) if columns else np.zeros((len(pairs), 0))
    one_site = next((name.removeprefix(_NOT) for name in found.names if name.startswith(_NOT)), None)
    return Covariates(x, found.names, found.used, found.dropped, unknown_sampling(pairs, found.dropped), one_site)


def unknown_sampling(pairs: pd.DataFrame, dropped: Sequence[str]) -> list[str]:
    """Specimen and site where both biopsies of a pair are unknown or mixed: no column of a regression sees these.

    Parameters
    ----------
    dropped : factors that are named as not adjusted for anyway.
    """
    said = []
    for name in ("specimen", "site"):
        n = int(((pairs[f"{name}_before"] == pairs[f"{name}_after"]) & ~pairs[f"same_{name}"]).sum())
        if n and name not in dropped:
            said.append(f"{name} (unknown or mixed in {n} of {len(pairs)} pairs)")
    return said


def confounded(pairs: pd.DataFrame, dropped: Sequence[str], cfg: AnalyseConfig) -> str | None:
    """Why a change cannot be told from a change of specimen that could not be adjusted for, or None."""
    n = int(pairs["same_specimen"].sum())
    if "specimen" not in dropped or n >= cfg.n_min_effective:
        return None
    return f"confounded: {n} of {len(pairs)} pairs are known to be alike in specimen, too few to tell a change from it"


def _differing(pairs: pd.DataFrame, factor: str) -> dict[str, Floats]:
    """Columns of one factor that differ in some pair."""
    return {name: column for name, column in _differences(pairs, factor).items() if np.any(column != 0)}


def _differences(pairs: pd.DataFrame, factor: str) -> dict[str, Floats]:
    """Columns of one factor, after minus before."""
    if factor == "site in two groups":
        before, after = pairs["site_before"], pairs["site_after"]
        most = pd.concat([before, after]).value_counts().sort_index().idxmax()
        return {f"{_NOT}{most}": (after != most).to_numpy(float) - (before != most).to_numpy(float)}
    if factor in ("specimen", "site"):
        before, after = pairs[f"{factor}_before"], pairs[f"{factor}_after"]
        levels = (
            pd.concat([before, after]).value_counts().sort_index().sort_values(ascending=False, kind="stable").index
        )
        return {
            f"{factor}: {level}": (after == level).to_numpy(float) - (before == level).to_numpy(float)
            for level in levels[1:]
        }
    if factor == "area":
        area = pairs[["stroma_mm2_before", "stroma_mm2_after"]].to_numpy(float)
        if area.size == 0 or not np.isfinite(area).all() or (area <= 0).any():
            return {}
        return {"log area": np.log(area[:, 1] / area[:, 0])}
    sides = [core_number(pairs[f"specimen_{s}"], pairs[f"n_cores_{s}"]) for s in ("before", "after")]
    return {"log cores": sides[1] - sides[0]}


def core_number(specimen: pd.Series, n_cores: pd.Series) -> Floats:
    """Log of the number of cores against a typical 3; 0 where there are no cores or nobody counted them."""
    counted = pd.to_numeric(n_cores, errors="coerce").astype(float)
    known = (specimen == "core") & counted.gt(0)
    numbers: Floats = np.log(counted.where(known, 3.0).to_numpy(float) / 3.0)
    return numbers
