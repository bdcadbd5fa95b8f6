"""Folds that keep together what belongs together: patients across sets, or centres."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.sample import Sample

By = Literal["patient", "centre"]
Group = tuple[str, str]
KEPT = -1
"""Fold of a sample that is never held out."""


def group_of(sample: Sample, by: By = "patient") -> Group:
    """What must stay on one side of a split: a patient wherever their slides are, else (set, group).

    By centre: the centre, else the set as a whole.
    """
    if by == "centre":
        return ("centre", sample.centre) if sample.centre else (sample.source, "")
    return ("patient", sample.patient) if sample.patient else (sample.source, sample.group or sample.name)


def folds_of(
    samples: Sequence[Sample], n_folds: int, *, by: By = "patient", kept: Collection[str] = ()
) -> NDArray[np.int64]:
    """Fold [n] of each sample, 0 to `n_folds` - 1, the same in every run.

    Each set's groups are dealt out in an order drawn with seed 0, so that every fold has its share of every set; a
    group that an earlier set has dealt out stays where it is: NuCLS, BCSS, PanopTILs and TIGER share patients. Sets
    with fewer groups than folds come last and fill the folds evenly together: six sets of one centre each are two to
    each of three folds. No fold is empty where there are as many groups as folds.

    Parameters
    ----------
    kept : sets that are never held out (fold `KEPT`). A group that another set shares with them is held out from
        both, and then their samples get the fold of the group.
    """
    fold: dict[Group, int] = {}
    small: list[list[Group]] = []
    for source in sorted({s.source for s in samples} - set(kept)):
        groups = sorted({group_of(s, by) for s in samples if s.source == source})
        dealt = [groups[g] for g in np.random.default_rng(0).permutation(len(groups))]
        if len(groups) < n_folds:
            small.append(dealt)
            continue
        for i, group in enumerate(dealt):
            fold.setdefault(group, i % n_folds)
    _fill(fold, small, n_folds)
    return np.array([fold.get(group_of(s, by), KEPT) for s in samples], np.int64)


def _fill(fold: dict[Group, int], small: list[list[Group]], n_folds: int) -> None:
    """Deal out small sets: to the fold with the fewest groups of the set, then of small sets, then of all, so far."""
    every, of_small = np.bincount(list(fold.values()), minlength=n_folds), np.zeros(n_folds, np.int64)
    for groups in small:
        own = np.bincount([fold[g] for g in groups if g in fold], minlength=n_folds)
        for group in groups:
            if group not in fold:
                at = min(range(n_folds), key=lambda k: (own[k], of_small[k], every[k]))
                fold[group] = at
                for counts in (own, of_small, every):
                    counts[at] += 1
