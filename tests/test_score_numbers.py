"""Every number of the score against its closed form, on maps and cells that are given."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from beds import score_slide

from tilscore.cells import Cells
from tilscore.errors import ConfigError
from tilscore.labels import Area, Cell, Region
from tilscore.raster import Raster
from tilscore.score import CompatConfig, InfiltratedConfig, Score, ScoreConfig
from tilscore.score.calibration import read_calibration
from tilscore.score.compat import overlap_in_squares, positive_patches
from tilscore.score.infiltrated import infiltrated
from tilscore.space import Grid

GRID = Grid(4.0, 250, 250)
"""1 x 1 mm."""
WHOLE = np.ones(GRID.shape, bool)
"""The whole field is the bed."""


def half_and_half() -> tuple[Raster, Raster]:
    """Stroma on the left, tumour on the right: 0.5 mm2 each."""
    values = np.full(GRID.shape, Region.STROMA, np.uint8)
    values[:, 125:] = Region.TUMOUR
    return Raster(values, GRID), Raster(np.full((125, 125), Area.TISSUE, np.uint8), GRID.at(8.0))


def at(x: np.ndarray, y: np.ndarray, label: Cell = Cell.INFLAMMATORY) -> Cells:
    return Cells(x, y, np.full(len(x), label), np.ones(len(x)))


def lattice(x0: float, y0: float, n_x: int, n_y: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(x0 + step * np.arange(n_x), y0 + step * np.arange(n_y))
    return x.ravel(), y.ravel()


def scored(cells: Cells, cfg: ScoreConfig | None = None, areas: np.ndarray | None = None) -> Score:
    return score_slide(cells, *half_and_half(), cfg, given=WHOLE, cell_areas_um2=areas)


def test_every_definition_in_closed_form() -> None:
    """100 TILs 40 um apart in stroma, 40 in tumour of which none touches, 20 in stroma within 12 um of the tumour."""
    far = lattice(50.3, 100.7, 10, 10, 40)
    nest = lattice(560, 100, 4, 10, 80)
    rim = (np.full(20, 494.1), 30.0 + 45 * np.arange(20))
    score = scored(at(*np.concatenate([far, nest, rim], axis=1)))
    assert (score.n_tils, score.n_itils, score.n_contact_itils) == (120, 40, 60)
    exact = {
        "til_density_per_mm2": 120 / 0.5,
        "stil_area_pct": 100 * 120 * 28.3e-6 / 0.5,
        "itil_density_per_mm2": 40 / 0.5,
        "contact_itil_density_per_mm2": 60 / (0.5 + 0.012),
    }
    for name, value in exact.items():
        assert getattr(score, name) == pytest.approx(value, rel=1e-3), name
    cut = 10 - 5.9
    segment = 100 * math.acos(5.9 / 10) - 5.9 * math.sqrt(100 - 5.9**2)
    assert cut > 0
    covered_um2 = 100 * math.pi * 100 + 20 * (math.pi * 100 - segment)
    assert score.infiltrated_area_pct == pytest.approx(100 * covered_um2 / 0.5e6, rel=1e-3)


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("shift", [0.0, 0.37, 1.9])
def test_isolated_tils_have_the_area_of_their_discs(n: int, shift: float) -> None:
    x, y = lattice(100 + shift, 200 - shift, n, 1, 50)
    mm2, _ = infiltrated(x, y, WHOLE, GRID, InfiltratedConfig())
    assert mm2 * 1e6 == pytest.approx(n * math.pi * 100, rel=2e-3 if n == 1 else 1e-3)


def test_two_discs_that_overlap_count_once() -> None:
    d, r = 12.0, 10.0
    lens = 2 * r * r * math.acos(d / 2 / r) - d / 2 * math.sqrt(4 * r * r - d * d)
    x, y = lattice(100.0, 100.0, 8, 8, 90)
    mm2, _ = infiltrated(np.r_[x, x + d], np.r_[y, y], WHOLE, GRID, InfiltratedConfig())
    assert mm2 * 1e6 == pytest.approx(64 * (2 * math.pi * r * r - lens), rel=1e-3)


@pytest.mark.parametrize(("step", "gap_um2", "closed"), [(18.0, 1000.0, True), (18.0, 1.0, False)])
def test_gaps_of_a_lattice_are_closed(step: float, gap_um2: float, closed: bool) -> None:
    """An n x n lattice whose discs overlap along its sides and leave a gap in the middle of each square."""
    n, r = 12, 10.0
    mm2, _ = infiltrated(
        *lattice(302.2, 401.9, n, n, step), WHOLE, GRID, InfiltratedConfig(radius_um=r, max_gap_um2=gap_um2)
    )
    lens = 2 * r * r * math.acos(step / 2 / r) - step / 2 * math.sqrt(4 * r * r - step * step)
    discs = n * n * math.pi * r * r - 2 * n * (n - 1) * lens
    gap = step * step - math.pi * r * r + 2 * lens
    assert gap > 5
    assert mm2 * 1e6 == pytest.approx(discs + closed * (n - 1) ** 2 * gap, rel=1e-3)


def test_a_large_void_is_no_gap() -> None:
    """A ring of TILs around 300 um of stroma: the ring is infiltrated, what it encloses is not."""
    t = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    mm2, _ = infiltrated(500 + 150 * np.cos(t), 500 + 150 * np.sin(t), WHOLE, GRID, InfiltratedConfig())
    assert mm2 * 1e6 < 2 * math.pi * 150 * 20.5


def test_windows_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 1000, (2, 1500))
    whole, one = infiltrated(x, y, WHOLE, GRID, InfiltratedConfig())
    monkeypatch.setattr("tilscore.score.infiltrated._SIDE_PX", 212)
    parts, two = infiltrated(x, y, WHOLE, GRID, InfiltratedConfig())
    assert parts == pytest.approx(whole, rel=1e-6)
    assert (one != two).sum() <= 2


def test_few_and_many_cells_agree() -> None:
    """Above 3,000 cells the pixels are coarser: a Poisson pattern gives 1 - exp(-density * disc), small gaps open."""
    rng = np.random.default_rng(2)
    grid = Grid(4.0, 500, 500)
    cfg = InfiltratedConfig(max_gap_um2=0.0)
    got = []
    for n in (2900, 3100):
        x, y = rng.uniform(-20, 2020, (2, n))
        mm2, _ = infiltrated(x, y, np.ones(grid.shape, bool), grid, cfg)
        got.append(mm2 / 4 / (1 - math.exp(-n / 2040**2 * math.pi * 100)))
    assert got == pytest.approx([1, 1], rel=0.02)


def test_compat_is_exact() -> None:
    tils = at(*lattice(60, 60, 10, 10, 40))
    tumour = at(*lattice(560, 60, 5, 10, 40), Cell.EPITHELIAL)
    compat = {k: v["value"] for k, v in scored(Cells.concat([tils, tumour])).compat.items()}
    assert compat["tiger_pct"] == pytest.approx(100 * 100 * 64e-6 / 0.5, rel=1e-12)
    assert compat["vuno_pct"] == pytest.approx(671 * 100 / (0.5e6 / 16), rel=1e-12)
    assert compat["bio_totem_pct"] == pytest.approx(100 * 100 * math.pi * 36e-6 / 0.5, rel=1e-12)
    assert compat["eastils_pct"] is None
    assert (compat["morisita_horn"], compat["tilab"]) == (0.0, 0.0), "TILs and tumour never share a square"


def test_1000_tils_per_mm2_read_as_published() -> None:
    """6.4, 10.7 and 11.3 %: the same cells under three constants."""
    rng = np.random.default_rng(0)
    compat = scored(at(rng.uniform(0, 499, 500), rng.uniform(0, 999, 500))).compat
    got = [round(compat[k]["value"], 1) for k in ("tiger_pct", "vuno_pct", "bio_totem_pct")]
    assert got == [6.4, 10.7, 11.3]


def test_measured_areas_take_the_place_of_the_declared_one() -> None:
    x, y = lattice(60, 60, 10, 10, 40)
    score = scored(at(x, y), areas=np.linspace(20, 60, 100))
    assert score.stil_area_pct == pytest.approx(100 * 100 * 40e-6 / 0.5)
    assert score.compat["eastils_pct"]["value"] == pytest.approx(score.stil_area_pct)
    assert score.constants["area_per_til"] == "measured"
    assert score.stil_area_low / score.til_density_low == pytest.approx(40e-4, rel=1e-5)


def test_morisita_horn_by_hand() -> None:
    """Squares (l, t) of (2, 1) and (2, 3): 2 * (2*1 + 2*3) / ((8/16 + 10/16) * 4 * 4)."""
    one = np.array([10.0, 20, 110, 120]), np.full(4, 5.0)
    two = np.array([15.0, 130, 140, 150]), np.full(4, 5.0)
    expected = 2 * (2 * 1 + 2 * 3) / ((8 / 16 + 10 / 16) * 16)
    assert overlap_in_squares(one, two, 100.0) == pytest.approx(expected)
    assert overlap_in_squares(one, one, 100.0) == pytest.approx(1.0)
    assert overlap_in_squares(one, (np.zeros(0), np.zeros(0)), 100.0) is None


def test_positive_patches_by_hand() -> None:
    """100 x 100 um in four patches of 50 um; three are tissue, one of them has two TILs and one has one."""
    grid = Grid(5.0, 20, 20)
    mask = np.ones(grid.shape, bool)
    mask[10:, 10:] = False
    tils = np.array([10.0, 20, 60, 80, 90, 95]), np.array([10.0, 20, 10, 80, 90, 95])
    assert positive_patches(tils, mask, grid, CompatConfig()) == (1, 3)
    assert positive_patches(tils, mask, grid, CompatConfig(patch_min_tils=1)) == (2, 3)
    assert positive_patches(tils, np.zeros_like(mask), grid, CompatConfig()) == (0, 0)


def calibration(folder: Path, **changes: object) -> Path:
    values = {"input": "til_density_per_mm2", "knots_x": [0, 200, 1000], "knots_y": [0, 10, 60], "interval": [1, 2, 9]}
    path = folder / "cal.json"
    path.write_text(json.dumps(values | changes))
    return path


def test_a_calibration_is_applied(tmp_path: Path) -> None:
    x, y = lattice(20, 20, 20, 15, 20)
    cfg = ScoreConfig(calibration=calibration(tmp_path))
    score = scored(at(x, y), cfg)
    assert score.til_density_per_mm2 == pytest.approx(600)
    assert score.calibrated_stil_pct == pytest.approx(10 + 50 * 400 / 800)
    found = [score.bound("calibrated_stil_pct", end) for end in ("low", "high")]
    assert found == pytest.approx([35 - 5.5, 35 + 5.5]), "half-widths 2 and 9 at the knots around"
    assert "beyond_calibration" not in score.reasons
    short = ScoreConfig(calibration=calibration(tmp_path, knots_x=[0, 200, 500]))
    assert "beyond_calibration" in scored(at(x, y), short).reasons
    assert scored(at(x, y)).calibrated_stil_pct is None


@pytest.mark.parametrize(
    "changes",
    [
        {"knots_y": [0, 20, 10]},
        {"knots_x": [0, 0, 1]},
        {"input": "n_tils"},
        {"knots_y": [0, 1]},
        {"low_y": [0, 5, 20]},
        {"low_y": [0, 5, 20], "high_y": [1, 9, 70]},
        {"interval": [1, -2, 9]},
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="calibration"):
        read_calibration(calibration(tmp_path, **changes))


def test_doubtful_cells_widen_the_interval_and_do_not_move_it() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 499, 60), rng.uniform(0, 999, 60)
    sure = scored(Cells(x, y, np.zeros(60), np.ones(60)))
    doubt = scored(Cells(x, y, np.zeros(60), np.full(60, 0.35)))
    for score in (sure, doubt):
        assert score.til_density_low < score.til_density_per_mm2 < score.til_density_high
    width = [s.til_density_high - s.til_density_low for s in (sure, doubt)]
    assert width[1] > width[0]


def test_the_infiltrated_share_lies_in_its_interval_at_any_radius() -> None:
    rng = np.random.default_rng(4)
    cells = Cells(rng.uniform(0, 499, 40), rng.uniform(0, 999, 40), np.zeros(40), np.ones(40))
    score = scored(cells, ScoreConfig(infiltrated=InfiltratedConfig(radius_um=4)))
    assert score.infiltrated_area_pct
    found = score.intervals["infiltrated_area_pct"]
    assert found["low"] < score.infiltrated_area_pct < found["high"]
    with pytest.raises(ConfigError, match="radius_um"):
        InfiltratedConfig(radius_um=1)
