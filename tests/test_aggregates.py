"""Lymphoid aggregates: found or drawn, flagged and counted, or left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from beds import GRID, away, line, score_slide, spread, tils, with_nest

from tilscore.cells import Cells
from tilscore.labels import Region
from tilscore.score import AggregateConfig, ScoreConfig


def test_an_aggregate_is_flagged_and_counted() -> None:
    """A follicle 200 um across with 12,000 cells per mm2 beside the nest."""
    rng = np.random.default_rng(0)
    n = round(12_000 * math.pi * 0.1**2)
    r, t = 100 * np.sqrt(rng.random(n)), rng.uniform(0, 2 * np.pi, n)
    follicle = tils(1320 + r * np.cos(t), 800 + r * np.sin(t))
    cells = Cells.concat([spread(), follicle])
    plain, score = score_slide(spread(), *with_nest()), score_slide(cells, *with_nest())
    assert "lymphoid_aggregates" not in plain.reasons
    assert "lymphoid_aggregates" in score.reasons
    (found,) = score.aggregates
    assert (found["x_um"], found["y_um"]) == (pytest.approx(1320, abs=12), pytest.approx(800, abs=12))
    assert found["mm2"] == pytest.approx(math.pi * 0.1**2, rel=0.25)
    out = score_slide(cells, *with_nest(), ScoreConfig(aggregates=AggregateConfig(exclude=True)))
    assert "lymphoid_aggregates" not in out.reasons
    flagged = line(score, "aggregate_flagged")
    assert flagged["score_without_this_exclusion"] == pytest.approx(out.til_density_per_mm2, rel=1e-12)
    assert line(out, "aggregate")["score_without_this_exclusion"] == pytest.approx(score.til_density_per_mm2, rel=1e-12)
    assert score.til_density_per_mm2 > 1.5 * out.til_density_per_mm2


def test_a_drawn_aggregate_is_one_and_is_told_where_its_cells_were_counted() -> None:
    """Stripes of lumen part its stroma into slivers; it is one drawing all the same."""
    regions, tissue = with_nest()
    regions.values[:, 320:360:4] = Region.OTHER
    drawn = {"tls": away(1320, 800) <= 60}
    held = drawn["tls"] & (regions.values == Region.STROMA)
    inside = tils([1325, 1301], [801, 790])
    score = score_slide(Cells.concat([tils([700], [800]), inside]), regions, tissue, drawn=drawn)
    (found,) = score.aggregates
    assert found["mm2"] == pytest.approx(held.sum() * GRID.pixel_mm2, rel=1e-12)
    assert found["n_tils"] == 2
    assert (found["x_um"], found["y_um"]) == (pytest.approx(1320, abs=8), pytest.approx(800, abs=8))
    assert "lymphoid_aggregates" in score.reasons
    empty = score_slide(tils([700], [800]), regions, tissue, drawn=drawn)
    assert "lymphoid_aggregates" not in empty.reasons
    (found,) = empty.aggregates
    row = line(empty, "aggregate_flagged")
    assert (found["mm2"], found["n_tils"]) == (row["mm2"], row["n_tils"])
    assert row["score_without_this_exclusion"] > empty.til_density_per_mm2, "its area counted"
    aside = score_slide(spread(), regions, tissue, drawn={"tls": away(1000, 800) <= 60})
    assert aside.aggregates == [], "tumour"
