"""Scores on two scales: the machine's column, or one of two columns, in fractions beside percentages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilscore.cohort.agreement.agree import agree, agree_wide
from tilscore.cohort.agreement.readings import read_long
from tilscore.errors import UsageError

NAMES = {"case": "case", "reader": "reader", "score": "score"}


def readings(seed: int = 0) -> pd.DataFrame:
    """Three readers of 30 cases, in %, and a machine that says their mean within 3 points."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(20, 80, 30)
    frame = pd.DataFrame([(f"c{i}", r, level[i] + rng.normal(0, 4)) for i in range(30) for r in "abc"])
    frame.columns = pd.Index(["case", "reader", "score"])
    mean = frame.groupby("case")["score"].transform("mean")
    return frame.assign(
        ai=mean + frame["case"].map(dict(zip(frame["case"].unique(), rng.normal(0, 3, 30), strict=True)))
    )


@pytest.mark.parametrize("name", ["ai", "score"])
def test_a_column_of_fractions_beside_percentages(tmp_path: Path, name: str) -> None:
    table = readings()
    table.to_csv(tmp_path / "same.csv", index=False)
    table.assign(**{name: table[name] / 100}).to_csv(tmp_path / "other.csv", index=False)
    same, other = (agree(tmp_path / f"{n}.csv", machine="ai", min_readers=2, **NAMES) for n in ("same", "other"))
    assert same["machine"]["mae"] < 4
    for key in ("mae", "bias", "ccc", "limit_low"):
        assert other["machine"][key] == pytest.approx(same["machine"][key]), key
    assert any(n.startswith("ai: all scores lie within 0..1") for n in other["notes"]) == (name == "ai")
    assert not any("0..1" in n for n in same["notes"])
    kept = agree(tmp_path / "other.csv", machine="ai", scale=1, min_readers=2, **NAMES)
    assert kept["machine"]["mae"] > 20


def test_predictions_that_leave_0_to_1_beside_fractions(tmp_path: Path) -> None:
    table = readings()
    table = table.assign(ai=(table["ai"] / 100).where(table["case"] != "c3", 1.2), score=table["score"] / 100)
    table.to_csv(tmp_path / "t.csv", index=False)
    found = agree(tmp_path / "t.csv", machine="ai", min_readers=2, **NAMES)
    assert found["machine"]["mae"] < 6
    assert any(n.startswith("ai: all scores lie within -0.5..1.5") for n in found["notes"])
    assert "ai: 1 scores are below 0 or above 100 %; they were used as they are" in found["notes"]


@pytest.mark.parametrize("name", ["pred", "truth"])
def test_two_columns_each_have_their_scale(tmp_path: Path, name: str) -> None:
    table = readings().groupby("case").agg(pred=("ai", "first"), truth=("score", "mean"))
    table.to_csv(tmp_path / "same.csv")
    (table / [100, 100]).to_csv(tmp_path / "both.csv")
    table.assign(**{name: table[name] / 100}).to_csv(tmp_path / "other.csv")
    columns = {"pred": "pred", "truth": "truth"}
    same, both, other = (agree_wide([tmp_path / f"{n}.csv"], **columns) for n in ("same", "both", "other"))
    for key in ("mae", "bias", "ccc", "limit_low", "icc2"):
        assert other[key] == pytest.approx(same[key]), key
        assert both[key] == pytest.approx(same[key]), key
    assert [n.split(":")[0] for n in other["notes"] if "0..1" in n] == [name]
    assert other["settings"]["scale"] == (100 if name == "truth" else 1)
    assert agree_wide([tmp_path / "other.csv"], scale=1, **columns)["mae"] > 20


def test_tables_as_a_spreadsheet_saves_them(tmp_path: Path) -> None:
    """Semicolons and Excel's hint are read; a decimal comma is refused, as the whole numbers beside it would stay."""
    table, file = readings().round(1), tmp_path / "t.csv"
    table.to_csv(file, index=False)
    plain = read_long(file, **NAMES)
    for before in ("", "sep=;\n"):
        file.write_text(before + table.to_csv(index=False, sep=";"), encoding="utf-8-sig")
        pd.testing.assert_frame_equal(read_long(file, **NAMES).frame, plain.frame)
    table.to_csv(file, index=False, sep=";", decimal=",")
    with pytest.raises(UsageError, match=r"row 1 under the header, column 'score': \d+ values have a decimal comma"):
        read_long(file, **NAMES)


def test_spaces_make_no_other_reader(tmp_path: Path) -> None:
    table, file = readings(), tmp_path / "t.csv"
    table.loc[5:20, "reader"] += " "
    table.loc[:2, "case"] = " c0"
    table.to_csv(file, index=False)
    found = read_long(file, **NAMES)
    assert set(found.frame["reader"]) == set("abc")
    assert found.frame["case"].nunique() == 30
    assert not any("spelling" in note for note in found.notes)
    table.replace({"reader": {"b": "B"}}).to_csv(file, index=False)
    (told,) = [note for note in read_long(file, **NAMES).notes if "spelling" in note]
    assert told == "reader: 'B', 'b' differ in spelling only and count as several"
