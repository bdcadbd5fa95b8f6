"""Tests of the changes of pairs against other assays, given what differs in the sampling of the two biopsies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tilscore.cohort.assays.levels import CFG
from tilscore.cohort.assays.tests import (
    N_MIN,
    N_MIN_GROUP,
    Adjustment,
    agreement_of_logs,
    design_of,
    kept_groups,
    not_evaluable,
)
from tilscore.cohort.paired.sampling import confounded, covariates


def given_sampling(pairs: pd.DataFrame, n_taken: int = 0) -> Adjustment:
    """What differs in the sampling of the two biopsies, as the paired analysis adjusts for it (`sampling.covariates`).

    Parameters
    ----------
    pairs : as from `build_pairs`. n_taken : columns, such as groups, that the pairs must have room for too.
    """
    found = covariates(pairs, CFG, n_taken)
    lacking = f"not adjusted for {', '.join(found.lacking)}" if found.lacking else ""
    made = Adjustment(pairs, found.x, "+".join(found.told), lacking)
    if (reason := confounded(pairs, found.dropped, CFG)) is not None:
        return made._replace(why=reason)
    if not np.ptp(found.x, axis=0).any():
        none = "too few pairs to adjust" if found.dropped else "nothing that is known differs from pair to pair"
        return made._replace(why="; ".join(filter(None, [none, lacking])))
    return made


def differing(pairs: pd.DataFrame) -> list[str]:
    """Factors of the sampling that differ within pairs, whether or not they can be adjusted for."""
    found = covariates(pairs, CFG)
    return [*found.used, *found.dropped]


def groups_given_sampling(pairs: pd.DataFrame, name: str) -> dict[str, Any]:
    """Whether the changes differ between groups, given the sampling: F of the groups in a regression of the changes'
    ranks on the columns of the sampling and the groups (Conover & Iman 1982, Biometrics 38:715-724).

    The estimate is the share of what the sampling leaves that the groups explain (partial eta squared).

    Parameters
    ----------
    pairs : as from `build_pairs`, with `y` and the column `name`.
    """
    known, words, kept = kept_groups(pairs, name)
    left_out = [str(w) for w in words.unique() if w not in kept]
    known, words = known[words.isin(kept)], words[words.isin(kept)]
    row: dict[str, Any] = {"test": "rank_ancova", "n": len(known)}
    if len(kept) < 2 or len(known) < N_MIN:
        few = f"too_few: two groups of at least {N_MIN_GROUP}, {N_MIN} patients in all, are needed"
        return row | not_evaluable(few)
    given = given_sampling(known, len(kept) - 1)
    if given.why:
        return row | not_evaluable(given.why)
    ranks = stats.rankdata(known["y"].to_numpy(float))
    design = design_of(given.x)
    both = np.column_stack([design, *((words == word).to_numpy(float) for word in kept[1:])])
    k, k_both = (int(np.linalg.matrix_rank(x)) for x in (design, both))
    n_left = len(known) - k_both
    if k_both - k < len(kept) - 1 or n_left < 3:
        return row | not_evaluable("the groups cannot be told apart from the sampling")
    rest, rest_both = (float(np.square(ranks - x @ np.linalg.lstsq(x, ranks)[0]).sum()) for x in (design, both))
    if rest_both <= 1e-9 * len(ranks):
        return row | not_evaluable("nothing is left to compare")
    f = (rest - rest_both) / (k_both - k) / (rest_both / n_left)
    figures = {"estimate": 1 - rest_both / rest, "unit": "partial eta squared", "statistic": f}
    figures |= {"p": float(stats.f.sf(f, k_both - k, n_left)), "adjusted_for": given.used}
    said = f"left out, fewer than {N_MIN_GROUP}: {', '.join(left_out)}" if left_out else ""
    reason = "; ".join(filter(None, [said, given.said]))
    return row | figures | {"method": f"F({k_both - k}, {n_left}) of ranks", "status": "ok", "reason": reason}


def change_agreement(pairs: pd.DataFrame, name: str, unit: str) -> list[dict[str, Any]]:
    """Concordance and Bland-Altman of two log ratios: of the H&E density and of the other density.

    Parameters
    ----------
    pairs : with `y` and the column `name`, both log ratios. unit : of the ratio of both ratios, in words.
    """
    known = pairs[pairs["y"].notna() & pairs[name].notna()]
    return agreement_of_logs(known["y"].to_numpy(float), known[name].to_numpy(float), unit)


def naive(row: dict[str, Any], differs: list[str]) -> dict[str, Any]:
    """A test that is not given the sampling, with a word on what differs within pairs."""
    if row["status"] != "ok" or not differs:
        return row
    listed = " and ".join(filter(None, [", ".join(differs[:-1]), differs[-1]]))
    said = f"naive: no allowance for what differs within pairs, {listed}"
    return row | {"reason": "; ".join(filter(None, [row["reason"], said]))}
