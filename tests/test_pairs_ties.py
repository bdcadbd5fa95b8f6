"""Ties and zeros of paired changes, which floating point would blur."""

from __future__ import annotations

import numpy as np

from tilscore.stats.paired import difference, mover, signed_rank


def test_equal_changes_are_tied_and_no_change_is_zero() -> None:
    before, after = [0.1, 0.2, 0.4, 1.3, 1e-7], [0.2, 0.3, 0.3, 0.1 * 13, 2e-7]
    assert after[0] - before[0] != after[1] - before[1]
    change = difference(after, before)
    np.testing.assert_allclose(change, [0.1, 0.1, -0.1, 0, 1e-7], rtol=0, atol=1e-12)
    assert (change[0], change[3]) == (change[1], 0)


def test_the_test_counts_ties_that_are_there() -> None:
    before = np.array([0.1, 0.7, 1.1, 0.9, 2.3, 0.3, 0.7, 0.3, 1.1])
    steps = np.array([1, 1, 1, 1, 1, -1, -1, 2, 2])
    after = np.round(before + 0.1 * steps, 1)
    assert np.unique(np.abs(after - before)).size > 2
    blurred, tied, whole = (signed_rank(v) for v in (after - before, difference(after, before), steps))
    assert (tied.method, tied.p) == ("normal", whole.p)
    assert blurred.p != whole.p


def test_pairs_at_the_end_of_a_calibration_have_not_changed() -> None:
    """Slides of unequal size that all carry 1.3 %: their mean by area is 1.3 up to rounding."""
    weights = np.random.default_rng(0).uniform(0.1, 9, (40, 2))
    pooled = (weights * 1.3).sum(1) / weights.sum(1)
    assert len(set(pooled.tolist())) > 1
    change, _, _ = mover(*(pooled[:20],) * 3, *(pooled[20:],) * 3)
    assert not change.any()
