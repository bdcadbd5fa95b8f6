"""Slides pooled to biopsies: sums, weights and intervals by their formula; nothing lost without being counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import GOOD, HEAD, lines, written

from tilscore.cohort.manifest.check import RESULT_NAMES
from tilscore.cohort.manifest.pool import pool_biopsies, read_scores, write_biopsies
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.tables import write_table
from tilscore.errors import DataError
from tilscore.inputs.words import COLUMNS
from tilscore.score.result import COLUMNS as SCORE_COLUMNS


def biopsies(**columns: list[object]) -> pd.DataFrame:
    """The pooled biopsies of slides; columns as in the manifest and the scores, the rest filled in."""
    n = len(next(iter(columns.values())))
    plain = {"patient_id": "P1", "timepoint": "baseline", "status": "ok", "n_cores": 2.0}
    values = {"slide_id": [f"s{i}" for i in range(n)]} | {k: [v] * n for k, v in plain.items()} | columns
    words = {name: values.get(name, [""] * n) for name in (*COLUMNS, "note")}
    scores = {k: v for k, v in values.items() if k not in words or k == "slide_id"}
    for name in ("stil_area_pct", "infiltrated_area_pct", "calibrated_stil_pct", "itil_density_per_mm2", "tumour_mm2"):
        scores.setdefault(name, [np.nan] * n)
    scores.setdefault("tissue_mm2", [1.0] * n)
    return pool_biopsies(pd.DataFrame(words), pd.DataFrame(scores))


def slide(n: list[float], area: list[float]) -> dict[str, list[object]]:
    density = [k / a for k, a in zip(n, area, strict=True)]
    limits = {"til_density_low": [d * 0.8 for d in density], "til_density_high": [d * 1.5 for d in density]}
    return {"n_tils": [*n], "stroma_mm2": [*area], "til_density_per_mm2": [*density]} | {
        k: [*v] for k, v in limits.items()
    }


def test_slides_are_pooled_by_area() -> None:
    (row,) = biopsies(**slide([100, 900], [1, 3]), block=["A", "B"], stil_area_pct=[10.0, 30.0]).to_dict("records")
    assert row["til_density_per_mm2"] == pytest.approx(1000 / 4)
    assert row["stil_area_pct"] == pytest.approx((10 * 1 + 30 * 3) / 4)
    assert (row["n_slides"], row["n_blocks"], row["n_cores"], row["n_tils"]) == (2, 2, 4, 1000)
    # Two independent blocks: weights 1/4 and 3/4, deviations 20 and 60 below, 50 and 150 above.
    assert row["til_density_low"] == pytest.approx(250 - np.hypot(0.25 * 20, 0.75 * 60))
    assert row["til_density_high"] == pytest.approx(250 + np.hypot(0.25 * 50, 0.75 * 150))


def test_slides_of_a_block_are_one_piece_of_evidence() -> None:
    (one,) = biopsies(**slide([100], [1])).to_dict("records")
    (same,) = biopsies(**slide([100, 100], [1, 1]), block=["A", "A"]).to_dict("records")
    (unstated,) = biopsies(**slide([100, 100], [1, 1])).to_dict("records")
    (two,) = biopsies(**slide([100, 100], [1, 1]), block=["A", "B"]).to_dict("records")
    for name in ("til_density_low", "til_density_high"):
        assert same[name] == pytest.approx(one[name])
        assert unstated[name] == pytest.approx(one[name])
    assert same["n_cores"] == 2
    assert two["til_density_low"] > one["til_density_low"]


def test_slides_without_a_score_are_left_out_and_counted() -> None:
    nan = float("nan")
    numbers = {"n_tils": [100.0, nan, nan], "stroma_mm2": [1.0, 0.5, nan], "til_density_per_mm2": [100.0, nan, nan]}
    status = ["ok", "not_evaluable", "failed"]
    (row,) = biopsies(**numbers, status=status).to_dict("records")
    assert (row["status"], row["n_slides"], row["n_not_evaluable"], row["n_failed"]) == ("ok", 1, 1, 1)
    assert row["stroma_mm2"] == 1
    (none,) = biopsies(**{k: v[1:] for k, v in (numbers | {"status": status}).items()}).to_dict("records")
    assert none["status"] == "not_evaluable"
    assert np.isnan(none["til_density_per_mm2"])
    assert np.isnan(none["n_tils"])


def test_other_stains_are_no_part_of_a_biopsy() -> None:
    (row,) = biopsies(**slide([100, 900], [1, 3]), stain=["HE", "CD3"]).to_dict("records")
    assert (row["til_density_per_mm2"], row["n_slides"], row["slide_ids"]) == (100, 1, "s0")


def test_biopsies_keep_what_the_manifest_says() -> None:
    text = {
        "patient_id": ["P2", "P1", "P1", "P1"],
        "timepoint": ["baseline", "post", "week6", "post"],
        "specimen": ["core", "core", "core", "resection"],
        "centre": ["C1", "C2", "", "C2"],
        "note": ["", "x", "y", "z"],
    }
    table = biopsies(**slide([1, 2, 3, 4], [1, 1, 1, 1]), **text)
    assert table[["patient_id", "timepoint"]].to_numpy().tolist() == [
        ["P2", "baseline"],
        ["P1", "week6"],
        ["P1", "post"],
    ]
    assert table["specimen"].tolist() == ["core", "core", "mixed"]
    assert table["centre"].tolist() == ["C1", "", "C2"]
    assert table["note"].tolist() == ["", "y", "x;z"]


def test_biopsies_tell_what_is_to_know_of_their_slides() -> None:
    """The codes of what was pooled; of a biopsy without a score, of the slides that tell why."""
    status = ["ok", "ok", "failed", "not_evaluable", "failed"]
    reasons = ["blurred;wide_interval", "wide_interval", "mpp", "no_tumour", "slide_unreadable"]
    where = {"patient_id": ["P1", "P1", "P1", "P2", "P2"], "status": status}
    table = biopsies(**slide([1] * 5, [1] * 5), **where, reasons=reasons)
    assert table["status"].tolist() == ["ok", "not_evaluable"]
    assert table["reasons"].tolist() == ["blurred;wide_interval", "no_tumour"]
    assert biopsies(**slide([1], [1]))["reasons"].tolist() == [""]


def test_words_that_only_the_run_was_told_reach_the_biopsy() -> None:
    words = {name: [""] * 2 for name in COLUMNS} | {"slide_id": ["s0", "s1"], "patient_id": ["P1", "P2"]}
    words |= {"timepoint": ["baseline"] * 2, "specimen": ["", "resection"]}
    scores = pd.DataFrame({"slide_id": ["s1", "s0"], "status": "ok", **slide([1, 2], [1, 1]), "n_cores": 2.0})
    scores = scores.assign(specimen="core", site=[np.nan, "liver"], tumour_mm2=1.0, tissue_mm2=1.0)
    for name in ("stil_area_pct", "infiltrated_area_pct", "calibrated_stil_pct", "itil_density_per_mm2"):
        scores[name] = np.nan
    table = pool_biopsies(pd.DataFrame(words), scores)
    assert table["specimen"].tolist() == ["core", "resection"]  # what the manifest states comes first
    assert table["site"].tolist() == ["liver", ""]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0.1, 30), st.sampled_from("AB")), min_size=1, max_size=6))
def test_a_pooled_interval_holds_its_density(slides: list[tuple[int, float, str]]) -> None:
    n, area, block = zip(*slides, strict=True)
    (row,) = biopsies(**slide(list(n), list(area)), block=list(block)).to_dict("records")
    density = [k / a for k, a in zip(n, area, strict=True)]
    assert 0 <= row["til_density_low"] <= row["til_density_per_mm2"] + 1e-9
    assert row["til_density_per_mm2"] <= row["til_density_high"] + 1e-9
    assert min(density) - 1e-9 <= row["til_density_per_mm2"] <= max(density) + 1e-9


def test_biopsies_of_a_run(tmp_path: Path) -> None:
    header = "slide_id,status,til_density_per_mm2,stil_area_pct,n_tils,stroma_mm2,tumour_mm2,tissue_mm2\n"
    scores = header + "S1,ok,100.00,2.0,100,1.0000,1,3\nS2,ok,300.00,6.0,900,3.0000,0,3\n"
    (tmp_path / "scores.csv").write_text(scores)
    path = written(tmp_path, lines(GOOD + ",=1+1", "S2,b.svs,P001,baseline,core,breast,", head=HEAD + ",note"))
    said: list[str] = []
    target = write_biopsies([tmp_path / "a.svs", path], tmp_path, say=said.append)
    assert target == tmp_path / "biopsies.csv"
    row = pd.read_csv(target).iloc[0]
    assert (row["til_density_per_mm2"], row["stil_area_pct"], row["note"]) == (250, 5, "'=1+1")
    assert np.isnan(row["til_density_low"])  # an old table has no intervals
    path.write_text(lines(GOOD.replace("baseline", "basline")))
    assert write_biopsies([path], tmp_path, say=said.append) is None
    assert not target.exists()
    assert "did you mean 'baseline'" in said[-1]
    path.write_text("path,mpp\na.svs,0.25\n")
    assert write_biopsies([path], tmp_path, say=said.append) is None  # a plain list is no manifest
    assert len(said) == 2
    path.unlink()
    assert write_biopsies([path], tmp_path, say=said.append) is None  # gone since the run began
    assert "not pooled" in said[-1]


def test_numbers_are_written_as_they_are(tmp_path: Path) -> None:
    columns = {"accession": [20231145.0, np.nan], "n_score": [0.4, 3.0], "n_effective": [8.45, 12.0]}
    columns |= {"density": [1234.5678, -0.0], "huge": [1e300, 0.000012345678]}
    columns |= {"mixed": ["=1", 0.123456789]}
    write_table(tmp_path / "t.csv", pd.DataFrame(columns))
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "accession,n_score,n_effective,density,huge,mixed",
        "20231145,0.4,8.45,1234.57,1e+300,'=1",
        ",3,12,0,1.23457e-05,0.123457",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column"),
        ("slide_id;status\nS1;ok\n", "a spreadsheet saved it with other separators"),
        ("slide_id,status,til_density_per_mm2,n_tils,stroma_mm2\nS1,ok,x,1,1\n", "line 2 column 'til_density_per_mm2'"),
        ("slide_id,status,til_density_per_mm2,n_tils,stroma_mm2\nS1,ok,-4,1,1\n", "line 2 column .*: is below 0"),
        ("slide_id,status,til_density_per_mm2,n_tils,stroma_mm2\nS1,ok,1,1,1\nS1,ok,1,1,1\n", "twice"),
        ("", "cannot be read"),
    ],
)
def test_tables_that_are_no_scores(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_scores(tmp_path)


def test_no_column_of_a_manifest_takes_the_name_of_a_result(tmp_path: Path) -> None:
    pooled = biopsies(**slide([1], [1]), contact_itil_density_per_mm2=[1.0]).columns
    results = {*SCORE_COLUMNS, *pooled} - {*COLUMNS, "note"}
    assert results <= RESULT_NAMES
    named = sorted(results)
    manifest = read_manifest(
        written(tmp_path, lines(GOOD + ",0.5" + ",7" * len(named), head=",".join([HEAD, "mpp", *named])))
    )
    assert {f"{name}_given" for name in named} <= {*manifest.columns}
