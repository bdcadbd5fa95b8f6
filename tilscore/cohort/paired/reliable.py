"""Each patient's own change without what the sampling explains, and whether it is more than measurement error."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from tilscore.cohort.paired.change import unusable
from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, Measure
from tilscore.cohort.paired.sampling import Covariates, covariates
from tilscore.stats.leaveoneout import leave_one_out

N_ALIKE = 5
"""Other pairs that must differ in the same way before a patient's change is freed of it."""
MAX_LEVERAGE = 0.5
"""Beyond, a pair decides its own adjustment more than all others together."""
ADJUSTED, PLAIN = "adjusted", "plain"
RARE, HEAVY, APART, UNKNOWN = "rare_difference", "high_leverage", "sampling_differs", "no_interval"
_PARTS = ("adjusted", "adjusted_error_sd", "rci_adjusted", "reliable", "rci_basis", "rci_reason")


def add_adjusted(pairs: pd.DataFrame, cfg: AnalyseConfig) -> pd.DataFrame:
    """Each patient's delta without the part that the sampling explains, its index, and whether the change is reliable.

    The part is estimated from the other pairs of the time point (`stats.leaveoneout`), and its variance is added to
    that of the measurement. Adds for each measure `_adjusted` (delta), `_adjusted_error_sd`, `_rci_adjusted`,
    `_reliable` (`increase`, `decrease`, `none`), `_rci_basis` and `_rci_reason`. Where a time point cannot be adjusted,
    or nothing differs, the basis is `plain` and the delta as it is. Without an index `_rci_reason` says why:
    `rare_difference` (fewer than `N_ALIKE` other pairs differ in that way) and `high_leverage` (above `MAX_LEVERAGE`),
    both without `_adjusted` too; `sampling_differs` (specimen or site differ and are not adjusted for); `no_interval`.
    """
    out = pairs.copy()
    for measure in (m for m in MEASURES if m.delta in pairs):
        known = pairs[pairs[measure.delta].notna()]
        parts = [_indices(group, measure, cfg) for _, group in known.groupby("timepoint", sort=False)]
        empty = pd.DataFrame(columns=[f"{measure.name}_{part}" for part in _PARTS])
        found = pd.concat(parts) if parts else empty
        out[list(found.columns)] = found.reindex(out.index)
    return out


def _indices(pairs: pd.DataFrame, measure: Measure, cfg: AnalyseConfig) -> pd.DataFrame:
    """The columns of one measure for the pairs of one time point, all with a change."""
    found = covariates(pairs, cfg)
    if unusable(pairs, measure, found, cfg) is not None:
        found = Covariates(np.zeros((len(pairs), 0)))
    change = pairs[measure.delta].to_numpy(float)
    error = pairs[f"{measure.name}_error_sd"].to_numpy(float)
    part = leave_one_out(change, found.x)
    rare = ((found.x != 0) & ((found.x != 0).sum(0) <= N_ALIKE)).any(axis=1)
    heavy = (part.leverage > MAX_LEVERAGE) & (found.x != 0).any(axis=1)
    reasons = [rare, heavy, _apart(pairs, found), ~(error > 0)]
    reason = np.select(reasons, [RARE, HEAVY, APART, UNKNOWN], "").astype(object)
    adjusted = np.where(rare | heavy, np.nan, change - part.effect)
    spread = np.where(reason == "", np.hypot(error, part.se), np.nan)
    index = adjusted / spread
    limit = float(stats.norm.ppf(0.975))
    words = np.select([index > limit, index < -limit], ["increase", "decrease"], "none").astype(object)
    words[reason != ""] = None
    columns = (
        adjusted,
        spread,
        index,
        words,
        np.full(len(pairs), ADJUSTED if found.names else PLAIN, dtype=object),
        pd.Series(reason, dtype=object).replace("", None).to_numpy(object),
    )
    named = {f"{measure.name}_{name}": values for name, values in zip(_PARTS, columns, strict=True)}
    return pd.DataFrame(named, index=pairs.index)


def _apart(pairs: pd.DataFrame, found: Covariates) -> np.ndarray:
    """Pairs whose specimen or site differ by a word that no covariate of theirs stands for."""
    apart = np.zeros(len(pairs), dtype=bool)
    for factor in ("specimen", "site"):
        columns = [j for j, name in enumerate(found.names) if name.startswith(f"{factor}:")]
        differs = (pairs[f"{factor}_before"] != pairs[f"{factor}_after"]).to_numpy(bool)
        apart |= differs & ~(found.x[:, columns] != 0).any(axis=1)
    return apart
