"""The picture of the whole slide: what it shows lies where it says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from test_overlay import SMALL, a_slide, maps

from tilscore.cells import Cells
from tilscore.overlay.panels import draw_panels
from tilscore.slide import open_slide


def test_lymphoid_aggregates_are_seen_where_they_lie(tmp_path: Path):
    """What was found has a circle of its area, what was drawn its own outline, and the legend their stroma."""
    found = {"x_um": 100.0, "y_um": 220.0, "mm2": math.pi * 40**2 / 1e6, "n_tils": 9}
    inside = {"x_um": 225.0, "y_um": 75.0, "mm2": 0.001, "n_tils": 3}
    with open_slide(a_slide(tmp_path, 600, 600), mpp=0.5) as slide:
        regions, tissue = maps(slide.level0)
        tls = np.zeros(regions.grid.shape, bool)
        tls[round(50 / regions.grid.mpp) : round(100 / regions.grid.mpp), round(200 / regions.grid.mpp) :] = True
        what = (slide, Cells.empty(), regions, tissue, SMALL)
        plain, circled, both = (
            draw_panels(*what, aggregates=a, tls=t) for a, t in (((), tls), ((found,), None), ((found, inside), tls))
        )
    margin = 6 * plain.overview.mpp
    for shown, box in ((circled, (60, 180, 140, 260)), (both, (60, 50, 300, 260))):
        changed = (plain.overview.drawn != shown.overview.drawn).any(-1)
        ys, xs = (np.flatnonzero(changed.any(axis=a)) * shown.overview.mpp for a in (1, 0))
        assert (xs[0], ys[0], xs[-1], ys[-1]) == pytest.approx(box, abs=margin)
    labels = [{key.label: key.value for key in p.overview.keys} for p in (plain, circled, both)]
    assert [n.get("Lymphoid aggregate") for n in labels] == [None, "0.005 mm²", "0.006 mm²"]
