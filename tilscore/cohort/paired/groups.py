"""Whether the change differs between groups of patients: responders and others, arms, or any column of the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilscore.cohort.manifest.read import one_spelling
from tilscore.cohort.paired.change import UNITS, adjustment, estimated, is_rounding
from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, Measure, to_scale
from tilscore.cohort.paired.sampling import Covariates, confounded, covariates
from tilscore.errors import UsageError
from tilscore.inputs.words import as_word, in_order
from tilscore.stats.aligned import column_basis
from tilscore.stats.clustered import fit_clustered
from tilscore.stats.paired import adjust_p
from tilscore.stats.twosample import rank_sum

Floats = NDArray[np.float64]
COLUMNS = [
    *("timepoint", "measure", "by", "test", "group", "against", "role", "flag", "n_pairs", "n_against", "unit"),
    *("estimate", "low", "high", "ratio", "ratio_low", "ratio_high", "statistic", "df", "p", "p_holm", "p_bh"),
    *("method", "adjusted_for", "not_adjusted_for", "status", "reason"),
]
OTHERS = "all others"
"""What a group is held against where there are more than two."""
_LEAST_FREE = 0.2
"""Least share of a group's column that the sampling must leave unexplained."""
_NO_GROUPS = {"slide_id", "path", "patient_id", "timepoint", "block", "stain", "roi", "line"}
"""Columns of the manifest that tell no groups of patients."""
_N_TOLD = 8
"""Words of a column that are named where they are too few."""
_METHOD = "least squares, HC2, Bell-McCaffrey t"


def group_tests(pairs: pd.DataFrame, cfg: AnalyseConfig) -> pd.DataFrame:
    """The change in each group of `cfg.by` and the differences between them, one row each (columns: `COLUMNS`).

    Changes are regressed on the groups and on what differs in the sampling within pairs (`covariates`), with HC2
    errors and Bell-McCaffrey degrees of freedom. `change` is a group's mean change where the sampling is equal;
    `difference` (primary) how far it lies from that of the other group, or of the mean of all others where there are
    more than two; `difference_given_baseline` the same between patients of one baseline; `rank_sum` Mann and Whitney's
    test with the Hodges-Lehmann shift, which ignores the sampling and is flagged where that differs.

    A column of which no pair has two words gives no row.

    Parameters
    ----------
    pairs : as from `build_pairs`, with the columns `cfg.by`.
    """
    rows = []
    for timepoint, here in pairs.groupby("timepoint", sort=False):
        for measure in (m for m in MEASURES if m.delta in pairs):
            known = here[here[measure.delta].notna()]
            for by in dict.fromkeys(cfg.by):
                rows += [{"timepoint": timepoint, "by": by, **row} for row in _tests_of(known, measure, by, cfg)]
    table = _with_multiplicity(pd.DataFrame(rows).reindex(columns=COLUMNS))
    return table.astype(dict.fromkeys(("n_pairs", "n_against"), "Int64"))


def check_columns(by: Sequence[str], columns: Iterable[str]) -> None:
    """Whether the columns of groups are among those of the manifest, but for those that are taken by default.

    Raises
    ------
    UsageError : one is not, or tells slides, patients or time points apart.
    """
    known = [name for name in columns if name not in _NO_GROUPS]
    for name in by:
        if name not in known and name not in AnalyseConfig().by:
            raise UsageError("no such column to group by", where="by", found=name, do=f"one of: {', '.join(known)}")


def _with_multiplicity(tests: pd.DataFrame) -> pd.DataFrame:
    """Holm's and Benjamini-Hochberg's p over the time points and groups of each measure, column and test."""
    out = tests.copy()
    for _, group in out.groupby(["measure", "by", "test"], sort=False):
        p = [None if pd.isna(v) else float(v) for v in group["p"]]
        for name, how in (("p_holm", "holm"), ("p_bh", "bh")):
            out.loc[group.index, name] = pd.Series(adjust_p(p, how), index=group.index, dtype=float)
    return out


def _tests_of(pairs: pd.DataFrame, measure: Measure, by: str, cfg: AnalyseConfig) -> list[dict[str, Any]]:
    words = pd.Series(one_spelling([as_word(value) for value in pairs[by]]), index=pairs.index, dtype=object)
    sizes = words[words != ""].value_counts()
    if len(sizes) < 2:
        return []
    names = in_order(sizes.index[sizes >= cfg.n_min_group])
    out = [f"{name} ({sizes[name]})" for name in in_order(sizes.index) if name not in names]
    more = [f"{len(out) - _N_TOLD} more"] if len(out) > _N_TOLD else []
    said = f"left out, fewer than {cfg.n_min_group} pairs: {', '.join(out[:_N_TOLD] + more)}" if out else None
    if len(names) < 2:
        row = {"measure": measure.name, "test": "difference", "role": "primary", "n_pairs": int(sizes.sum())}
        reason = f"too_few_pairs: two groups of at least {cfg.n_min_group} are needed; {said}"
        return [row | {"unit": UNITS[measure.scale], "status": "not_evaluable", "reason": reason}]
    kept = pairs[words.isin(names)]
    return [
        {"measure": measure.name, "unit": UNITS[measure.scale], **row, "reason": row.get("reason") or said}
        for row in _rows(kept, words[kept.index].to_numpy(str), names, measure, cfg)
    ]


def _rows(
    pairs: pd.DataFrame, words: NDArray[np.str_], names: Sequence[str], measure: Measure, cfg: AnalyseConfig
) -> list[dict[str, Any]]:
    """All tests of one column at one time point; `words` is each pair's group, one of `names`."""
    found = covariates(pairs, cfg, n_taken=len(names) - 1)
    member = np.array([words == name for name in names], float).T
    share = member.sum(0) / len(member)
    versus = [(names[1], names[0])] if len(names) == 2 else [(name, OTHERS) for name in names]
    delta = pairs[measure.delta].to_numpy(float)
    baseline = to_scale(pairs[f"{measure.name}_before"], measure, cfg).to_numpy(float)
    alone = _Fit(pairs, delta, member, found, found.x, measure, cfg)
    given = _Fit(pairs, delta, member, found, np.column_stack([found.x, baseline - baseline.mean()]), measure, cfg)
    rows = []
    for i, name in enumerate(names):
        rows.append({"test": "change", "group": name, "role": "supporting"} | alone.row(np.eye(len(names))[i]))
    for name, against in versus:
        i = names.index(name)
        weights = np.where(np.arange(len(names)) == i, 1.0, -share / (1 - share[i]))
        head = {"group": name, "against": against, "n_against": int((words != name).sum())}
        rows.append(head | {"test": "difference", "role": "primary"} | alone.row(weights, i))
        rows.append(head | {"test": "difference_given_baseline", "role": "supporting"} | given.row(weights, i))
        rows.append(head | {"test": "rank_sum"} | _rank_row(delta, words == name, found, measure, cfg))
    return [row | {"n_pairs": int((words == row["group"]).sum())} for row in rows]


class _Fit:
    """Changes on groups and sampling, or why there is no such fit."""

    def __init__(
        self,
        pairs: pd.DataFrame,
        delta: Floats,
        member: Floats,
        found: Covariates,
        sampling: Floats,
        measure: Measure,
        cfg: AnalyseConfig,
    ) -> None:
        self.delta, self.member, self.measure, self.cfg = delta, member, measure, cfg
        self.said: dict[str, Any] = dict(adjustment(found.told, found.lacking))
        self.basis = column_basis(sampling)
        x = np.column_stack([member, self.basis])
        self.reason = confounded(pairs, found.dropped, cfg)
        if self.reason is None and member.shape[1] - 1 > max(len(delta) // cfg.n_pairs_per_term, 1):
            self.reason = f"too_few_pairs: {len(delta)} in {member.shape[1]} groups"
        if self.reason is None and len(delta) - x.shape[1] < 3:
            self.reason = "too_few_pairs: fewer than 3 degrees of freedom after adjustment"
        if self.reason is None and np.linalg.matrix_rank(x) < x.shape[1]:
            self.reason = "confounded: groups and sampling cannot be told apart"
        self.fit = None if self.reason else fit_clustered(delta, x, np.arange(len(delta)))

    def row(self, weights: Floats, group: int | None = None) -> dict[str, Any]:
        """A contrast of the groups' changes; `group` is the one that is held against others."""
        reason = self.reason or (None if group is None else self._not_told(group))
        if reason is not None or self.fit is None:
            return self.said | {"status": "not_evaluable", "reason": reason}
        found = self.fit.contrast(np.concatenate([weights, np.zeros(self.basis.shape[1])]), self.cfg.level)
        if is_rounding(found.se, self.delta):
            return self.said | {"status": "not_evaluable", "reason": "no_spread: the changes do not differ"}
        return {
            **self.said,
            "status": "ok",
            **estimated(found.estimate, found.low, found.high, self.measure),
            "statistic": found.estimate / found.se,
            "df": found.df,
            "p": found.p,
            "method": _METHOD,
        }

    def _not_told(self, group: int) -> str | None:
        """Why a group's difference cannot be told from that of the sampling, or None."""
        own = self.member[:, group] - self.member[:, group].mean()
        sampling = column_basis(self.basis - self.basis.mean(0))
        left = own - sampling @ (sampling.T @ own)
        if left @ left >= _LEAST_FREE * (own @ own):
            return None
        return "confounded: the groups were sampled in such different ways that a difference is not told from that"


def _rank_row(
    delta: Floats, inside: NDArray[np.bool_], found: Covariates, measure: Measure, cfg: AnalyseConfig
) -> dict[str, Any]:
    differs = found.used + found.dropped
    row: dict[str, Any] = dict(adjustment([], [*differs, *found.unknown]))
    row |= {"role": "naive", "flag": "naive, confounded"} if differs else {"role": "supporting"}
    if np.ptp(delta) == 0:
        return row | {"status": "not_evaluable", "reason": "no_spread: the changes do not differ"}
    test = rank_sum(delta[inside], delta[~inside], cfg.level)
    shift = estimated(test.shift, test.low, test.high, measure)
    method = f"Mann-Whitney ({test.method}), Hodges-Lehmann"
    return row | shift | {"statistic": test.statistic, "p": test.p, "method": method, "status": "ok"}
