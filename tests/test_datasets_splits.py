"""Folds: what belongs together stays together, no fold is empty, and small sets share the folds among them."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_sets import sample

from tilscore.datasets import Sample, folds_of


def sets_of_one(n: int) -> list[Sample]:
    """`n` sets of two fields, each set from a patient and a centre of its own."""
    return [
        sample(f"s{k}", f"{k}-{i}", patient=f"P{k}", centre=f"C{k}", group=f"P{k}") for k in range(n) for i in range(2)
    ]


@pytest.mark.parametrize("by", ["patient", "centre"])
@pytest.mark.parametrize(("n_sets", "n_folds"), [(6, 3), (3, 3), (4, 3), (2, 2), (7, 5)])
def test_sets_of_one_group_fill_the_folds_evenly(by: str, n_sets: int, n_folds: int) -> None:
    folds = folds_of(sets_of_one(n_sets), n_folds, by=by)  # type: ignore[arg-type]
    counts = np.bincount(folds[::2], minlength=n_folds)
    assert counts.sum() == n_sets
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(folds[::2], folds[1::2])


def test_small_sets_change_nothing_of_large_ones_and_spread_themselves() -> None:
    """Seven patients over three folds are 3, 2, 2 by seed 0 as ever; two of a small set never share a fold."""
    large = [sample("large", f"l{i}", patient=f"L{i}") for i in range(7)]
    small = [sample(f"a{k}", f"{k}{i}", patient=f"A{k}{i}") for k in range(3) for i in range(2)]
    folds = folds_of([*large, *small], 3)
    order = np.random.default_rng(0).permutation(7)
    assert [int(folds[g]) for g in order] == [0, 1, 2, 0, 1, 2, 0]
    own = folds[7:].reshape(3, 2)
    assert (own[:, 0] != own[:, 1]).all()
    assert np.bincount(own.ravel()).tolist() == [2, 2, 2]
    assert own[0].min() > 0, "the first go where the large set has left room"


def test_a_small_set_leaves_its_shared_patients_where_they_are() -> None:
    large = [sample("z", f"l{i}", patient=f"L{i}") for i in range(6)]
    small = [sample("a", "x", patient="L4"), sample("a", "y", patient="Y")]
    folds = folds_of([*small, *large], 3)
    assert folds[0] == folds[2 + 4]
    assert folds[1] != folds[0]
    np.testing.assert_array_equal(folds[2:], folds_of(large, 3))
