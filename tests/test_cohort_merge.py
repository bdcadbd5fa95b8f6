"""Results of several centres as one cohort: the same biopsies as of one run, and nothing pooled that is not alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.cli import main
from tilscore.cohort.manifest.merge import merge
from tilscore.cohort.manifest.pool import pool_biopsies, read_scores
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.rank import rank
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation
from tilscore.errors import DataError, UsageError
from tilscore.results.provenance import settings_of
from tilscore.score import COLUMNS_1

HEAD = "centre,manifest,results\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_simulation(folder, SimulateConfig(patients=24, pairs=8, series=4, seed=2))
    return folder


def texts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def centres(whole: Path, folder: Path, names: dict[str, set[str]]) -> Path:
    """What each centre sends, of the patients of these centres of the manifest; the list of all."""
    manifest, scores = texts(whole / "slides.csv"), texts(whole / "scores.csv")
    for name, of in names.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        mine = manifest[manifest["centre"].isin(of)]
        mine.assign(centre=name).to_csv(folder / name / "slides.csv", index=False)
        scores[scores["slide_id"].isin(mine["slide_id"])].to_csv(folder / name / "scores.csv", index=False)
    listed = folder / "centres.csv"
    listed.write_text(HEAD + "".join(f"{name},{name}/slides.csv,{name}\n" for name in names))
    return listed


@given(st.lists(st.sampled_from("AB"), min_size=4, max_size=4).filter(lambda x: len(set(x)) == 2))
@settings(max_examples=6, deadline=None)
def test_however_it_was_split_the_cohort_is_the_same(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, split: list[str]
) -> None:
    """Law: centres that are merged have the biopsies of one run over all of them."""
    folder = tmp_path_factory.mktemp("split")
    names = {name: {f"C{i + 1}" for i, at in enumerate(split) if at == name} for name in sorted(set(split))}
    found = merge(centres(whole, folder, names), folder / "all")
    kept = ["patient_id", "timepoint", "status", "n_slides", "n_tils", "stroma_mm2", "til_density_per_mm2"]
    kept += ["til_density_low", "til_density_high", "n_blocks", "response"]
    one = pool_biopsies(read_manifest(whole / "slides.csv"), read_scores(whole))[kept]
    many = pool_biopsies(read_manifest(folder / "all" / "slides.csv"), read_scores(folder / "all"))[kept]
    order = ["patient_id", "timepoint"]
    pd.testing.assert_frame_equal(
        *(t.sort_values(order).reset_index(drop=True) for t in (one, many)), check_exact=False, rtol=1e-5
    )
    assert sum(row["n_patients"] for row in found["centres"]) == one["patient_id"].nunique()
    written = pd.read_csv(folder / "all" / "biopsies.csv")
    assert len(written) == len(one)
    assert set(written["centre"]) == set(names)


def test_a_code_of_two_centres_is_asked_about(whole: Path, tmp_path: Path) -> None:
    """P01 of Oslo is not P01 of Lyon, unless the study says so."""
    listed = centres(whole, tmp_path, {"Oslo": {"C1"}, "Lyon": {"C2"}})
    for name in ("Oslo", "Lyon"):
        table = texts(tmp_path / name / "slides.csv")
        codes = {code: f"P{i:02d}" for i, code in enumerate(dict.fromkeys(table["patient_id"]))}
        table.assign(patient_id=table["patient_id"].map(codes)).to_csv(tmp_path / name / "slides.csv", index=False)
    with pytest.raises(UsageError, match=r"stand in two centres .*'P00' of Oslo and Lyon.*--codes own"):
        merge(listed, tmp_path / "all")
    assert not (tmp_path / "all").exists()
    n = [texts(tmp_path / name / "slides.csv")["patient_id"].nunique() for name in ("Oslo", "Lyon")]
    merge(listed, tmp_path / "all", codes="own")
    own = texts(tmp_path / "all" / "slides.csv")
    assert own["patient_id"].nunique() == sum(n)
    assert own["patient_id"].str.match("(Oslo|Lyon)-P").all()
    with pytest.raises(UsageError, match="a patient has one"):
        merge(listed, tmp_path / "all", codes="study")
    assert not (tmp_path / "all" / "biopsies.csv").exists(), "those of the merge before are not of these slides"
    for name in ("Oslo", "Lyon"):
        path = tmp_path / name / "slides.csv"
        texts(path).drop(columns=["arm", "response", "block", "site", "specimen"]).to_csv(path, index=False)
    merge(listed, tmp_path / "all", codes="study")
    assert texts(tmp_path / "all" / "slides.csv")["patient_id"].nunique() == max(n)
    with pytest.raises(UsageError, match="--codes"):
        merge(listed, tmp_path / "all", codes="mine")


def test_one_slide_in_two_centres_is_refused(whole: Path, tmp_path: Path) -> None:
    listed = centres(whole, tmp_path, {"Oslo": {"C1"}, "Lyon": {"C2"}})
    slides, scores = (texts(tmp_path / "Oslo" / name) for name in ("slides.csv", "scores.csv"))
    one = scores[scores["status"] == "ok"].iloc[[0]]
    row = slides[slides["slide_id"] == one["slide_id"].iloc[0]]
    for name, extra in (
        ("slides.csv", row.assign(slide_id="sent", patient_id="X-9", path="sent.svs")),
        ("scores.csv", one.assign(slide_id="sent")),
    ):
        path = tmp_path / "Lyon" / name
        pd.concat([texts(path), extra]).to_csv(path, index=False)
    with pytest.raises(UsageError, match=r"one slide is in two centres.*'sent' of Lyon"):
        merge(listed, tmp_path / "all")


def test_what_differs_between_centres_is_told(whole: Path, tmp_path: Path) -> None:
    """Another model, other settings, a stain that is off, slides without a score, a table of the first layout."""
    listed = centres(whole, tmp_path, {"A": {"C1"}, "B": {"C2"}, "C": {"C3"}})
    scores = {name: texts(tmp_path / name / "scores.csv") for name in "ABC"}
    scores["A"].assign(model="a@1", settings="s1", version="1").to_csv(tmp_path / "A" / "scores.csv", index=False)
    off = scores["B"].assign(model="b@2", settings="s2", version="1", reasons="stain_out_of_range;wide_interval")
    off.iloc[1:].to_csv(tmp_path / "B" / "scores.csv", index=False)
    scores["C"][list(COLUMNS_1)].to_csv(tmp_path / "C" / "scores.csv", index=False)
    ok = scores["C"].loc[scores["C"]["status"] == "ok", "slide_id"]
    notes = " ".join(merge(listed, tmp_path / "all")["notes"])
    for told in (
        "Centres differ in model (A: a@1, B: b@2, C: simulated)",
        "Centres differ in settings (A: s1, B: s2)",
        "The scores of C do not tell their settings: ask for the results folder.",
        "B: 1 of ",
        "lies beyond what the model knows",
        "C: no score has an interval",
    ):
        assert told in notes
    assert "Centres differ in version" not in notes
    made = {stage: {stage: {}} for stage in ("tissue", "infer", "score")}
    for name in ok:
        (tmp_path / "C" / name).mkdir()
        told = {"made_with": made, "made_by": {"score": "tilscore 1"}}
        (tmp_path / "C" / name / "provenance.json").write_text(json.dumps(told))
    found = merge(listed, tmp_path / "all")
    assert found["centres"][2]["settings"] == settings_of({"made_with": made})
    assert not any("do not tell" in note for note in found["notes"])
    with pytest.raises(UsageError, match="scores of several models"):
        rank(tmp_path / "all" / "slides.csv", tmp_path / "all", tmp_path / "rank")


def test_names_of_files_stay_with_the_centre(whole: Path, tmp_path: Path) -> None:
    listed = centres(whole, tmp_path, {"A": {"C1"}, "B": {"C2", "C3"}})
    table = texts(tmp_path / "A" / "slides.csv")
    table["path"] = [f"secret/Name {i}.svs" for i in range(len(table))]
    table.assign(roi=np.where(table.index == 0, "secret/Name.geojson", "")).to_csv(
        tmp_path / "A" / "slides.csv", index=False
    )
    merge(listed, tmp_path / "all")
    for path in (tmp_path / "all").iterdir():
        assert "secret" not in path.read_text(), path.name
        assert str(tmp_path) not in path.read_text(), path.name
    assert main(["cohort", "check", str(tmp_path / "all" / "slides.csv"), "--no-files"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("centre,results\nA,A\n", "no column 'manifest'"),
        (HEAD, "no line of a centre"),
        (HEAD + "A,A/slides.csv,\n", "line 2 column 'results': is empty"),
        (HEAD + "A/B,A/slides.csv,A\n", "is no name that files can have"),
        (HEAD + "A,A/slides.csv,A\na,A/slides.csv,A\n", "a centre is there twice"),
        (HEAD + "A,A/none.csv,A\n", r"none\.csv"),
    ],
)
def test_lists_with_errors(whole: Path, tmp_path: Path, text: str, message: str) -> None:
    listed = centres(whole, tmp_path, {"A": {"C1"}})
    listed.write_text(text)
    with pytest.raises((UsageError, DataError), match=message):
        merge(listed, tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_no_centres_own_file_is_written_over(whole: Path, tmp_path: Path) -> None:
    listed = centres(whole, tmp_path, {"A": {"C1"}})
    before = (tmp_path / "A" / "scores.csv").read_bytes()
    with pytest.raises(UsageError, match="would be written over"):
        merge(listed, tmp_path / "A")
    assert (tmp_path / "A" / "scores.csv").read_bytes() == before


def test_the_verb(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = centres(whole, tmp_path, {"A": {"C1"}, "B": {"C2"}})
    assert main(["cohort", "merge", str(listed), "--out", str(tmp_path / "all")]) == 0
    assert "slides of 2 centres have a score" in capsys.readouterr().out
