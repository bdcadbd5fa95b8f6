"""Agreement on the page of a cohort: tables that hold every figure of `cohort agree`, whole also on paper."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import Page

from tilscore.cohort.agreement.agree import agree
from tilscore.cohort.agreement.text import show
from tilscore.cohort.page import write_page
from tilscore.cohort.page.agreetables import agreement_tables
from tilscore.cohort.paired import analyse
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort with three readers, one of them with a hostile name, and a machine."""
    folder = tmp_path_factory.mktemp("agreement")
    results, out = folder / "results", folder / "cohort"
    write_simulation(results, SimulateConfig(patients=12, pairs=8, series=0, not_evaluable_frac=0.1, seed=4))
    analyse(results / "slides.csv", results, out)
    rng = np.random.default_rng(2)
    truth = rng.uniform(2, 60, 30)
    readings = [(f"c{i}", reader, t + rng.normal(0, 5)) for i, t in enumerate(truth) for reader in ("<b>A", "B", "C")]
    readings += [(f"c{i}", "machine", t) for i, t in enumerate(truth)]
    table = pd.DataFrame(readings, columns=["case", "reader", "score"])
    table["score"] = table["score"].clip(0, 100).round(2)
    table.to_csv(folder / "readings.csv", index=False)
    names = {"case": "case", "reader": "reader", "score": "score"}
    agree(folder / "readings.csv", machine="machine", min_readers=3, **names, out=out / "agreement")
    write_page(out, results)
    return out


def test_every_figure_of_agree_is_in_a_table(out: Path) -> None:
    html = (out / "cohort.html").read_text(encoding="utf-8")
    result = json.loads((out / "agreement" / "agreement.json").read_text(encoding="utf-8"))
    part = html[html.index('<h2 id="agreement">') :]
    text = " ".join(Page(part[: part.index('<h2 id="patients">')]).text.split())
    machine = result["machine"]
    for of, key, digits in (
        (machine, "ccc", 3),
        (machine, "bias", 1),
        (machine["in_stead"], "limit_low", 1),
        (machine["minus_reader"], "mae", 1),
        (result, "loo_kappa_quadratic", 3),
        (result, "pairwise_pearson", 3),
        (result, "icc1", 3),
    ):
        assert show(of, key, digits) != "-"
        assert show(of, key, digits) in text
    assert "30 cases, 3 readers, 90 scores" in text
    assert "<b>A" in text
    assert "<pre>" not in part  # the text for a terminal is wider than paper


def test_a_text_without_tables_stays_a_text(out: Path, tmp_path: Path) -> None:
    """What an earlier version left behind may have no JSON."""
    assert agreement_tables({"notes": [], "by_reader": [], "loo_ccc": 0.5})[0].lines[0].cells[1] == "0.500"
    (out / "agreement" / "agreement.json").rename(tmp_path / "agreement.json")
    html = write_page(out).read_text(encoding="utf-8")
    (tmp_path / "agreement.json").rename(out / "agreement" / "agreement.json")
    assert "<pre>30 cases, 3 readers" in html
