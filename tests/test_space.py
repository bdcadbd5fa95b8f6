"""The laws of the geometry, and proof that the laws notice mistakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.space import BoxUm, Grid, Window

mpps = st.floats(0.1, 16.0)
sizes = st.integers(1, 5000)
places = st.floats(-2000, 20000)


def close(a: object, b: object) -> bool:
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-6))  # type: ignore[arg-type]


def law_there_and_back(kind: type[Grid], mpp: float, w: int, h: int, um: float) -> bool:
    grid = kind(mpp, w, h)
    return close(grid.to_um(grid.to_px(um)), um)


def law_a_pixel_is_mpp_long(kind: type[Grid], mpp: float, w: int, h: int, um: float) -> bool:
    grid = kind(mpp, w, h)
    return close(grid.to_px(um + mpp) - grid.to_px(um), 1.0) and close(grid.to_px(0.0), 0.0)


def law_size_is_pixels_times_mpp(kind: type[Grid], mpp: float, w: int, h: int, um: float) -> bool:
    grid = kind(mpp, w, h)
    return close((grid.width_um, grid.height_um), (w * mpp, h * mpp)) and grid.shape == (h, w)


def law_index_covers_the_point(kind: type[Grid], mpp: float, w: int, h: int, um: float) -> bool:
    grid = kind(mpp, w, h)
    i = int(grid.index(um))
    return i * mpp <= um + 1e-4 and um < (i + 1) * mpp + 1e-4


def law_window_covers_its_box_tightly(kind: type[Grid], mpp: float, w: int, h: int, um: float) -> bool:
    grid = kind(mpp, w, h)
    box = BoxUm(um, um / 2, um + 37.0, um / 2 + 11.0)
    got = grid.covering_window(box).box
    slack = 1e-4
    covers = got.x0 <= box.x0 + slack and got.y0 <= box.y0 + slack
    covers &= got.x1 >= box.x1 - slack and got.y1 >= box.y1 - slack
    tight = box.x0 - got.x0 < mpp + slack and box.y0 - got.y0 < mpp + slack
    return covers and tight and got.x1 - box.x1 < mpp + slack and got.y1 - box.y1 < mpp + slack


def law_another_grid_covers_the_slide(kind: type[Grid], mpp: float, w: int, h: int, um: float) -> bool:
    grid = kind(mpp, w, h)
    other = grid.at(mpp * 1.7)
    return (
        grid.width_um - 1e-4 <= other.width_um < grid.width_um + other.mpp + 1e-4
        and grid.height_um - 1e-4 <= other.height_um < grid.height_um + other.mpp + 1e-4
        and grid.at(mpp).shape == grid.shape
    )


Law = Callable[[type[Grid], float, int, int, float], bool]
LAWS: list[Law] = [
    law_there_and_back,
    law_a_pixel_is_mpp_long,
    law_size_is_pixels_times_mpp,
    law_index_covers_the_point,
    law_window_covers_its_box_tightly,
    law_another_grid_covers_the_slide,
]


@pytest.mark.parametrize("law", LAWS, ids=lambda f: f.__name__)
@given(mpp=mpps, w=sizes, h=sizes, um=places)
def test_law(law: Law, mpp: float, w: int, h: int, um: float) -> None:
    assert law(Grid, mpp, w, h, um)


@dataclasses.dataclass(frozen=True)
class ScaleForgotten(Grid):
    def to_px(self, um):  # type: ignore[no-untyped-def]
        return np.asarray(um, dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class MultipliesTwice(Grid):
    def to_px(self, um):  # type: ignore[no-untyped-def]
        return np.asarray(um) * self.mpp


@dataclasses.dataclass(frozen=True)
class HalfPixelShift(Grid):
    def to_px(self, um):  # type: ignore[no-untyped-def]
        return np.asarray(um) / self.mpp - 0.5

    def to_um(self, px):  # type: ignore[no-untyped-def]
        return (np.asarray(px) + 0.5) * self.mpp


@dataclasses.dataclass(frozen=True)
class SidesSwapped(Grid):
    @property
    def shape(self) -> tuple[int, int]:
        return self.width_px, self.height_px


@dataclasses.dataclass(frozen=True)
class RoundsTheIndex(Grid):
    def index(self, um):  # type: ignore[no-untyped-def]
        return np.round(self.to_px(um)).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class WindowUsesXForY(Grid):
    def covering_window(self, box: BoxUm) -> Window:
        window = super().covering_window(box)
        return dataclasses.replace(window, y=window.x)


@dataclasses.dataclass(frozen=True)
class WindowTooSmall(Grid):
    def covering_window(self, box: BoxUm) -> Window:
        window = super().covering_window(box)
        return dataclasses.replace(window, w=window.w - 1)


@dataclasses.dataclass(frozen=True)
class OtherGridRoundsDown(Grid):
    def at(self, mpp: float) -> Grid:
        return Grid(mpp, int(self.width_um / mpp), int(self.height_um / mpp))


MUTANTS = [
    ScaleForgotten,
    MultipliesTwice,
    HalfPixelShift,
    SidesSwapped,
    RoundsTheIndex,
    WindowUsesXForY,
    WindowTooSmall,
    OtherGridRoundsDown,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_every_mistake_breaks_a_law(mutant: type[Grid]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        args = (rng.uniform(0.1, 16), int(rng.integers(1, 5000)), int(rng.integers(1, 5000)), rng.uniform(-2000, 20000))
        if not all(law(mutant, *args) for law in LAWS):
            return
    pytest.fail(f"no law notices {mutant.__name__}")


@given(w=st.integers(1, 300), h=st.integers(1, 300), size=st.integers(1, 97))
def test_split_partitions_a_window(w: int, h: int, size: int) -> None:
    hits = np.zeros((h, w), int)
    for part in Window(Grid(1.0, w, h), 0, 0, w, h).split(size):
        hits[part.slices] += 1
    assert (hits == 1).all()


@given(x=st.integers(-50, 50), y=st.integers(-50, 50), w=st.integers(0, 60), h=st.integers(0, 60))
def test_clip_is_the_part_inside(x: int, y: int, w: int, h: int) -> None:
    grid = Grid(0.5, 30, 20)
    part = Window(grid, x, y, w, h).clip()
    inside = {(i, j) for i in range(x, x + w) for j in range(y, y + h) if 0 <= i < 30 and 0 <= j < 20}
    assert part.w * part.h == len(inside)
    assert all((i, j) in inside for i in range(part.x, part.x + part.w) for j in range(part.y, part.y + part.h))


@settings(max_examples=30)
@given(margin=st.floats(0, 100))
def test_grow_adds_the_margin_on_each_side(margin: float) -> None:
    box = BoxUm(1.0, 2.0, 4.0, 8.0).grow(margin)
    assert close(box.area_mm2 * 1e6, (3 + 2 * margin) * (6 + 2 * margin))


@pytest.mark.parametrize("mpp", [0.0, -0.5, float("nan"), float("inf")])
def test_a_grid_needs_a_real_resolution(mpp: float) -> None:
    with pytest.raises(ValueError, match="positive mpp"):
        Grid(mpp, 10, 10)
