"""Matching and scores, on cases whose answer is known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.evaluate.metrics import Matches, match, score_cells
from tilscore.evaluate.predict import radius_of
from tilscore.labels import Cell

points = st.lists(st.tuples(st.floats(0, 12), st.floats(0, 12)), min_size=0, max_size=5)


def brute_force(truth: np.ndarray, found: np.ndarray, radius: float) -> tuple[int, float]:
    """Most pairs, and the smallest total distance at that number, by trying everything."""
    small, large = (truth, found) if len(truth) <= len(found) else (found, truth)
    best = (0, 0.0)
    for order in permutations(range(len(large)), len(small)):
        d = [float(np.hypot(*(small[i] - large[j]))) for i, j in enumerate(order)]
        d = [v for v in d if v <= radius]
        best = max(best, (len(d), -sum(d)))
    return best[0], -best[1]


@settings(max_examples=150, deadline=None)
@given(truth=points, found=points, radius=st.floats(0.5, 6))
def test_matching_is_optimal(truth: list, found: list, radius: float) -> None:
    t, f = np.array(truth).reshape(-1, 2), np.array(found).reshape(-1, 2)
    pairs = match(t, f, radius)
    total = sum(float(np.hypot(*(t[a] - f[b]))) for a, b in pairs)
    n, least = brute_force(t, f, radius)
    assert len(pairs) == n
    assert total == pytest.approx(least, abs=1e-6)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == n


def test_scores_of_a_worked_case() -> None:
    """Six nuclei: one missed, one misnamed, one untyped; six detections, one of them false."""
    inflammatory, epithelial, stromal = int(Cell.INFLAMMATORY), int(Cell.EPITHELIAL), int(Cell.STROMAL)
    one = Matches(
        pairs=np.array([[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]]),
        true_label=np.array([inflammatory, inflammatory, epithelial, epithelial, -1, stromal]),
        found_label=np.array([inflammatory, epithelial, epithelial, epithelial, inflammatory, inflammatory]),
    )
    s = score_cells([one])
    assert (s.precision, s.recall, s.f_detection) == pytest.approx((5 / 6, 5 / 6, 5 / 6))
    # inflammatory: 1 hit, 0 false among pairs, 1 misnamed, 1 false detection alone
    assert s.f_class["inflammatory"] == pytest.approx(2 / (2 + 2 + 1))
    assert s.f1_joint["inflammatory"] == pytest.approx(2 / (2 + 1 + 1))
    # epithelial: 2 hits, 1 false among pairs
    assert s.f_class["epithelial"] == pytest.approx(4 / (4 + 2))
    assert s.f1_given_nucleus["epithelial"] == pytest.approx(4 / 5)
    assert s.f1_joint["stromal"] == 0
    assert np.isnan(s.f_class["other"])
    weighted = (2 * s.f1_joint["inflammatory"] + 2 * s.f1_joint["epithelial"] + 0) / 5
    assert s.f1_weighted == pytest.approx(weighted)


def test_an_untyped_nucleus_is_no_negative() -> None:
    found = np.array([0, 0])
    with_untyped = Matches(np.array([[0, 0], [1, 1]]), np.array([0, -1]), found)
    s = score_cells([with_untyped])
    assert s.f_class["inflammatory"] == 1.0
    assert s.f_detection == 1.0


def test_a_set_is_measured_within_the_radius_of_its_literature() -> None:
    """Also where it lies in the folder that it is unpacked to."""
    assert radius_of("crchisto") == radius_of("sets/CRCHistoPhenotypes_2016_04_28") == 3.3
    assert radius_of("consep") == 3.0
    assert radius_of("crchisto", 2.0) == 2.0
