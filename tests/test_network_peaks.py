"""Peaks: truth drawn as the training target, found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.backends.base import results_of
from tilscore.backends.torch_backend import results_on_device
from tilscore.datasets.crops import Crop
from tilscore.labels import UNKNOWN, Cell
from tilscore.network.config import CELL_STRIDE
from tilscore.network.nets import CellMaps
from tilscore.network.peaks import find_peaks, refine
from tilscore.train.targets import LossConfig, encode


def crop_of(x: np.ndarray, y: np.ndarray, label: np.ndarray, size: int = 128) -> Crop:
    blank = np.zeros((size, size, 3), np.uint8)
    return Crop(
        blank,
        x.astype(np.float32),
        y.astype(np.float32),
        label.astype(np.int8),
        np.ones((size, size), bool),
        np.full((size, size), UNKNOWN, np.uint8),
        blank,
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_what_is_taught_is_found(seed: int) -> None:
    """A network that says exactly the targets gives back every nucleus, at its place, with its class."""
    rng = np.random.default_rng(seed)
    cells = np.mgrid[8:120:14, 8:120:14].reshape(2, -1) + rng.uniform(-3, 3, (2, 64))
    label = rng.integers(0, 4, 64)
    peak, _, types, offset, _, _ = encode(crop_of(cells[0], cells[1], label), LossConfig())
    logits = np.log((peak[0] + 1e-6) / (1 - peak[0] + 1e-6))
    type_logits = 8.0 * (types[None] == np.arange(4)[:, None, None])
    found = find_peaks(logits, type_logits, offset, threshold=0.5, stride=CELL_STRIDE)
    assert len(found.x_px) == 64
    gap = np.hypot(found.x_px[:, None] - cells[0], found.y_px[:, None] - cells[1])
    assert gap.min(axis=1).max() < 0.01
    assert (found.types.argmax(1) == label[gap.argmin(axis=1)]).all()


def test_a_plateau_is_one_peak() -> None:
    logits = np.full((32, 32), -9.0, np.float32)
    logits[10:12, 10:12] = 3.0
    found = find_peaks(logits, np.zeros((4, 32, 32)), np.zeros((2, 32, 32)), threshold=0.5, stride=2)
    assert len(found.x_px) == 1
    assert found.detection[0] == pytest.approx(1 / (1 + np.exp(-3)))


@pytest.mark.parametrize(
    ("labels", "gap_px", "n"),
    [
        ((Cell.EPITHELIAL, Cell.EPITHELIAL), 2.5, 1),
        ((Cell.STROMAL, Cell.STROMAL), 2.5, 1),
        ((Cell.STROMAL, Cell.STROMAL), 3.5, 2),
        ((Cell.INFLAMMATORY, Cell.INFLAMMATORY), 2.5, 2),
        ((Cell.EPITHELIAL, Cell.STROMAL), 2.5, 2),
        ((Cell.EPITHELIAL, Cell.STROMAL), 1.5, 1),
        ((Cell.INFLAMMATORY, Cell.INFLAMMATORY), 1.5, 1),
    ],
)
def test_two_peaks_in_one_nucleus_are_one_cell(labels: tuple[Cell, Cell], gap_px: float, n: int) -> None:
    types = 8.0 * (np.arange(4) == np.array(labels)[:, None])
    at, gap = np.array([10, 10]), np.array([0, gap_px])
    found = refine(at, at, gap, np.zeros(2), np.array([1.0, 2.0]), types, 2)
    assert len(found.x_px) == n
    assert found.logit.max() == 2.0, "the more probable stays"


def test_no_peak_below_the_threshold() -> None:
    found = find_peaks(np.full((16, 16), -1.0), np.zeros((4, 16, 16)), np.zeros((2, 16, 16)), threshold=0.5, stride=2)
    assert len(found.x_px) == 0
    assert found.types.shape == (0, 4)


def test_peaks_found_on_the_device_are_the_same() -> None:
    rng = np.random.default_rng(3)
    d, t, o, r = (rng.normal(size=(2, c, n, n)).astype(np.float32) for c, n in ((1, 64), (4, 64), (2, 64), (5, 16)))
    host = results_of([d, t, o, r], 0.6)
    device = results_on_device(CellMaps(*(torch.from_numpy(m) for m in (d, t, o, r))), 0.6)
    for a, b in zip(host, device, strict=True):
        assert len(a.peaks.x_px) > 50
        for left, right in zip(a.peaks, b.peaks, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-5)
        np.testing.assert_array_equal(a.regions, b.regions)


def test_unknown_ground_is_not_taught() -> None:
    """Outside the known mask the loss does not see false detections; inside it does."""
    from tilscore.train.targets import Targets, loss

    crop = crop_of(np.array([20.0]), np.array([20.0]), np.array([-1]))
    crop.known[:, 64:] = False
    arrays = [torch.from_numpy(np.asarray(a))[None] for a in encode(crop, LossConfig())]
    quiet = torch.full((1, 1, 64, 64), -9.0)
    types, offset, regions = torch.zeros(1, 4, 64, 64), torch.zeros(1, 2, 64, 64), torch.zeros(1, 5, 16, 16)

    def detection(at: tuple[int, int]) -> float:
        logits = quiet.clone()
        logits[0, 0, at[0], at[1]] = 4.0
        terms = loss(CellMaps(logits, types, offset, regions), Targets(*arrays), LossConfig())
        assert float(terms["types"]) == 0.0, "an untyped nucleus teaches no class"
        assert float(terms["regions"]) == 0.0
        return float(terms["detection"])

    assert detection((40, 50)) == pytest.approx(detection((50, 60)))
    assert detection((40, 20)) > detection((40, 50)) + 0.1
