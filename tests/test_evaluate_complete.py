"""Sets that mark every nucleus of one class and few others (TIGER): what they tell of that class, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tilscore.datasets import IGNORED
from tilscore.datasets.reading import near
from tilscore.datasets.registry import without_ignored
from tilscore.datasets.sample import Sample
from tilscore.evaluate.bootstrap import UNTOLD
from tilscore.evaluate.figures import figures, pool
from tilscore.evaluate.predict import FieldResult
from tilscore.evaluate.report import report
from tilscore.evaluate.summary import flat_scores, summarise
from tilscore.evaluate.worst import mistakes
from tilscore.labels import Cell, Region
from tilscore.network.peaks import Candidates

INF, EPI = Cell.INFLAMMATORY, Cell.EPITHELIAL
NOTHING = np.zeros((len(Region), len(Region)), np.int64)
TRUE_UM = [(10, 10), (30, 10), (50, 10), (70, 10)]
FOUND = (  # place, logit, class
    ((10, 10), 3.0, INF),
    ((20, 50), 2.5, INF),
    ((30, 10), 2.0, INF),
    ((40, 50), 1.5, INF),
    ((50, 10), 3.0, EPI),
    ((60, 50), 2.5, EPI),
    ((80, 50), 2.0, EPI),
    ((90, 90), -3.0, INF),
)
"""Four lymphocytes: two found and named, one called epithelial, one missed. Two false lymphocytes, and two cells of
another class that may be right: nobody marked those. The last, a false lymphocyte too, is below the operating point."""


def field(name: str = "a", *, complete: bool = True) -> FieldResult:
    """The field of 0.01 mm2; not complete: the same marks as those of a set that marks every nucleus."""
    x, y = (np.array(TRUE_UM) / 0.5).astype(np.float32).T
    image = np.full((200, 200, 3), 230, np.uint8)
    sample = Sample(name, "tiger", image, 0.5, x, y, np.full(4, INF, np.int8), group=name)
    if complete:
        sample = replace(sample, known=near((x, y), image.shape, 0.5), complete=(INF,), exhaustive=False)
    at, logit, named = zip(*FOUND, strict=True)
    found = Candidates(
        *(np.array(at) / 0.5).astype(np.float32).T,
        np.array(logit, np.float32),
        np.eye(4, dtype=np.float32)[list(named)] * 4,
    )
    return FieldResult(sample, found, NOTHING, threshold=0.3)


def test_precision_f1_and_curve_of_the_class_in_closed_form() -> None:
    got = figures(pool([field()]))
    assert got["class/precision/inflammatory"] == pytest.approx(2 / 4)
    assert got["class/recall/inflammatory"] == pytest.approx(2 / 4)
    assert got["class/f1_joint/inflammatory"] == pytest.approx(4 / 8)
    # A false one is 100 per mm2; after one of them there are two hits, after three (with the weakest) there are three.
    rates = {"5": 1, "10": 1, "20": 1, "50": 1, "100": 2, "200": 2, "300": 3}
    assert {r: got[f"froc/inflammatory/{r}"] for r in rates} == {r: n / 4 for r, n in rates.items()}
    p = [1 / (1 + np.exp(-z)) * np.exp(4 * (c == INF)) / (np.exp(4) + 3) for _, z, c in FOUND[:7]]
    bins, hit = (np.array(p) * 15).astype(int), np.array([1, 0, 1, 0, 1, 0, 0])
    error = sum(abs((np.array(p) - hit)[bins == b].sum()) for b in set(bins)) / 7
    assert got["calibration/ece/inflammatory"] == pytest.approx(error, abs=1e-6)


def test_the_class_is_judged_as_where_every_nucleus_is_marked() -> None:
    """Whatever the other marks would be: what is said of the class does not need them."""
    a, b = figures(pool([field()])), figures(pool([field(complete=False)]))
    same = ("class/precision", "class/recall", "class/f1_joint", "froc", "calibration/ece")
    for name in (f"{part}/inflammatory" for part in same):
        keys = [k for k in a if k.startswith(name)]
        assert keys
        assert [a[k] for k in keys] == pytest.approx([b[k] for k in keys]), name
    assert flat_scores(summarise([field()]))["tiger/precision_class/inflammatory"] == pytest.approx(0.5)


def test_what_needs_every_nucleus_has_no_value_and_a_true_reason(tmp_path: Path) -> None:
    values = report([field("a"), field("b")], html=tmp_path / "page.html", n_bootstrap=30)["pools"][0]
    assert (values["known_mm2"], values["class_mm2"]["inflammatory"], values["class_mm2"]["epithelial"]) == (0, 0.02, 0)
    got = values["figures"]
    for name in (
        "detection/f1",
        "detection/precision",
        "class/f_c/inflammatory",
        "class/f1_joint/weighted",
        "froc/nuclei/mean",
        "calibration/ece/detection",
    ):
        assert (got[name]["value"], got[name]["reason"]) == (None, UNTOLD), name
    assert got["class/precision/epithelial"]["reason"].startswith("nothing of this is annotated")
    assert got["class/precision/inflammatory"]["low"] == pytest.approx(0.5)
    assert "save those of classes that are marked throughout: inflammatory." in (tmp_path / "page.html").read_text()


def test_cells_of_other_classes_are_no_mistakes() -> None:
    every = [(m.kind, m.at_um) for m in mistakes(field())]
    assert sorted(every) == [
        ("missed", (70.0, 10.0)),
        ("mistyped", (50.0, 10.0)),
        ("spurious", (20.0, 50.0)),
        ("spurious", (40.0, 50.0)),
    ]


def test_a_pool_takes_each_figure_from_the_fields_that_tell_it() -> None:
    full = field("full", complete=False)
    got, alone = figures(pool([field("part"), full])), figures(pool([full]))
    for name in ("detection/f1", "class/f_c/inflammatory", "class/f1_joint/weighted", "froc/nuclei/mean"):
        assert got[name] == pytest.approx(alone[name], nan_ok=True), name
    fewer = replace(full, found=Candidates(*(v[4:] for v in full.found)))  # two lymphocytes more missed, none false
    got = figures(pool([field("part"), fewer]))
    assert got["class/precision/inflammatory"] == pytest.approx(2 / 4)
    assert got["class/f1_joint/inflammatory"] == pytest.approx(4 / (4 + 2 + 6))


def test_beside_an_ignored_nucleus_no_class_is_complete() -> None:
    """It may be of any class, and no cell on it is wrong."""
    one = field().sample
    assert without_ignored(one).complete == (INF,)
    assert without_ignored(replace(one, label=np.array([INF, INF, INF, IGNORED], np.int8))).complete == ()
