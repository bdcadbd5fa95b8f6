"""What the network is shown and taught of a nucleus: its place, how broad its peak is, what an error costs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_sets import sample

from tilscore.datasets import Sample
from tilscore.datasets.crops import plain_crop
from tilscore.network.nets import CellMaps
from tilscore.train.targets import LossConfig, Targets, encode, loss

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


def test_a_narrow_field_is_shown_as_it_is_and_not_as_a_square() -> None:
    """100 x 20 um at 0.25 um/px: a square would be four times the pixels of the field."""
    image = np.random.default_rng(0).integers(0, 255, (80, 400, 3), np.uint8)
    at = np.array([3.0, 399.0], np.float32)
    narrow = Sample("n", "s", image, 0.25, at, at / 5, np.zeros(2, np.int8), known=np.ones((80, 400), bool))
    for field in (narrow, replace(narrow, image=image.transpose(1, 0, 2), x_px=at / 5, y_px=at, known=narrow.known.T)):
        crop = plain_crop(field)
        assert sorted(crop.image.shape) == [3, 64, 224]
        assert crop.known.shape == crop.regions.shape == crop.image.shape[:2]
        assert crop.known.sum() == 40 * 200
        np.testing.assert_allclose(np.sort([crop.x_px, crop.y_px], axis=0), [at / 10, at / 2])
