"""Readers' tables through `cohort agree`: what counts, what is refused, and the published cohorts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilscore.cohort.agreement.agree import agree, agree_wide
from tilscore.cohort.agreement.text import as_text
from tilscore.errors import UsageError


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["roi,reader,til,how,createDate", *rows]) + "\n", encoding="utf-8")
    return path


def made(path: Path, n: int = 30) -> Path:
    rng = np.random.default_rng(7)
    level = rng.gamma(1, 15, n)
    rows = [
        f"{i:03},{r},{np.clip(level[i] + rng.normal(0, 5), 0, 100):.0f},camic,2020-01-01"
        for i in range(n)
        for r in "abcde"
    ]
    return write(path, rows)


def test_last_score_counts_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    table = made(tmp_path / "t.csv")
    extra = [
        "000,a,99,camic,2020-03-01",
        "000,a,1,camic,2020-02-01",
        "001,b,n/a,camic,2021-01-01",
        "001,,5,camic,2021-01-01",
    ]
    with open(table, "a", encoding="utf-8") as f:
        f.write("\n".join([*extra, "002,x,5,,2021-01-01", "003,x,5,expert,2021-01-01"]) + "\n")
    where = "not how.str.contains('expert')"  # one row has no `how`
    found = agree(table, case="roi", reader="reader", score="til", where=where)
    assert found["n_readers"] == 6  # x without `how` is kept
    settings_ = found["settings"]
    counted = [settings_[k] for k in ("n_left_out_by_where", "n_not_numeric", "n_without_name", "n_earlier_scores")]
    assert counted == [1, 1, 1, 2]
    assert any("order of the file" in note for note in found["notes"])
    assert found["by_reader"][0]["reader"] == "a"
    by_date = agree(table, case="roi", reader="reader", score="til", where=where, last="createDate")
    # 99 of March is later than 1 of February, which stands below it.
    assert by_date["by_reader"][0]["bias"] > found["by_reader"][0]["bias"]
    text = as_text(found)
    assert "ICC(1)" in text
    assert "2 earlier scores" in text
    json.dumps(found, allow_nan=False)


def test_machine_beside_the_readers(tmp_path: Path) -> None:
    """A machine that says the mean of the readers does better than a reader; as column, reader or file alike."""
    table = made(tmp_path / "t.csv", 60)
    frame = pd.read_csv(table, dtype={"roi": str})
    mean = frame.groupby("roi")["til"].transform("mean").round(6)
    frame.assign(ai=mean).to_csv(table, index=False)
    robot = frame.assign(til=mean)[["roi", "til"]].drop_duplicates()
    robot.to_csv(tmp_path / "ai.csv", index=False)
    both = pd.concat([frame, robot.assign(reader="ai", how="x", createDate="2020-01-01")])
    both.to_csv(tmp_path / "both.csv", index=False)
    names = {"case": "roi", "reader": "reader", "score": "til"}
    column = agree(table, machine="ai", **names, out=tmp_path / "out")
    file = agree(table, machine=str(tmp_path / "ai.csv"), **names)
    reader = agree(tmp_path / "both.csv", machine="ai", **names)
    one = column["machine"]
    assert one["mae"] == pytest.approx(0, abs=1e-6)
    assert one["minus_reader"]["mae_high"] < 0 < one["minus_reader"]["ccc_low"]
    assert one["reader"]["ccc"] == pytest.approx(column["loo_ccc"])
    assert "loo_bias" not in column  # 0 whatever the readers do
    for other in (file, reader):
        for part in ("in_stead", "reader", "minus_reader"):
            assert other["machine"][part] == pytest.approx(one[part], abs=1e-9)
        assert other["machine"]["mae"] == pytest.approx(one["mae"], abs=1e-9)
        assert other["n_readers"] == 5
    robot.assign(til=robot["til"] / 100).to_csv(tmp_path / "share.csv", index=False)
    share = agree(table, machine=str(tmp_path / "share.csv"), **names)
    assert share["machine"]["mae"] == pytest.approx(one["mae"], abs=1e-6)
    assert any(note.startswith("share.csv: all scores lie within 0..1") for note in share["notes"])
    assert not any("0..1" in note for note in file["notes"])
    kept = agree(table, machine=str(tmp_path / "share.csv"), scale=1.0, **names)
    assert kept["machine"]["bias"] < -5
    written = {p.name for p in (tmp_path / "out").iterdir()}
    plots = {f"bland_altman_{n}.{e}" for n in ("machine", "leave_one_out") for e in ("svg", "png")}
    assert written == plots | {"agreement.json", "agreement.txt", "machine.csv", "leave_one_out.csv"}
    agree(table, machine=str(tmp_path / "ai.csv"), **names, out=tmp_path / "file")
    svg = (tmp_path / "file" / "bland_altman_machine.svg").read_text(encoding="utf-8")
    assert "ai.csv - mean of the readers" in svg
    assert str(tmp_path) not in svg  # folders may name persons
    sheet = pd.read_csv(tmp_path / "out" / "leave_one_out.csv")
    assert float((sheet["x"] - sheet["y"]).abs().mean()) == pytest.approx(column["loo_mae"], abs=1e-4)


def test_two_readers_and_two_columns_give_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    truth = rng.random(50).round(3)
    pred = np.clip(truth + rng.normal(0, 0.1, 50), 0, 1).round(3)
    wide = pd.DataFrame({"id": range(50), "pred": pred, "truth": truth})
    wide[:20].to_csv(tmp_path / "a.csv", index=False)
    wide[20:].to_csv(tmp_path / "b.csv", index=False)
    wide.melt(id_vars="id").to_csv(tmp_path / "long.csv", index=False)
    two = agree_wide([tmp_path / "a.csv", tmp_path / "b.csv"], pred="pred", truth="truth")
    one = agree(tmp_path / "long.csv", case="id", reader="variable", score="value")
    for key in ("pearson", "ccc", "mae", "bias", "limit_low", "limit_high", "kappa_quadratic", "loo_ccc"):
        assert one[key] == pytest.approx(two[key]), key
    assert two["bias"] == pytest.approx(100 * float((pred - truth).mean()))
    assert two["settings"]["scale"] == 100
    assert any("fractions" in note for note in two["notes"])
    kept = agree_wide([tmp_path / "a.csv", tmp_path / "b.csv"], pred="pred", truth="truth", scale=1)
    assert kept["bias"] == pytest.approx(two["bias"] / 100)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score": "nothing"}, "no such column"),
        ({"where": "til >"}, "condition"),
        ({"where": "til + 1"}, "condition"),
        ({"where": "no_column == 1"}, "condition"),
        ({"where": "til > 1000"}, "no score is left"),
        ({"score": "reader"}, "no score is left"),
        ({"min_readers": 1}, "2 or more"),
        ({"machine": "nobody"}, "no such machine"),
        ({"machine": "til"}, "several machine scores"),
        ({"last": "how"}, "neither a date"),
        ({"scale": 0.0}, "above 0"),
    ],
)
def test_wrong_use_is_told(tmp_path: Path, options: dict[str, object], said: str) -> None:
    table = made(tmp_path / "t.csv", 5)
    with pytest.raises(UsageError, match=said):
        agree(table, **{"case": "roi", "reader": "reader", "score": "til", **options})  # type: ignore[arg-type]


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    (tmp_path / "empty.csv").write_bytes(b"")
    for name in ("bad.csv", "empty.csv", "absent.csv"):
        with pytest.raises(UsageError, match="cannot be read"):
            agree(tmp_path / name, case="a", reader="b", score="c")


def test_pathologists_of_the_htt_pilot(real_data: Path) -> None:
    """FDA HTT pilot study, 640 regions: the figures that this project states for its human yardstick."""
    found = agree(
        real_data / "tables" / "pilotHTT.csv",
        case="caseID",
        reader="readerID",
        score="densityTILs",
        where="not modalityID.str.contains('expert')",
    )
    stated = {"icc1": 0.639, "loo_pearson": 0.775, "loo_ccc": 0.761, "loo_kappa_quadratic": 0.61}
    for key, value in stated.items():
        assert found[key] == pytest.approx(value, abs=0.01), key
    assert found["loo_mae"] == pytest.approx(6.4, abs=0.1)
    assert found["within_sd"] == pytest.approx(9.5, abs=0.05)
    assert found["pairwise_limit_high"] == pytest.approx(27.0, abs=0.1)


def test_ectil_on_tcga(real_data: Path) -> None:
    """Held-out predictions that ECTIL ships for TCGA-BRCA, 356 slides in five files."""
    tables = sorted((real_data / "tables").glob("ectil_slide-level-output_test_fold_*.csv"))
    found = agree_wide(tables, pred="preds", truth="targets")
    stated = {"pearson": 0.613, "ccc": 0.553, "kappa_quadratic": 0.44}
    for key, value in stated.items():
        assert found[key] == pytest.approx(value, abs=0.01), key
    assert (found["limit_low"], found["limit_high"]) == pytest.approx((-29.6, 30.9), abs=0.05)
    assert found["n_cases"] == 356
