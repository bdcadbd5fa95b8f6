"""Calibrations and operating points: what the fit finds, what it leaves alone, and that no field judges itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_field import over_confident

from tilscore.errors import DataError
from tilscore.evaluate.calibration import calibrated, cross_fit, deal, fit_calibration, platt
from tilscore.evaluate.figures import figures, pool
from tilscore.evaluate.predict import FieldResult
from tilscore.labels import Cell
from tilscore.network.config import Calibration, ModelConfig
from tilscore.network.peaks import Candidates


def test_an_over_confident_network_is_set_right() -> None:
    """Logits three times too large: the fit finds the factor on one field and mends another."""
    learn, test = over_confident(1, 3.0, n=4000), over_confident(2, 3.0, n=4000)
    fitted = fit_calibration([learn], name="one field")
    assert fitted.detection_slope == pytest.approx(1 / 3, rel=0.15)
    assert fitted.type_slope == pytest.approx(1 / 3, rel=0.15)
    assert fitted.fitted_on == "one field"
    before, after = figures(pool([test])), figures(pool([test.at(test.threshold, fitted)]))
    for name in ("detection", "inflammatory", "inflammatory_given_nucleus"):
        assert after[f"calibration/ece/{name}"] < 0.5 * before[f"calibration/ece/{name}"]
        assert after[f"calibration/ece/{name}"] < 0.04


def test_an_honest_network_is_left_alone() -> None:
    fitted = fit_calibration([over_confident(3, 1.0, n=4000)])
    assert fitted.detection_slope == pytest.approx(1, abs=0.1)
    assert fitted.detection_shift == pytest.approx(0, abs=0.1)
    assert fitted.type_slope == pytest.approx(1, abs=0.1)
    assert fitted.inflammatory_shift == pytest.approx(0, abs=0.15)


def test_a_network_that_sees_too_many_lymphocytes_is_set_right() -> None:
    """Inflammatory logits 0.8 too large, all twice too large: the fit finds both, and other nuclei get their class."""

    def biased(seed: int) -> FieldResult:
        field = over_confident(seed, 2.0, n=4000)
        bias = np.where(np.arange(len(Cell)) == Cell.INFLAMMATORY, np.float32(1.6), np.float32(0))
        return replace(field, found=field.found._replace(type_logits=field.found.type_logits + bias))

    fitted = fit_calibration([biased(1)])
    assert fitted.type_slope == pytest.approx(1 / 2, rel=0.15)
    assert fitted.inflammatory_shift == pytest.approx(-0.8, abs=0.15)
    test = biased(2)
    before, after = (figures(pool([f])) for f in (test, test.at(test.threshold, fitted)))
    assert after["calibration/ece/inflammatory"] < 0.5 * before["calibration/ece/inflammatory"]
    n_true = int((test.sample.label == Cell.INFLAMMATORY).sum())
    n_found = [int((f.probs[1].argmax(1) == Cell.INFLAMMATORY).sum()) for f in (test, test.at(0.3, fitted))]
    assert abs(n_found[1] - n_true) < 0.5 * abs(n_found[0] - n_true)


def biased(seed: int, bias: float, n: int) -> FieldResult:
    """A patient on whose nuclei the inflammatory logit is `bias` too large."""
    field = over_confident(seed, 1.0, n=n, name=f"p{seed}")
    more = np.where(np.arange(len(Cell)) == Cell.INFLAMMATORY, np.float32(bias), np.float32(0))
    return replace(field, found=field.found._replace(type_logits=field.found.type_logits + more))


def test_types_that_were_calibrated_move_where_all_patients_agree_alone() -> None:
    """Patients that differ as much one way as the other say nothing of the next; a bias of all of them does."""
    before = Calibration(inflammatory_shift=0.05, fitted_on="many fields")
    rng = np.random.default_rng(3)
    torn = [biased(s, float(b), 400) for s, b in enumerate(rng.normal(0.3, 1.2, 8))]
    one = [biased(s, 0.8, 400) for s in range(8)]
    kept, moved = fit_calibration(torn, before=before), fit_calibration(one, before=before)
    assert (kept.type_slope, kept.inflammatory_shift) == (before.type_slope, before.inflammatory_shift)
    assert moved.inflammatory_shift == pytest.approx(-0.8, abs=0.2)
    assert fit_calibration(torn, before=Calibration()) == fit_calibration(torn), "nothing was fitted, nothing is kept"
    assert fit_calibration(torn).inflammatory_shift != before.inflammatory_shift
    parts = deal([f.at(0.3, before) for f in torn])
    assert {f.calibration.inflammatory_shift for f in cross_fit(parts)} == {0.05}
    assert calibrated(ModelConfig("m", calibration=before), torn).calibration.inflammatory_shift == 0.05
    assert calibrated(ModelConfig("m", calibration=before), one[:1]).calibration.inflammatory_shift == 0.05


def test_platt_as_scikit_learn_fits_it() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, 600)
    hit = rng.random(600) < 1 / (1 + np.exp(-(0.7 * x - 0.4)))
    other = LogisticRegression(C=1e9, tol=1e-8).fit(x[:, None], hit)
    assert platt(x, hit) == pytest.approx((other.coef_[0, 0], other.intercept_[0]), abs=2e-3)


def test_too_few_cases_change_nothing() -> None:
    fitted = fit_calibration([over_confident(4, 3.0, n=30)])
    assert (fitted.detection_slope, fitted.detection_shift, fitted.type_slope) == (1, 0, 1)
    assert fitted.inflammatory_shift == 0
    assert fitted.class_thresholds == (0, 0, 0, 0)
    config = ModelConfig("m", detection_threshold=0.37)
    assert calibrated(config, [over_confident(4, 3.0, n=30)]).detection_threshold == 0.37
    with pytest.raises(DataError, match="no field"):
        fit_calibration([])


def test_the_operating_point_is_that_of_the_best_f1() -> None:
    """Detection F1 at the chosen thresholds is within 0.01 of the best of any threshold common to all classes."""
    f = over_confident(5, 2.0, n=3000)
    config = calibrated(ModelConfig("m"), [f])
    at = figures(pool([f.at(config.detection_threshold, config.calibration)]))["detection/f1"]
    loose = Calibration(config.calibration.detection_slope, config.calibration.detection_shift)
    best = max(figures(pool([f.at(t, loose)]))["detection/f1"] for t in np.arange(0.1, 0.9, 0.05))
    assert at >= best - 0.01
    assert config.detection_threshold == min(config.calibration.class_thresholds) > 0
    assert config.til_threshold == config.calibration.class_thresholds[Cell.INFLAMMATORY]


def test_a_field_that_marks_nothing_switches_nothing_off() -> None:
    """A field with regions alone, or with some nuclei marked, beside fields with all: they alone decide."""
    fields = [over_confident(s, 3.0, name=f"f{s}") for s in range(3)]
    bare = fields[0].sample
    bare = replace(bare, x_px=bare.x_px[:0], y_px=bare.y_px[:0], label=bare.label[:0])
    silent = replace(fields[0], sample=replace(bare, known=np.zeros(bare.image.shape[:2], bool)))
    partly = replace(fields[0], sample=replace(bare, exhaustive=False))
    assert fit_calibration([*fields, silent, partly], name="x") == fit_calibration(fields, name="x")


def test_where_no_operating_point_can_be_told_the_cells_stay() -> None:
    """Only typed nuclei on ground where others lie unmarked: the types are fitted, and no cell comes or goes."""
    whole = over_confident(5, 3.0)
    partly = replace(whole, sample=replace(whole.sample, exhaustive=False))
    before = ModelConfig(
        name="m", detection_threshold=0.2, calibration=Calibration(1.5, 0.3, class_thresholds=(0.4, 0.3, 0.2, 0.5))
    )
    after = calibrated(before, [partly])
    assert after.calibration.type_slope != 1.0
    kept = [whole.at(c.detection_threshold, c.calibration).kept for c in (before, after)]
    np.testing.assert_array_equal(*kept)
    assert 0 < kept[0].sum() < len(kept[0])
    one, two = (partly.at(before.detection_threshold, before.calibration) for _ in range(2))
    assert all((f.kept == kept[0]).all() for f in cross_fit([[one], [two]]))


def test_a_network_that_finds_nothing_keeps_its_operating_point() -> None:
    """Every threshold is as good as any other, and the lowest would be taken."""
    whole = over_confident(5, 3.0)
    lost = replace(whole, sample=replace(whole.sample, x_px=whole.sample.x_px * 0, y_px=whole.sample.y_px * 0))
    none = replace(lost, found=Candidates(*(v[:0] for v in lost.found)))
    assert calibrated(ModelConfig(name="m", detection_threshold=0.3), [none]).detection_threshold == pytest.approx(0.3)


def test_parts_keep_a_patient_together() -> None:
    fields = [over_confident(s, 1.0, n=20, name=f"p{s % 5}") for s in range(10)]
    parts = deal(fields)
    assert [len(p) for p in parts] == [4, 2, 2, 2]
    assert len({f.group for f in fields}) == sum(len({f.group for f in part}) for part in parts) == 5


def test_a_patient_of_two_sets_is_drawn_and_dealt_as_one() -> None:
    """And PanNuke's patches one by one, though a fold of them is what a split keeps together."""
    fields = [over_confident(s, 1.0, n=20, name=f"f{s}") for s in range(4)]
    one, two = (replace(fields[i], sample=replace(fields[i].sample, source=s, patient="P")) for i, s in enumerate("ab"))
    assert one.group == two.group
    assert len(pool([one, two]).groups) == 1
    assert sorted(len(p) for p in deal([one, two, fields[2]])) == [0, 0, 1, 2]
    with pytest.raises(DataError, match="cannot be tested"):
        cross_fit(deal([one, two]))
    patches = [replace(f, sample=replace(f.sample, group="fold1", unit=f.sample.name)) for f in fields[2:]]
    assert len(pool(patches).groups) == 2


def test_cross_fitting_never_shows_a_fold_to_itself() -> None:
    parts = [[over_confident(6, 3.0, name="a")], [over_confident(7, 1.0, name="b")]]
    a, b = cross_fit(parts)
    assert a.calibration == fit_calibration(parts[1])
    assert b.calibration == fit_calibration(parts[0])
    with pytest.raises(DataError, match="two folds"):
        cross_fit(parts[:1])
