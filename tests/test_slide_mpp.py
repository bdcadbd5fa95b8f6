"""Where the resolution comes from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from badfiles import APERIO, refused, svs, write

from tilscore.errors import MppError
from tilscore.slide import open_slide
from tilscore.slide.levels import _factor
from tilscore.slide.mpp import Found, from_aperio, from_tiff_tags, in_um, resolve
from tilscore.slide.openslide_reader import OpenSlideSlide

HERE = Path("x.svs")
BAD_MPP = ["0", "-0.5", "nan", "inf", "1000", "1e-9", "0,2,5", "abc", "", "0.25 um"]


@pytest.mark.parametrize("mpp", BAD_MPP)
def test_aperio_mpp(tmp_path: Path, mpp: str) -> None:
    path = svs(tmp_path / "x.svs", mpp)
    line = refused(path, MppError, mpp=None)
    assert "--mpp" in line
    assert open_slide(path, mpp=0.25).mpp_source == "given"
    with pytest.raises(MppError, match="--mpp"):
        OpenSlideSlide(path)


def test_decimal_comma(tmp_path: Path) -> None:
    """As systems with a comma write it; OpenSlide takes it too."""
    path = svs(tmp_path / "x.svs", "0,25")
    assert open_slide(path).mpp == OpenSlideSlide(path).mpp == 0.25


def test_objective_is_a_hint_only(tmp_path: Path) -> None:
    path = write(tmp_path / "x.svs", compression="jpeg", description=APERIO.format(mpp="").replace("|MPP = ", ""))
    assert "40x" in refused(path, MppError, mpp=None)


@pytest.mark.parametrize(
    ("resolution", "unit", "hint"),
    [
        ((72, 72), 2, "72 dpi"), ((96, 96), 2, "96 dpi"), ((300, 300), 2, "300 dpi"), ((1, 1), 1, "states no"),
        ((0, 0), 3, "no positive number"), ((2e4, 1.9e4), 3, "not square"), ((2e6, 2e6), 3, "cannot be that"),
        ((5e3, 5e3), 3, "cannot be that"),
    ],
)  # fmt: skip
def test_tiff_resolution(tmp_path: Path, resolution: tuple[float, float], unit: int, hint: str) -> None:
    path = write(tmp_path / "x.tif", resolution=resolution, resolutionunit=unit)
    line = refused(path, MppError, mpp=None)
    assert hint in line
    assert ("print setting" in line) == ("dpi" in hint)


def test_tiff_units() -> None:
    assert resolve(from_tiff_tags((50800, 1), (50800, 1), 2), None, where=HERE).mpp == pytest.approx(0.5)
    assert resolve(from_tiff_tags((10**7, 501), (10**7, 501), 3), None, where=HERE).mpp == pytest.approx(0.501)
    assert in_um("250", "nm") == pytest.approx(0.25)
    assert in_um("1", "pixel") is None


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
def test_imagej_names_its_unit_in_words(tmp_path: Path, unit: str) -> None:
    """Its TIFF has no unit in the tags; QuPath's export to ImageJ is written in the same way."""
    options = {"imagej": True, "tile": None, "resolution": (4, 4), "resolutionunit": None, "metadata": {"unit": unit}}
    with open_slide(write(tmp_path / "x.tif", **options)) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.25, "imagej.unit")


@pytest.mark.parametrize("unit", ["pixel", "inch"])
def test_imagej_without_a_length(tmp_path: Path, unit: str) -> None:
    """Inches would be told by the tags; without them a pixel has no size."""
    options = {"imagej": True, "tile": None, "resolution": (4, 4), "resolutionunit": None, "metadata": {"unit": unit}}
    refused(write(tmp_path / "x.tif", **options), MppError, mpp=None)


@pytest.mark.parametrize("given", [0, -1, float("nan"), float("inf"), 1e-3, 100])
def test_given_mpp_must_make_sense(given: float) -> None:
    with pytest.raises(MppError, match="given by hand"):
        resolve(Found(0.25, 0.25, "test"), given, where=HERE)


def test_flags() -> None:
    def flags(x: float, y: float, given: float | None = None, objective: float | None = None) -> tuple[str, ...]:
        return resolve(Found(x, y, "test", objective), given, where=HERE, allow_upsampling=True).flags

    assert flags(0.25, 0.2535) == ()
    assert flags(0.56, 0.56) == ("low_resolution",)
    assert flags(0.9, 0.9) == ("low_resolution", "upsampled")
    assert flags(0.25, 0.25, given=0.5) == ("mpp_differs_from_file",)
    assert flags(0.25, 0.25, given=0.251, objective=40) == ()
    assert flags(0.25, 0.25, objective=10) == ("mpp_against_objective",)
    with pytest.raises(MppError, match=r"limit is 0\.8"):
        resolve(Found(0.81, 0.81, "test"), None, where=HERE)
    with pytest.raises(MppError, match="not square"):
        flags(0.25, 0.255)


def test_aperio_text() -> None:
    found = from_aperio("Aperio\r\n1x1|AppMag = 20|MPP = 0.4990|Title = MPP = 7")
    assert (found.x, found.objective) == ("0.4990", 20)


@pytest.mark.parametrize(
    ("size", "factor"),
    [
        ((5000, 4000), 2.0), ((3333, 2666), 3.0), ((3334, 2667), 3.0), ((2500, 2000), 4.0),
        ((2506, 2005), (10_000 / 2506 + 8000 / 2005) / 2),
        ((2500, 900), None), ((0, 4), None),
    ],
)  # fmt: skip
def test_level_factor(size: tuple[int, int], factor: float | None) -> None:
    got = _factor((10_000, 8000), size)
    assert got == (None if factor is None else pytest.approx(factor, rel=1e-7))
