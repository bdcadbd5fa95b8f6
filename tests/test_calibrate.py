"""The calibration to sTIL %: laws of the map, honest held-out figures, and the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.cohort.agreement.calibrate import as_text, calibrate
from tilscore.errors import ConfigError, UsageError
from tilscore.score.calibration import read_calibration
from tilscore.stats.monotone import fit, folds, nested


def cohort(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Densities and pathologists' percents: a saturating curve, error that grows with the level."""
    rng = np.random.default_rng(seed)
    x = rng.lognormal(6, 1.1, n)
    mean = 90 * (1 - np.exp(-x / 1800))
    return x, np.clip(mean + rng.normal(0, 1, n) * (2 + 0.25 * mean), 0, 100)


def table(path: Path, n: int = 60, per_patient: int = 2) -> Path:
    x, y = cohort(n)
    patient = [f"p{i // per_patient:03}" for i in range(n)]
    pd.DataFrame({"patient_id": patient, "til_density_per_mm2": x, "stil_pct": y.round()}).to_csv(path, index=False)
    return path


numbers = st.lists(st.tuples(st.floats(0, 5000), st.integers(0, 100)), min_size=20, max_size=60)


@given(numbers, st.sampled_from([0.25, 8.0, 1024.0]))
@settings(max_examples=12)
def test_laws_of_the_map(pairs: list[tuple[float, int]], scale: float) -> None:
    """Monotone, within 0..100, limits around it; another unit of x gives the same percents."""
    x, y = np.array(pairs, float).T
    if np.ptp(x) < 1e-6:
        return
    group = np.arange(len(x))
    map_ = fit(x, y, group)
    grid = np.linspace(x.min() - 10, x.max() + 10, 300)
    value, (low, high) = map_(grid), map_.interval(grid)
    for curve in (value, low, high):
        assert (np.diff(curve) >= 0).all()
        assert curve.min() >= 0
        assert curve.max() <= 100
    assert (low <= value).all()
    assert (value <= high).all()
    other = fit(x * scale, y, group)
    assert other.shape == map_.shape
    np.testing.assert_allclose(other(grid * scale), value, atol=1e-6)


def test_it_finds_the_curve_and_its_interval_covers() -> None:
    """On new cases: close to the best possible error, far from a constant, 95 % intervals that hold 93 to 97 %."""
    covered, error, best, constant = [], [], [], []
    new_x, new_y = cohort(4000, 99)
    for seed in range(8):
        x, y = cohort(100, seed)
        map_ = fit(x, y, np.arange(100))
        low, high = map_.interval(new_x)
        covered.append(((low <= new_y) & (new_y <= high)).mean())
        error.append(np.abs(map_(new_x) - new_y).mean())
        best.append(np.abs(90 * (1 - np.exp(-new_x / 1800)) - new_y).mean())
        constant.append(np.abs(y.mean() - new_y).mean())
    assert 0.93 <= np.mean(covered) <= 0.97
    assert np.mean(error) < 1.1 * np.mean(best) < 0.5 * np.mean(constant)


def test_held_out_figures_are_not_flattered_by_noise() -> None:
    """Where the score tells nothing, held-out predictions are no better than the mean."""
    rng = np.random.default_rng(1)
    x, y = rng.lognormal(6, 1, 80), rng.uniform(0, 100, 80)
    held = nested(x, y, np.arange(80))
    assert np.abs(held.predicted - y).mean() > 0.95 * np.abs(held.constant - y).mean()


def test_a_patient_is_never_split() -> None:
    group = np.repeat(np.arange(17), 3)
    fold = folds(group, 5)
    assert all(len(set(fold[group == g])) == 1 for g in range(17))
    assert set(fold) == set(range(5))


def test_copies_of_a_patient_do_not_leak(tmp_path: Path) -> None:
    """Each patient's noise repeated on five slides: grouped folds must not learn it by heart."""
    rng = np.random.default_rng(3)
    x, y = np.repeat(rng.lognormal(6, 1, 40), 5), np.repeat(rng.uniform(0, 100, 40), 5)
    group = np.repeat(np.arange(40), 5)
    split, together = nested(x, y, np.arange(200)), nested(x, y, group)
    assert np.abs(together.predicted - y).mean() > np.abs(split.predicted - y).mean()


def test_the_file_and_what_it_gives(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    result = calibrate(table(tmp_path / "t.csv"), out=path)
    assert json.loads(path.read_text()) == result
    assert (result["n"], result["n_groups"], result["input"]) == (60, 30, "til_density_per_mm2")
    cv = result["cv"]
    assert cv["mae"] < 0.7 * cv["mae_constant"]
    assert cv["slope_low"] < 1 < cv["slope_high"]
    assert "calibration slope" in as_text(result)
    curve = read_calibration(path)
    middle, low, high = curve.at(600.0)
    assert low is not None
    assert high is not None
    assert low < middle < high
    assert curve.at(1e6) == curve.at(result["knots_x"][-1])
    assert curve.at(-5.0) == curve.at(result["knots_x"][0])


def test_fractions_and_gaps_are_said(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv")
    frame = pd.read_csv(path)
    plain = calibrate(path)
    frame["stil_pct"] /= 100
    frame.loc[len(frame)] = ["p999", np.nan, 0.1]
    frame.to_csv(path, index=False)
    found = calibrate(path)
    assert found["knots_y"] == pytest.approx(plain["knots_y"])
    assert found["fit"]["scale"] == 100
    assert any("1 rows left out" in n for n in found["notes"])
    assert any("fractions" in n for n in found["notes"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"truth": "none"}, "no such column"),
        ({"where": "stil_pct > 1000"}, "too few patients"),
        ({"scale": 2.0}, "not within"),
    ],
)
def test_wrong_use_is_told(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        calibrate(table(tmp_path / "t.csv"), **change)  # type: ignore[arg-type]


def test_a_number_that_no_slide_has_is_told_at_once(tmp_path: Path) -> None:
    """The file is good for tables; the score stage, which has no such number, refuses it and says which it has."""
    path = table(tmp_path / "t.csv")
    before = calibrate(path)["notes"]
    pd.read_csv(path).rename(columns={"til_density_per_mm2": "cd3"}).to_csv(path, index=False)
    (told,) = set(calibrate(path, score="cd3", out=tmp_path / "cd3.json")["notes"]) - set(before)
    assert told.endswith("not of cd3")
    with pytest.raises(ConfigError, match=r"another number \(found cd3\).*til_density_per_mm2"):
        read_calibration(tmp_path / "cd3.json")


@pytest.mark.parametrize(("slope", "found"), [(0.0, "20 % throughout"), (-0.05, "Spearman -1.00")])
def test_a_truth_that_does_not_rise_is_refused(tmp_path: Path, slope: float, found: str) -> None:
    path = table(tmp_path / "t.csv")
    frame = pd.read_csv(path)
    frame["stil_pct"] = 20 + slope * frame["til_density_per_mm2"].rank()
    frame.to_csv(path, index=False)
    with pytest.raises(UsageError) as raised:
        calibrate(path, out=tmp_path / "c.json")
    assert f"t.csv: the truth does not rise with the score (found {found}); check" in str(raised.value)
    assert not (tmp_path / "c.json").exists()
