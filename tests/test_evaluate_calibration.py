"""Calibration: laws, and where it is applied; what is fitted: test_evaluate_fits.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tilscore.backends.base import results_of
from tilscore.backends.torch_backend import results_on_device
from tilscore.config import as_values, parse_config
from tilscore.errors import ConfigError
from tilscore.evaluate.calibration import bins_of, calibration_error
from tilscore.labels import Cell
from tilscore.network.config import Calibration, ModelConfig
from tilscore.network.nets import CellMaps
from tilscore.network.peaks import Candidates, find_candidates, find_peaks, lowest_logit, operate, probabilities

slopes = st.floats(0.1, 8)
shifts = st.floats(-4, 4)


def candidates(seed: int, n: int = 200) -> Candidates:
    rng = np.random.default_rng(seed)
    x, y = np.mgrid[5:1000:20, 5:200:20].reshape(2, -1)[:, :n].astype(np.float32)
    return Candidates(x, y, rng.normal(0, 2, n).astype(np.float32), rng.normal(0, 2, (n, 4)).astype(np.float32))


def test_the_default_changes_nothing() -> None:
    logits = candidates(0)
    detection, types = probabilities(logits.logit, logits.type_logits)
    np.testing.assert_allclose(detection, torch.sigmoid(torch.from_numpy(logits.logit)).numpy(), atol=1e-6)
    np.testing.assert_allclose(types, torch.softmax(torch.from_numpy(logits.type_logits), 1).numpy(), atol=1e-6)


@given(slope=slopes, shift=shifts, type_slope=slopes, seed=st.integers(0, 99))
def test_order_and_class_stay(slope: float, shift: float, type_slope: float, seed: int) -> None:
    """Calibration is monotone: more logit is never less probable, and no nucleus changes its class."""
    found = candidates(seed)
    detection, types = probabilities(found.logit, found.type_logits, Calibration(slope, shift, type_slope))
    assert (np.diff(detection[np.argsort(found.logit)]) >= 0).all()
    top = types[np.arange(len(types)), found.type_logits.argmax(1)]
    assert (top >= types.max(1)).all()
    np.testing.assert_allclose(types.sum(1), 1, atol=1e-5)
    assert np.isfinite(detection).all()


@given(
    slope=slopes, shift=shifts, threshold=st.floats(0.02, 0.9), own=st.lists(st.floats(0, 0.99), min_size=4, max_size=4)
)
def test_cells_are_those_above_both_thresholds(slope: float, shift: float, threshold: float, own: list[float]) -> None:
    found = candidates(1)
    calibration = Calibration(slope, shift, class_thresholds=tuple(own))
    cells = operate(found, threshold, calibration)
    p = 1 / (1 + np.exp(-(slope * found.logit.astype(float) + shift)))
    lowest = np.maximum(threshold, np.array(own)[found.type_logits.argmax(1)])
    clear = np.abs(p - lowest) > 1e-6
    kept = np.isin(found.x_px + 1e5 * found.y_px, cells.x_px + 1e5 * cells.y_px)
    np.testing.assert_array_equal(kept[clear], (p > lowest)[clear])


@given(slope=slopes, shift=shifts, threshold=st.floats(0.01, 0.99))
def test_the_lowest_logit_is_where_the_probability_is_the_threshold(
    slope: float, shift: float, threshold: float
) -> None:
    at = lowest_logit(threshold, Calibration(slope, shift))
    assert 1 / (1 + np.exp(-(slope * at + shift))) == pytest.approx(threshold)


def maps(seed: int) -> tuple[NDArray[np.float32], ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(2, c, n, n)).astype(np.float32) for c, n in ((1, 64), (4, 64), (2, 64), (5, 16)))


def test_candidates_then_operating_point_are_the_peaks() -> None:
    """Finding everything first and cutting later is what inference does in one step, so evaluation judges its cells."""
    d, t, o, _ = maps(5)
    calibration = Calibration(1.7, 0.4, 0.8, class_thresholds=(0.7, 0.0, 0.65, 0.0))
    at_once = find_peaks(d[0, 0], t[0], o[0], threshold=0.6, stride=2, calibration=calibration)
    later = operate(find_candidates(d[0, 0], t[0], o[0], -3.0, 2), 0.6, calibration)
    assert len(at_once.x_px) > 20
    for a, b in zip(at_once, later, strict=True):
        np.testing.assert_array_equal(a, b)


def test_both_ways_to_find_peaks_apply_it() -> None:
    every = maps(3)
    calibration = Calibration(2.0, -0.5, 0.6, class_thresholds=(0.97, 0.0, 0.0, 0.0))
    host = results_of(list(every), 0.6, calibration)
    device = results_on_device(CellMaps(*(torch.from_numpy(m) for m in every)), 0.6, calibration)
    plain = results_of(list(every), 0.6)
    for a, b, c in zip(host, device, plain, strict=True):
        for left, right in zip(a.peaks, b.peaks, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-5)
        assert len(a.peaks.x_px) != len(c.peaks.x_px)
        assert (a.peaks.detection[a.peaks.types.argmax(1) == Cell.INFLAMMATORY] > 0.97).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_laws_of_the_calibration_error(cases: list[tuple[float, bool]]) -> None:
    p, hit = np.array([c[0] for c in cases]), np.array([c[1] for c in cases])
    error = calibration_error(bins_of(p, hit))
    assert 0 <= error <= 1
    assert error >= abs(p.mean() - hit.mean()) - 1e-9
    assert calibration_error(bins_of(hit.astype(float), hit)) == 0


def test_it_lives_in_the_model_and_old_models_have_none() -> None:
    config = ModelConfig("m", calibration=Calibration(2.0, 0.5, 0.9, -0.7, (0.4, 0.3, 0.3, 0.2), "folds"))
    assert parse_config(ModelConfig, as_values(config), where="config.json") == config
    old = as_values(config)
    del old["calibration"]
    assert parse_config(ModelConfig, old, where="config.json").calibration == Calibration()


@pytest.mark.parametrize(
    "wrong",
    [
        {"detection_slope": 0.0},
        {"type_slope": -1.0},
        {"detection_shift": float("inf")},
        {"inflammatory_shift": float("nan")},
        {"class_thresholds": [0.5]},
        {"class_thresholds": [0.1, 0.2, 0.3, 1.0]},
    ],
)
def test_a_calibration_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="calibration"):
        parse_config(ModelConfig, {"name": "m", "calibration": wrong}, where="config.json")
