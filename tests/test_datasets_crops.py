"""How crops are recoloured and cut: what stays, what varies, and that cutting first changes nothing."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_sets import sample

from tilscore.datasets.crops import HED_FROM_OD, AugmentConfig, crop_at, plain_crop, random_crop
from tilscore.errors import ConfigError

STILL = AugmentConfig(
    stain_gain=0,
    stain_shift=0,
    colour_gain=0,
    blur_chance=0,
    coarse_chance=0,
    sharpen_chance=0,
    jpeg_chance=0,
    noise_chance=0,
)
_NOISE = np.random.default_rng(4).integers(0, 256, (300, 300, 3), np.uint8)
NOISY = replace(sample(n=0, size=300), image=np.asarray(cv2.GaussianBlur(_NOISE, (0, 0), 2), np.uint8))


def density(image: np.ndarray) -> np.ndarray:
    return -np.log((image.reshape(-1, 3).astype(float) + 1) / 256)


@given(seed=st.integers(0, 999))
@settings(max_examples=20)
def test_without_variation_every_grey_level_stays(seed: int) -> None:
    crop = random_crop(NOISY, 64, STILL, np.random.default_rng(seed))
    assert (crop.image == crop.seen).all()


def test_a_gain_multiplies_the_density_of_each_stain() -> None:
    crop = random_crop(NOISY, 96, replace(STILL, stain_gain=0.3), np.random.default_rng(1))
    light = (crop.image.min(2) > 20).ravel() & (crop.seen.min(2) > 20).ravel()
    before, after = (density(i)[light] @ HED_FROM_OD for i in (crop.seen, crop.image))
    gain = (before * after).sum(0) / (before**2).sum(0)
    assert np.abs(after - before * gain).max() < 0.1  # rounded grey levels, unmixed
    assert np.ptp(gain) > 0.01
    assert (np.abs(gain - 1) < 0.31).all()


@given(seed=st.integers(0, 999))
@settings(max_examples=30)
def test_turned_stains_keep_glass_white_and_no_dye_gives_light(seed: int) -> None:
    """One matrix, of no negative part for either dye, leads from the old densities to the new ones."""
    field = replace(NOISY, image=np.maximum(NOISY.image, 90))
    field.image[:20] = 255
    crop = random_crop(field, 96, replace(STILL, stain_turn=0.2), np.random.default_rng(seed))
    assert (crop.image[(crop.seen == 255).all(2)] == 255).all()
    inside = (crop.image.min(2) > 5).ravel() & (crop.image.max(2) < 250).ravel()
    before, after = (density(i)[inside] for i in (crop.seen, crop.image))
    mix, *_ = np.linalg.lstsq(before, after, rcond=None)
    assert np.abs(before @ mix - after).max() < 0.2
    vectors = np.linalg.inv(HED_FROM_OD) @ mix
    assert vectors.min() > -0.05
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(
        np.linalg.norm(np.linalg.inv(HED_FROM_OD), axis=1), abs=0.05
    )


def test_turning_changes_the_hue_of_a_stain() -> None:
    hues = []
    for seed in range(40):
        crop = random_crop(NOISY, 64, replace(STILL, stain_turn=0.2), np.random.default_rng(seed))
        mean = density(crop.image).mean(0)
        hues.append(mean / np.linalg.norm(mean))
    assert np.std(hues, axis=0).min() > 0.01


@settings(max_examples=40)
@given(seed=st.integers(0, 9999), x=st.integers(0, 60), y=st.integers(0, 60))
def test_a_crop_depends_on_what_it_shows_alone(seed: int, x: int, y: int) -> None:
    """Fine fields are cut before they are averaged: the same crop comes out of a field and of its middle."""
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.74)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    middle = rng.uniform(145, 155, 2)
    part = replace(NOISY, image=np.ascontiguousarray(NOISY.image[y : y + 240, x : x + 240]))
    whole, same = (
        crop_at(f, np.hstack([turn, (16 - turn @ at)[:, None]]), 32)
        for f, at in ((NOISY, middle), (part, middle - (x, y)))
    )
    assert np.abs(whole.image.astype(int) - same.image).max() <= 1
    assert (whole.known == same.known).all()


@given(angle=st.floats(0, 6.28), x=st.floats(-60, 210), y=st.floats(-60, 210))
@settings(max_examples=40)
def test_beyond_its_edges_a_field_is_mirrored(angle: float, x: float, y: float) -> None:
    """As a field of which the mirror images are pixels: what is cut out first is deep enough to be mirrored."""
    rows, cols = np.mgrid[:150, :150] / 9
    wave = np.broadcast_to(128 + 50 * np.sin(rows)[..., None] + 50 * np.cos(cols)[..., None], (150, 150, 3))
    field = replace(NOISY, image=np.ascontiguousarray(wave, np.uint8))
    mirrored = replace(field, image=np.asarray(cv2.copyMakeBorder(field.image, *[149] * 4, cv2.BORDER_REFLECT_101)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 0.5
    small, large = (
        crop_at(f, np.hstack([turn, (32 - turn @ at)[:, None]]), 64)
        for f, at in ((field, np.array([x, y])), (mirrored, np.array([x + 149, y + 149])))
    )
    assert np.abs(small.image.astype(int) - large.image).max() < 16  # a pixel on the edge is averaged otherwise


def test_a_turn_beyond_reason_is_refused() -> None:
    with pytest.raises(ConfigError, match="stain_turn"):
        AugmentConfig(stain_turn=0.5)


@pytest.mark.parametrize("tall", [False, True])
def test_a_field_that_is_too_long_for_opencv_is_cut_in_pieces(tall: bool) -> None:
    """33,000 px: a crop at its end, and the whole of it at another resolution, are those of a part of it."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (12, 4125, 3)).astype(np.uint8)
    image = np.asarray(cv2.resize(small, (33_000, 96), interpolation=cv2.INTER_LINEAR), np.uint8)
    regions = rng.integers(0, 5, image.shape[:2]).astype(np.uint8)
    x, y = np.array([32_500.0], np.float32), np.array([40.0], np.float32)
    long, at = sample(n=1), 32_000
    keys = {"image": image, "regions": regions, "x_px": x, "y_px": y}
    cut = {"image": image[:, at:], "regions": regions[:, at:], "x_px": x - at, "y_px": y}
    if tall:
        keys, cut = (
            {k: v.T if v.ndim == 2 else v.swapaxes(0, 1) if v.ndim == 3 else v for k, v in d.items()}
            for d in (keys, cut)
        )
        keys |= {"x_px": y, "y_px": x}
        cut |= {"x_px": y, "y_px": x - at}
    turn = np.array([[0.6, 0.3, 0.0], [-0.3, 0.6, 0.0]])
    turn[:, 2] = 32 - turn[:, :2] @ ((40, 400) if tall else (400, 40))
    far = turn.copy()
    far[:, 2] -= turn[:, :2] @ ((0, at) if tall else (at, 0))
    whole, part = crop_at(replace(long, **keys), far, 64), crop_at(replace(long, **cut), turn, 64)
    assert np.abs(whole.image.astype(int) - part.image).max() <= 2, "their positions are rounded"
    assert (whole.regions != part.regions).mean() < 0.01
    np.testing.assert_allclose((whole.x_px, whole.y_px), (part.x_px, part.y_px), atol=0.01)
    every, some = plain_crop(replace(long, **keys), mpp=0.4), plain_crop(replace(long, **cut), mpp=0.4)
    assert max(every.image.shape) == 41_280
    moved, n = round(at * 1.25), 1200
    cuts = (np.s_[moved : moved + n], np.s_[:n]) if tall else (np.s_[:, moved : moved + n], np.s_[:, :n])
    for name in ("image", "known", "regions"):
        one, other = getattr(every, name)[cuts[0]].astype(int), getattr(some, name)[cuts[1]].astype(int)
        assert (np.abs(one - other) > 2).mean() < 0.001, name
