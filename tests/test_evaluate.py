"""Evaluation: figures of a toy case against independent implementations, curves, intervals, and what is written."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score
from toy_field import as_lists, toy

from tilscore.datasets.reading import near
from tilscore.evaluate.bootstrap import figures_with_intervals
from tilscore.evaluate.figures import figures, pool
from tilscore.evaluate.froc import RATES_PER_MM2, Froc
from tilscore.evaluate.metrics import claim
from tilscore.evaluate.summary import as_table, flat_scores, summarise
from tilscore.evaluate.tables import evaluate_fields
from tilscore.labels import Cell

I, E, S, O = (int(c) for c in Cell)  # noqa: E741
NAMES = [c.name.lower() for c in Cell]


def test_figures_of_a_toy_case_as_scikit_learn_has_them() -> None:
    """Confusion, per-class precision, recall and F1, AUROC, F1 given the nucleus; F_d and F_c by the published code."""
    fields = [toy(1, name="a"), toy(2, name="b")]
    got, own = figures(pool(fields)), pool(fields)
    true, found, p = (np.concatenate(v) for v in list(zip(*map(as_lists, fields), strict=True))[:3])
    table = confusion_matrix(true, found, labels=range(5))
    np.testing.assert_array_equal(own.cells.sum(0)[[0, 1, 2, 3, 5]], table)
    pairs, n_true, n_found = (true < 4) & (found < 4), int((true < 4).sum()), int((found < 4).sum())
    assert got["detection/f1"] == pytest.approx(2 * pairs.sum() / (n_true + n_found))
    assert got["detection/precision"] == pytest.approx(pairs.sum() / n_found)
    joint = f1_score(true, found, labels=range(4), average=None)
    given_nucleus = f1_score(true[pairs], found[pairs], labels=range(4), average=None)
    for c, name in enumerate(NAMES):
        assert got[f"class/f1_joint/{name}"] == pytest.approx(joint[c])
        assert got[f"class/f1_given_nucleus/{name}"] == pytest.approx(given_nucleus[c])
        auroc = roc_auc_score(true[pairs] == c, p[pairs, c])
        assert got[f"class/auroc_given_nucleus/{name}"] == pytest.approx(auroc, abs=1e-6)
        assert got[f"class/f_c/{name}"] == pytest.approx(hovernet_f_c(true, found, c))
    weights = [(true == c).sum() for c in range(4)]
    assert got["class/f1_joint/weighted"] == pytest.approx(np.average(joint, weights=weights))
    region = np.sum([f.regions for f in fields], axis=0)
    dice = 2 * region[2, 2] / (region[2].sum() + region[:, 2].sum())
    assert got["region/dice/stroma"] == pytest.approx(dice)


def hovernet_f_c(true: np.ndarray, found: np.ndarray, c: int) -> float:
    """F_c as Graham et al. 2019 evaluate it: pairs without the class on either side take no part."""
    paired = (true < 4) & (found < 4) & ((true == c) | (found == c))
    right = int((true == found)[paired].sum())
    fp_c, fn_c = int((found[paired & (true != c)] == c).sum()), int((true[paired & (found != c)] == c).sum())
    fp_d, fn_d = int(((true == 4) & (found == c)).sum()), int(((found == 4) & (true == c)).sum())
    return 2 * right / (2 * right + 2 * fp_c + 2 * fn_c + fp_d + fn_d)


def test_calibration_error_of_the_toy_case_by_a_plain_loop() -> None:
    f = toy(3)
    true, found, p, detection = as_lists(f)
    got = figures(pool([f]))
    pairs = (true < 4) & (found < 4)
    assert got["calibration/ece/inflammatory_given_nucleus"] == pytest.approx(
        ece(p[pairs, I], true[pairs] == I), abs=1e-6
    )
    cells = np.flatnonzero(f.kept)
    gap = np.hypot(*(f.true_um[:, None] - f.found_um[None, cells]).transpose(2, 0, 1))
    assert got["calibration/ece/detection"] == pytest.approx(ece(detection, gap.min(0) <= 3.0), abs=1e-6)


def ece(p: np.ndarray, hit: np.ndarray) -> float:
    total = 0.0
    for low in range(15):
        own = (p >= low / 15) & ((p < (low + 1) / 15) | (low == 14))
        total += abs(p[own].mean() - hit[own].mean()) * own.sum() if own.any() else 0.0
    return total / len(p)


def test_froc_of_a_worked_case() -> None:
    """Two mm2, four nuclei; in order of score: hit, false, hit, 9 false, hit, 30 false."""
    hit = np.array([1, 0, 1] + [0] * 9 + [1] + [0] * 30, bool)
    froc = Froc(np.linspace(1, 0, len(hit)), hit, np.zeros(len(hit), np.int64), np.array([4.0]), np.array([2.0]))
    got = froc.figures(np.ones(1))
    # 5 per mm2 are 10 false ones: three hits; 10 and 20 too (20 per mm2 are all 40); nothing is ever lost again.
    assert [got[str(r)] for r in RATES_PER_MM2] == [0.75] * 7
    assert froc.figures(np.array([1.0]))["mean"] == pytest.approx(0.75)
    one_mm2 = Froc(froc.score, hit, froc.group, froc.n_true, np.array([0.1])).figures(np.ones(1))
    # 5 per mm2 are half a false one, 10 are one, 20 are two, 50 are five, 100 are ten.
    assert [one_mm2[str(r)] for r in RATES_PER_MM2] == [0.25, 0.5, 0.5, 0.5, 0.75, 0.75, 0.75]
    assert one_mm2["mean"] == pytest.approx(np.mean([0.5, 0.5, 0.5, 0.75, 0.75, 0.75]))


def test_froc_at_each_threshold_is_a_count() -> None:
    """On the toy case the curve through a threshold is what counting at that threshold gives."""
    f = toy(4)
    froc = pool([f]).frocs["inflammatory"]
    rate, sensitivity = froc.curve(np.ones(1))
    score = f.probs[0] * f.probs[1][:, I]
    is_til = np.hypot(*(f.true_um[f.sample.label == I][:, None] - f.found_um).transpose(2, 0, 1)).min(0) <= 3.0
    for threshold in (0.1, 0.3, 0.5):
        over = score > threshold
        at = int((froc.score > threshold).sum())
        assert rate[at] == pytest.approx((over & ~is_til).sum() / 0.16)
        assert sensitivity[at] == pytest.approx((over & is_til).sum() / (f.sample.label == I).sum())
    assert all(a <= b for a, b in pairwise(sensitivity))


points = st.lists(st.tuples(st.floats(0, 12), st.floats(0, 12), st.floats(0, 1)), min_size=0, max_size=6)


@settings(max_examples=80)
@given(truth=points, found=points, cut=st.floats(0, 1))
def test_claims_do_not_change_when_weaker_detections_are_dropped(truth: list, found: list, cut: float) -> None:
    t, f = np.array(truth).reshape(-1, 3), np.array(found).reshape(-1, 3)
    owner = claim(t[:, :2], f[:, :2], f[:, 2], 3.0)
    strong = f[:, 2] >= cut
    np.testing.assert_array_equal(owner[strong], claim(t[:, :2], f[strong, :2], f[strong, 2], 3.0))
    claimed = owner[owner >= 0]
    assert len(set(claimed)) == len(claimed)
    for i, k in enumerate(owner):
        near = np.hypot(*(t[:, :2] - f[i, :2]).T) <= 3.0
        assert near[k] if k >= 0 else set(np.flatnonzero(near)) <= set(claimed)


def test_a_partly_typed_set_tells_what_it_can() -> None:
    """Untyped nuclei count for detection; the classes are judged on the typed ones; no false positive lies there."""
    full, part = toy(5), toy(5, typed=0.5)
    a, b = figures(pool([full])), figures(pool([part]))
    assert a["detection/f1"] == b["detection/f1"]
    typed = part.sample.label >= 0
    true, found, _, _ = as_lists(part)
    assert b["class/recall/inflammatory"] == pytest.approx(
        ((true == I) & (found == I)).sum() / (part.sample.label == I).sum()
    )
    spurious = pool([full]).cells[0, 5]
    np.testing.assert_array_equal(pool([part]).cells[0, 5], spurious)
    assert (~pool([part]).frocs["inflammatory"].hit).sum() <= (~pool([full]).frocs["inflammatory"].hit).sum()
    assert typed.sum() < len(typed)


def test_a_set_that_does_not_mark_every_nucleus_has_recall_only() -> None:
    """Nothing is known of false detections: precision, F1 and curves are absent, recall and classes are not."""
    closed, open_set = toy(6), toy(6, known=False)
    beside = near((closed.sample.x_px, closed.sample.y_px), (800, 800), 0.5)
    partly = replace(closed, sample=replace(closed.sample, known=beside, exhaustive=False))
    a, b = figures(pool([closed])), figures(pool([open_set]))
    np.testing.assert_equal(figures(pool([partly])), b)  # what is known to learn from is not enough to judge by
    for name in ("detection/recall", "class/recall/inflammatory", "class/f1_given_nucleus/stromal"):
        assert a[name] == pytest.approx(b[name])
    assert a["calibration/ece/inflammatory_given_nucleus"] == pytest.approx(
        b["calibration/ece/inflammatory_given_nucleus"]
    )
    for name in (
        "detection/f1",
        "detection/precision",
        "class/f_c/inflammatory",
        "froc/nuclei/mean",
        "calibration/ece/detection",
    ):
        assert np.isnan(b[name]), name
    values = evaluate_fields([open_set], n_bootstrap=0)["pools"][0]["figures"]
    assert values["detection/precision"]["value"] is None
    assert values["detection/precision"]["reason"]


def test_an_untyped_set_has_no_class_figures() -> None:
    got = figures(pool([toy(7, typed=0.0)]))
    assert got["detection/f1"] > 0.5
    unknown = ("class/", "froc/inflammatory", "calibration/ece/inflammatory")
    assert all(np.isnan(v) for k, v in got.items() if k.startswith(unknown))


def test_bootstrap_figures_are_those_of_the_fields_drawn() -> None:
    """Weights 2, 0, 1 give what the first field twice and the third once give."""
    fields = [toy(s, name=f"f{s}") for s in (10, 11, 12)]
    again = toy(10, name="f10 again")
    weighted = figures(pool(fields), np.array([2.0, 0.0, 1.0]))
    drawn = figures(pool([fields[0], again, fields[2]]))
    assert weighted.keys() == drawn.keys()
    for name, value in drawn.items():
        assert weighted[name] == pytest.approx(value, nan_ok=True), name


def test_intervals_hold_the_figure_and_one_group_has_none() -> None:
    fields = [toy(s, name=f"f{s}") for s in range(8)]
    got = figures_with_intervals(pool(fields), 60, seed=1)["detection/f1"]
    assert None not in (got.low, got.value, got.high)
    assert got.low < got.value < got.high
    assert got == figures_with_intervals(pool(fields), 60, seed=1)["detection/f1"]
    alone = figures_with_intervals(pool(fields[:1]), 60, seed=1)["detection/f1"]
    assert (alone.low, alone.high) == (None, None)
    assert alone.reason


def test_training_and_the_report_agree() -> None:
    fields = [toy(1, name="a"), toy(2, name="b")]
    flat, got = flat_scores(summarise(fields)), figures(pool(fields))
    assert flat["toy/f_detection"] == pytest.approx(got["detection/f1"])
    assert flat["toy/f_class/stromal"] == pytest.approx(got["class/f_c/stromal"])
    assert "pairs within 3 um" in as_table(summarise(fields))
