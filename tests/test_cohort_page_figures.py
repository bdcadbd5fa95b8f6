"""Figures of a cohort of many time points: as large as those of few, every name apart from the next."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from test_cohort_page_single import page_of, with_limits
from test_pairs_sampling import confounded_cohort

from tilscore.cohort.page.figsurvival import at_risk, kaplan_meier_figure
from tilscore.cohort.page.figtests import draw_flow
from tilscore.cohort.page.figures import NAMES, draw_figures
from tilscore.cohort.page.results import read_results
from tilscore.cohort.page.style import in_rows
from tilscore.cohort.paired import analyse
from tilscore.cohort.paired.pairs import AnalyseConfig
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation
from tilscore.stats.survival import kaplan_meier_curve

WIDEST_PT = 72 * 12.7
"""A figure's width at which its text is read on the page and on paper."""


def width_pt(svg: Path) -> float:
    return float(re.findall(r'<svg[^>]* width="([\d.]+)pt"', svg.read_text(encoding="utf-8"))[0])


def test_rows_of_panels() -> None:
    assert [in_rows(n, 4) for n in (1, 3, 4, 5, 9)] == [(1, 1), (1, 3), (1, 4), (2, 3), (3, 3)]


def test_many_time_points_have_room(tmp_path: Path) -> None:
    one = with_limits(confounded_cohort(8)).assign(specimen="core")
    later = [one[one["timepoint"] == "post"].assign(timepoint=f"week{w}") for w in range(1, 10)]
    page_of(tmp_path, pd.concat([one[one["timepoint"] == "baseline"], *later], ignore_index=True))
    figures = list(tmp_path.rglob("figures/*.svg"))
    assert {f.stem for f in figures} <= NAMES
    assert {"spaghetti", "sites", "shifts", "tests_density", "sensitivity_density"} <= {f.stem for f in figures}
    for figure in figures:
        assert width_pt(figure) < WIDEST_PT, figure.stem
        if figure.stem in ("spaghetti", "sites"):
            assert re.search(r"<text[^>]*rotate\(-90[^>]*>week 9", figure.read_text(encoding="utf-8")), figure.stem


@pytest.mark.parametrize(("n", "width"), [(1, 4.5), (2, 8.4), (7, 12.6)])
def test_many_outcomes_have_room(n: int, width: float) -> None:
    at = {"group": "high", "n": 5, "unit": "months", "n_at_risk": 5, "n_events": 1, "low": 0.5, "high": 1.0}
    curves = pd.DataFrame([at | {"outcome": f"o{i}", "time": t, "survival": 0.9} for i in range(n) for t in (0, 9)])
    figure = kaplan_meier_figure(curves)
    assert figure.get_figwidth() == pytest.approx(width)
    assert sum(axes.axison for axes in figure.axes) == n


def test_numbers_at_risk_count_who_is_left() -> None:
    """Eight patients: events or censoring at 2, 2, 5, 7 and 9 (four of them)."""
    leaves = np.array([2, 2, 5, 7, 9, 9, 9, 9.0])
    times = np.unique(np.r_[0, leaves])
    curve = pd.DataFrame({"time": times, "n_at_risk": [(leaves >= t).sum() for t in times]})
    asked = [0, 1, 2, 2.5, 7, 8, 9, 10]
    assert at_risk(curve.iloc[::-1], asked) == [8, 8, 8, 6, 5, 4, 4, 0]


def test_survival_has_a_tick_where_patients_are_censored() -> None:
    """Six patients: an event at 1, one censored at 2, an event and one censored at 3, two censored at 5."""
    made = kaplan_meier_curve([1, 2, 3, 3, 5, 5], [1, 0, 1, 0, 0, 0])
    columns = {n: getattr(made, n) for n in ("time", "n_at_risk", "n_events", "survival", "low", "high")}
    figure = kaplan_meier_figure(pd.DataFrame(columns | {"outcome": "os", "group": "high", "n": 6, "unit": "months"}))
    (ticks,) = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    np.testing.assert_allclose(ticks.get_xydata(), [[2, 5 / 6], [3, 5 / 8], [5, 5 / 8]])


def test_shifts_tell_the_categories_of_the_settings(tmp_path: Path) -> None:
    page_of(tmp_path, with_limits(confounded_cohort(8)))
    files, out = (tmp_path / "slides.csv", tmp_path / "scores.csv"), tmp_path / "out"
    for cfg, told in ((AnalyseConfig(), "10 and 40 %"), (AnalyseConfig(categories_pct=(2.5, 50)), "2.5 and 50 %")):
        analyse(*files, out, cfg)
        (shifts,) = [f for f in draw_figures(read_results(out)) if f.name == "shifts"]
        assert shifts.caption.endswith(f"{told} belong to the lower category.")


def test_figures_of_an_earlier_page_are_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "figures"
    folder.mkdir(parents=True)
    others = {"mine.svg", "survival.png", "tests_calibrated.svg.bak"}
    for name in {"survival.svg", "tests_calibrated.svg", "bland_altman_pair.svg"} | others:
        (folder / name).write_text("of another day")
    page_of(tmp_path, with_limits(confounded_cohort(8)))
    drawn = {f"{figure.name}.svg" for figure in draw_figures(read_results(tmp_path / "out"))}
    assert {path.name for path in folder.iterdir()} == drawn | others
    assert drawn <= {f"{name}.svg" for name in NAMES}


def test_arrows_of_the_flow_touch_their_boxes(tmp_path: Path) -> None:
    """Each ends at the edge of the box that it points to, and begins at the edge of a box or on another arrow."""
    write_simulation(tmp_path, SimulateConfig(patients=12, pairs=8, series=4, not_evaluable_frac=0.1, seed=4))
    analyse(tmp_path / "slides.csv", tmp_path, tmp_path / "out")
    figure = draw_flow(read_results(tmp_path / "out"))
    figure.savefig(tmp_path / "flow.png")
    texts = figure.axes[0].texts
    box_at = {t.get_position(): t.get_bbox_patch().get_window_extent() for t in texts if t.get_text()}
    arrows = [t for t in texts if isinstance(t, Annotation)]
    assert len(arrows) >= 2 + 3 + 1
    assert any("left out" in t.get_text() for t in texts)
    for arrow in arrows:
        path = arrow.arrow_patch.get_transform().transform_path(arrow.arrow_patch.get_path())
        places = path.vertices[np.isfinite(path.vertices).all(axis=1)]
        assert min(from_edge(box_at[arrow.xy], *place) for place in places) < 2
        if arrow.xyann in box_at:
            assert from_edge(box_at[arrow.xyann], *places[0]) < 2


def from_edge(box: Bbox, x: float, y: float) -> float:
    """Pixels from a place to the edge of a box, from within or without."""
    outside = float(np.hypot(max(box.x0 - x, x - box.x1, 0), max(box.y0 - y, y - box.y1, 0)))
    return outside or min(x - box.x0, box.x1 - x, y - box.y0, box.y1 - y)
