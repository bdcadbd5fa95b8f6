"""What the network is taught of a nucleus: how broad its peak is, and what a wrong probability costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_sets import sample

from tilscore.augment import plain_crop
from tilscore.nets import CellMaps
from tilscore.targets import LossConfig, Targets, encode, loss

CFG = LossConfig()


def peak_of(x: list[float], y: list[float]) -> np.ndarray:
    """[64 64] target of nuclei at these places, in map pixels (1 um)."""
    at = {"x_px": np.multiply(x, 2).astype(np.float32), "y_px": np.multiply(y, 2).astype(np.float32)}
    one = sample(n=len(x), size=128, **at)
    return np.asarray(encode(plain_crop(one), CFG)[0][0])


def test_a_nucleus_alone_has_the_broadest_peak() -> None:
    peak = peak_of([30.5], [30.5])
    assert peak[30, 32] == pytest.approx(math.exp(-(2**2) / (2 * CFG.sigma_high_px**2)), rel=1e-5)
    assert peak[30, 30] == 1


@given(spacing=st.floats(2.5, 20))
def test_two_peaks_stay_apart(spacing: float) -> None:
    """Half-way between two nuclei the target is well below either, however near they lie."""
    peak = peak_of([20.5, 20.5 + spacing], [30.5, 30.5])
    line = peak[30, 20 : 20 + round(spacing) + 1]
    assert line[0] == 1
    assert peak[30, math.floor(20.5 + spacing)] == 1
    assert line.min() < 0.55


def test_crowded_nuclei_have_narrower_peaks() -> None:
    beside = [peak_of([20.5, 20.5 + d], [30.5, 30.5])[32, 20] for d in (3.0, 5.0, 7.0, 9.0)]
    assert beside == sorted(beside)
    assert beside[0] < beside[-1] / 2


def detection_loss(peak: float, p: float) -> float:
    """Of one pixel, all others known to be background and said to be."""
    shape = (1, 1, 8, 8)
    target = torch.zeros(shape)
    target[0, 0, 4, 4] = peak
    logits = torch.full(shape, -60.0)
    logits[0, 0, 4, 4] = math.log(p / (1 - p))
    maps = CellMaps(logits, torch.zeros(1, 4, 8, 8), torch.zeros(1, 2, 8, 8), torch.zeros(1, 5, 2, 2))
    nowhere = torch.full((1, 8, 8), -1)
    known, near = torch.ones(shape, dtype=torch.bool), torch.zeros(1, 8, 8, dtype=torch.bool)
    regions = torch.full((1, 2, 2), 255)
    targets = Targets(target, known, nowhere, torch.zeros(1, 2, 8, 8), near, regions)
    return float(loss(maps, targets, CFG)["detection"])


@given(y=st.floats(0.05, 0.95), p=st.floats(0.02, 0.98))
def test_detection_is_the_quality_focal_loss(y: float, p: float) -> None:
    """Closed form of one pixel over the least number of nuclei, 8; nothing where the probability is the target."""
    want = (y - p) ** 2 * -(y * math.log(p) + (1 - y) * math.log(1 - p)) / 8
    assert detection_loss(y, p) == pytest.approx(want, rel=1e-3, abs=1e-6)
    assert detection_loss(y, y) == pytest.approx(0, abs=1e-6)
