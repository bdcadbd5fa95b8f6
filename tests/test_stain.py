"""Stain: known mixtures told apart, glass without effect, odd slides flagged, a known factor undone."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tilscore.backends.torch_backend import TorchBackend
from tilscore.config import as_values, parse_config
from tilscore.datasets.crops import AugmentConfig
from tilscore.datasets.sample import Sample
from tilscore.infer import InferConfig, infer_slide
from tilscore.labels import Area, Cell
from tilscore.modelstore import find_model
from tilscore.network.config import ModelConfig, StainLimit, StainRange
from tilscore.phantom import PhantomConfig, training_tile
from tilscore.phantom.draw import make_stain
from tilscore.pyramid import write_pyramid
from tilscore.raster import Raster
from tilscore.slide import SlideSpec, open_slide
from tilscore.space import Grid
from tilscore.stain import (
    Normalisation,
    StainConfig,
    Stains,
    StainStats,
    check_stain,
    find_stains,
    glass_of,
    measure_stain,
    normalised,
    optical_density,
    out_of_range,
    plan_normalisation,
    stain_of_image,
    unmix,
)
from tilscore.stain.limits import COMPARED
from tilscore.tissue import find_tissue
from tilscore.train.stainrange import stain_range_of

RUIFROK = Stains((0.651, 0.701, 0.290), (0.0705, 0.9920, 0.1047))
"""Ruifrok and Johnston 2001, Table 1: haematoxylin and eosin."""


def angle(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    cosine = np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def mixture(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """[n 2] densities: a third nuclei, the others eosin, both with some of the other stain; a few pure."""
    amount = np.stack([rng.uniform(0.3, 1.0, n), rng.uniform(0.0, 0.25, n)], 1)
    pink = rng.random(n) < 0.67
    amount[pink] = np.stack([rng.uniform(0.0, 0.08, pink.sum()), rng.uniform(0.15, 0.6, pink.sum())], 1)
    return amount


def picture(
    amount: NDArray[np.float64], stains: Stains, white: tuple[int, int, int], rng: np.random.Generator
) -> NDArray:
    light = np.array(white) * 10 ** -(amount @ np.array(stains))
    return np.clip(np.rint(light + rng.normal(0, 1.0, light.shape)), 0, 255).astype(np.uint8)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    white=st.tuples(*[st.integers(190, 250)] * 3),
    turn=st.tuples(*[st.floats(-0.08, 0.08)] * 6),
)
def test_known_stains_are_recovered_whatever_the_white(seed: int, white: tuple[int, int, int], turn: tuple) -> None:
    """Vectors within 3 degrees and densities within 0.03, for glass of any tint."""
    vectors = np.maximum(np.array(RUIFROK) + np.reshape(turn, (2, 3)), 0.01)
    stains = Stains(*(tuple(v / np.linalg.norm(v)) for v in vectors))
    rng = np.random.default_rng(seed)
    amount = mixture(8000, rng)
    od = optical_density(picture(amount, stains, white, rng), white)
    found = find_stains(od)
    assert angle(found.haematoxylin, stains.haematoxylin) < 3
    assert angle(found.eosin, stains.eosin) < 3
    assert np.abs(unmix(od, stains) - amount).mean() < 0.03


def slide_of(image: NDArray[np.uint8], path: Path) -> SlideSpec:
    """The picture as a slide at 0.5 um/px: in tiles, with glass that is measured."""
    tiles = [image[y : y + 256, x : x + 256] for y in range(0, len(image), 256) for x in range(0, image.shape[1], 256)]
    write_pyramid(path, Grid(0.5, image.shape[1], len(image)), tiles, compression="jpeg", quality=98)
    return SlideSpec(path.stem, path)


def measured(spec: SlideSpec) -> StainStats:
    with open_slide(spec.path, mpp=spec.mpp) as slide:
        return measure_stain(slide, find_tissue(slide))


@lru_cache
def field(seed: int = 3) -> NDArray[np.uint8]:
    """A phantom of 256 um; every fourth seed shares its textures, which take the time."""
    image, _, _ = training_tile(seed, 512, 0.5)
    return image


def restained(image: NDArray[np.uint8], h: float, e: float, seed: int = 3) -> NDArray[np.uint8]:
    """The same tissue with its stains scaled, by the phantom's own vectors."""
    stain = make_stain(PhantomConfig(seed=seed, stain=1.3))
    stains = Stains(*(tuple(v / np.linalg.norm(v)) for v in stain.vectors.astype(float)))
    white = tuple(round(float(w)) for w in stain.white)
    return normalised(image, Normalisation(None, h, e, stains), white)


def on_glass(image: NDArray[np.uint8], right: int, below: int, colour: tuple[int, int, int] = (242, 242, 242)):
    out = np.full((image.shape[0] + below, image.shape[1] + right, 3), colour, np.uint8)
    out[: image.shape[0], : image.shape[1]] = image
    return out


def test_a_phantom_gives_its_own_stains(tmp_path: Path) -> None:
    """What the phantom was drawn with comes out again, through JPEG, tissue detection and the measured glass."""
    stain = make_stain(PhantomConfig(seed=3, stain=1.3))
    stats = measured(slide_of(on_glass(field(), 256, 256, tuple(stain.white.round().astype(int))), tmp_path / "p.tif"))
    assert stats.reason is None
    assert stats.white_source == "glass"
    assert np.abs(np.array(stats.white_rgb) - stain.white).max() < 3
    # Its nuclei hold a tenth of eosin, so the purest pixels lie a few degrees from haematoxylin.
    assert angle(stats.haematoxylin, stain.vectors[0]) < 6
    assert angle(stats.eosin, stain.vectors[1]) < 4


def test_a_slide_without_glass_is_not_darkened(tmp_path: Path) -> None:
    """The brightest of tissue that fills the slide is no lamp: glass above 240 is believed where it is seen alone."""
    image = np.clip(field().astype(int) + 60, 0, 255).astype(np.uint8)
    with open_slide(slide_of(image, tmp_path / "full.tif").path) as slide:
        assert glass_of(slide) == (240, 240, 240)
    with open_slide(slide_of(on_glass(image, 512, 512, (250, 248, 249)), tmp_path / "glass.tif").path) as slide:
        assert np.abs(np.subtract(glass_of(slide), (250, 248, 249))).max() <= 1


@settings(max_examples=6)
@given(right=st.integers(0, 3), below=st.integers(0, 3))
def test_background_changes_nothing(right: int, below: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the same tissue, the statistics are the same however much glass lies around it."""
    image = field()
    folder = tmp_path_factory.mktemp("glass")
    grid = Grid(8.0, 32, 32)
    seen = []
    for name, (r, b) in {"little": (0, 0), "much": (right, below)}.items():
        cv2.imwrite(str(folder / f"{name}.png"), on_glass(image, 512 * r, 512 * b)[..., ::-1])
        areas = np.zeros((32 * (1 + b), 32 * (1 + r)), np.uint8)
        areas[:30, :31] = Area.TISSUE
        areas[5:9, 5:9] = Area.PEN
        with open_slide(folder / f"{name}.png", mpp=0.5) as slide:
            seen.append(measure_stain(slide, Raster(areas, slide.level0.at(grid.mpp)), glass=(242, 242, 242)))
    little, much = (replace(s, sharpness_median=None, sharpness_p5=None) for s in seen)
    assert little == much
    assert seen[0].sharpness_median == pytest.approx(seen[1].sharpness_median, rel=0.02)


def test_too_little_to_tell_is_said(tmp_path: Path) -> None:
    blank = np.full((512, 512, 3), 243, np.uint8)
    assert measured(slide_of(blank, tmp_path / "blank.tif")).reason == "too_little_tissue"
    assert stain_of_image(blank, 0.5).reason == "too_little_tissue"
    rng = np.random.default_rng(0)
    only_eosin = np.kron(mixture(32 * 32, rng).reshape(32, 32, 2) * (0, 2), np.ones((16, 16, 1)))
    stats = stain_of_image(picture(only_eosin, RUIFROK, (240, 240, 240), rng), 0.5)
    assert stats.reason == "one_stain"
    assert stats.between_deg is not None
    assert stats.h_p99_od is None
    assert plan_normalisation(stats, REFERENCE).reason == "one_stain"
    pale = on_glass(np.full((512, 512, 3), (232, 224, 230), np.uint8), 0, 0)
    assert stain_of_image(pale, 0.5).reason in ("too_pale", "too_little_tissue")


REFERENCE = StainRange((StainLimit("h_p99_od", 0.3, 0.8, 1.2), StainLimit("e_p99_od", 0.2, 0.4, 0.8)), 5)


@pytest.fixture(scope="module")
def limits() -> StainRange:
    """What a model learned that saw six phantoms, augmented."""
    none = np.zeros(0, np.float32)
    samples = [Sample(str(s), "phantom", field(s), 0.5, none, none, none.astype(np.int8)) for s in range(43, 67, 4)]
    limits = stain_range_of(samples, AugmentConfig(), 24)
    assert limits.n_images == 6
    return limits


def test_phantoms_lie_in_range_of_each_other_and_a_restained_one_does_not(limits: StainRange) -> None:
    assert {x.name for x in limits.limits} == set(COMPARED)
    out = [found for seed in (3, 7, 11, 15) for found in out_of_range(stain_of_image(field(seed), 0.5), limits)]
    assert len(out) <= 0.1 * 4 * len(COMPARED), out
    dark = out_of_range(stain_of_image(restained(field(), 2.0, 2.0), 0.5), limits)
    assert {"h_p99_od", "od_p90"} <= {f.name for f in dark}
    for found in dark:
        assert not found.low <= found.value <= found.high
        assert found.code == "stain_out_of_range"


def test_a_soft_phantom_is_blurred_and_a_sharp_one_is_not(limits: StainRange) -> None:
    soft = cv2.GaussianBlur(field(), (0, 0), 6)
    assert [f.code for f in out_of_range(stain_of_image(soft, 0.5), limits) if f.name.startswith("sharp")] == [
        "blurred"
    ]
    sharp = replace(stain_of_image(field(), 0.5), sharpness_median=99.0)
    assert not [f for f in out_of_range(sharp, limits) if f.name.startswith("sharp")]


@pytest.mark.parametrize(("h", "e"), [(0.6, 1.4), (1.5, 0.7), (0.7, 0.7)])
def test_normalising_undoes_a_known_factor(h: float, e: float) -> None:
    """The factors are found within 15 %, pixels come at least twice nearer to those before, and glass stays white."""
    before = field()
    own = stain_of_image(before, 0.5)
    wanted = StainRange(tuple(StainLimit(n, 0, getattr(own, n), 9) for n in ("h_p99_od", "e_p99_od")), 1)
    changed = restained(before, h, e)
    plan = plan_normalisation(stain_of_image(changed, 0.5), wanted)
    assert (plan.h_factor * h, plan.e_factor * e) == pytest.approx((1, 1), abs=0.15)
    after = normalised(changed, plan, (240, 240, 240))
    far, near = (np.abs(x.astype(float) - before).mean() for x in (changed, after))
    assert near < far / 2
    glass = np.full((4, 4, 3), 240, np.uint8)
    glass[0] = 255
    np.testing.assert_array_equal(normalised(glass, plan, (240, 240, 240)), glass)


def test_off_leaves_every_pixel_alone() -> None:
    image = field()
    off = plan_normalisation(stain_of_image(field(), 0.5), REFERENCE, on=False)
    assert normalised(image, off, (240, 240, 240)) is image
    assert off.as_values() == {"applied": False, "reason": "off"}
    assert plan_normalisation(stain_of_image(field(), 0.5), StainRange()).reason == "no_reference"


def test_normalised_slides_give_the_cells_of_the_original(limits: StainRange, tmp_path: Path) -> None:
    """Through the shipped network: cells of a pale, reddened phantom are less sure, and normalised nearly as before."""
    model = find_model("tilscore-lite")
    backend = TorchBackend(model.load(), "cpu", "full", model.config.calibration)

    def n_expected(name: str, image: NDArray[np.uint8], *, normalise: bool = False) -> float:
        spec = SlideSpec(name, tmp_path / f"{name}.png", mpp=0.5)
        cv2.imwrite(str(spec.path), image[..., ::-1])
        cfg = InferConfig(workers=0, stain_normalise=normalise)
        with open_slide(spec.path, mpp=0.5) as slide:
            found = infer_slide(spec, slide, find_tissue(slide), backend, cfg, threshold=0.3, stain_range=limits)
        assert found.stain.normalisation.as_values()["applied"] == normalise
        return float(found.cells.prob[found.cells.label == Cell.INFLAMMATORY].sum())

    before, pale = field(), restained(field(), 0.25, 0.35)
    truth, changed, undone = n_expected("a", before), n_expected("b", pale), n_expected("c", pale, normalise=True)
    assert truth > 50
    assert abs(changed - truth) > 4
    assert abs(undone - truth) < 0.25 * abs(changed - truth)


def test_background_alone_passes_through_normalisation(limits: StainRange, tmp_path: Path) -> None:
    """No tissue, no fit: nothing is done, and nothing fails."""
    blank = np.full((512, 512, 3), 235, np.uint8)
    with open_slide(slide_of(blank, tmp_path / "blank.tif").path) as slide:
        check = check_stain(slide, find_tissue(slide), limits, StainConfig(), glass=None, normalise=True)
    assert check.as_values()["normalisation"] == {"applied": False, "reason": "too_little_tissue"}
    assert check.as_values()["reasons"] == []
    assert normalised(blank, check.normalisation, (235, 235, 235)) is blank


def test_a_model_keeps_its_range_and_an_old_one_has_none() -> None:
    config = ModelConfig("m", stain_range=REFERENCE)
    assert parse_config(ModelConfig, as_values(config), where="config.json") == config
    assert parse_config(ModelConfig, {"name": "old"}, where="config.json").stain_range == StainRange()
    assert out_of_range(stain_of_image(field(), 0.5), StainRange()) == []
    with pytest.raises(ValueError, match="low <= typical <= high"):
        StainLimit("x", 1, 0, 2)


def test_real_slides_differ_as_their_preparation_does(real_data: Path) -> None:
    """Two scanners and laboratories: the haematoxylins lie over 5 degrees apart, and each pair is one of H&E."""
    slides = real_data / "slides"
    field_, other = (
        measured(SlideSpec(n, slides / n, mpp=0.5)) for n in ("crimage_lImg.jpg", "CMU-1-Small-Region.svs")
    )
    assert field_.reason is other.reason is None
    assert angle(field_.haematoxylin, other.haematoxylin) > 5
    for stats in (field_, other):
        assert 15 < stats.between_deg < 50
        assert stats.h_red_deg > stats.e_red_deg + 10
