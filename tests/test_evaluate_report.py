"""The report of an evaluation: what is written, how it is split, and its pictures of the worst errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_field import as_lists, toy

from tilscore.datasets.sample import Sample
from tilscore.errors import DataError
from tilscore.evaluate.figures import figures, pool
from tilscore.evaluate.predict import FieldResult
from tilscore.evaluate.report import report
from tilscore.evaluate.tables import evaluate_fields
from tilscore.evaluate.worst import SIDE_PX, SIDE_UM, mistakes, picture, worst
from tilscore.labels import CELL_COLOURS, Cell
from tilscore.network.config import Calibration


def test_worst_errors_are_the_errors_and_lie_in_the_middle() -> None:
    f = toy(9)
    true, found, _, _ = as_lists(f)
    every = mistakes(f)
    counts = {k: sum(m.kind == k for m in every) for k in ("missed", "spurious", "mistyped")}
    assert counts == {
        "missed": ((found == 4) & (true < 4)).sum(),
        "spurious": (true == 4).sum(),
        "mistyped": ((true < 4) & (found < 4) & (true != found)).sum(),
    }
    first = worst([f, toy(10, name="g")], "spurious", 3)
    assert [m.certainty for m in first] == sorted((m.certainty for m in first), reverse=True)
    assert first[0].certainty == max(
        m.certainty for g in (f, toy(10, name="g")) for m in mistakes(g) if m.kind == "spurious"
    )
    image = f.sample.image.copy()
    missed = worst([f], "missed", 1)[0]
    cv2.circle(image, tuple(round(v) for v in missed.at_px), 5, (0, 0, 0), -1)
    plain, _ = picture(
        worst([FieldResult(Sample(**{**vars(f.sample), "image": image}), *list(vars(f).values())[1:6])], "missed", 1)[0]
    )
    dark = np.argwhere(plain[..., 0] < 60)
    np.testing.assert_allclose(dark.mean(0), SIDE_PX / 2, atol=1.5)
    assert len(dark) == pytest.approx(np.pi * (5.3 * 0.5 * SIDE_PX / SIDE_UM) ** 2, rel=0.2)


def test_what_is_written(tmp_path: Path) -> None:
    """Strict JSON with every pool, and a page without scripts, addresses or markup from the data."""
    fields = [toy(s, name=f"<b>f{s}</b>", source="x<script>" if s > 2 else "toy") for s in range(5)]
    fields = [f.at(0.3, Calibration(fitted_on="others")) for f in fields]
    values = report(fields, out_json=tmp_path / "e.json", html=tmp_path / "e.html", n_bootstrap=20, n_worst=2)
    assert json.loads((tmp_path / "e.json").read_text()) == json.loads(json.dumps(values, allow_nan=False))
    assert [(p["kind"], p["name"]) for p in values["pools"]] == [
        ("set", "toy"),
        ("set", "x<script>"),
        ("all", "all sets"),
    ]
    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>f" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert 0 < page.count("data:image/jpeg") <= 2 * 2 * 3
    assert page.count("data:image/svg+xml") == 2 * len(values["pools"])
    f1 = values["pools"][0]["figures"]["detection/f1"]
    assert f"{f1['value']:.3f} ({f1['low']:.3f} to {f1['high']:.3f})" in page


def test_sets_that_name_scanners_are_split_by_them() -> None:
    class Tagged(Sample):
        organ, scanner = "breast", ""

    one, two = toy(1, name="a"), toy(2, name="b")
    scanners = []
    for f, scanner in ((one, "Aperio"), (two, "Hamamatsu")):
        tagged = Tagged(**vars(f.sample)) if "scanner" not in vars(f.sample) else f.sample
        object.__setattr__(tagged, "scanner", scanner)
        scanners.append(FieldResult(tagged, f.found, f.regions, f.radius_um, f.threshold))
    pools = evaluate_fields(scanners, n_bootstrap=0)["pools"]
    assert [(p["kind"], p["name"]) for p in pools] == [("set", "toy"), ("scanner", "Aperio"), ("scanner", "Hamamatsu")]
    assert pools[1]["figures"]["detection/f1"]["value"] == figures(pool([one]))["detection/f1"]


def test_nothing_to_evaluate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no field"):
        report([], out_json=tmp_path / "e.json")
    assert not (tmp_path / "e.json").exists()


def test_colours_of_the_classes_differ() -> None:
    assert len({CELL_COLOURS[c] for c in Cell}) == len(Cell)
