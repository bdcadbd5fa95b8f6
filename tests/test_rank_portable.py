"""A reference that is sent: the same places as of the cohort itself, and no codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilscore.cli import main
from tilscore.cohort.manifest.pool import pool_biopsies
from tilscore.cohort.rank.placement import RankConfig
from tilscore.cohort.rank.portable import COLUMNS, as_reference, write_reference
from tilscore.cohort.rank.reference import recognised
from tilscore.cohort.rank.run import rank, rank_tables
from tilscore.cohort.simulate.cohort import SimulateConfig, simulate_cohort, write_simulation
from tilscore.errors import UsageError

CFG = SimulateConfig(patients=50, pairs=16, series=0, failed_frac=0.0, seed=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cohort")
    write_simulation(path, CFG)
    return path


def ranks(folder: Path, out: Path, **reference: Path) -> pd.DataFrame:
    rank(folder / "slides.csv", folder, out, **reference)
    return pd.read_csv(out / "ranks.csv")


def test_patients_stand_where_they_stand_in_the_cohort(folder: Path, tmp_path: Path) -> None:
    """Of the reference's own patients, whose codes are gone, none is compared with itself."""
    sent = tmp_path / "ref.csv"
    write_reference(folder / "slides.csv", folder, sent)
    own, there = ranks(folder, tmp_path / "own"), ranks(folder, tmp_path / "there", reference=sent)
    placed = own["status"] == "ok"
    assert (own.loc[placed, "n_reference"] == there.loc[placed, "n_reference"]).all()
    for name, n in (("percentile", "n_reference"), ("percentile_adjusted", "n_reference_adjusted")):
        away = (own[name] - there[name]).abs() / 100 * own[n]
        assert away.max() <= 1.001, "rounding turns two neighbours at most"
        assert (away.dropna() == 0).mean() > 0.9
    other = tmp_path / "other"
    write_simulation(other, SimulateConfig(patients=20, pairs=0, series=0, seed=8))
    text = (other / "slides.csv").read_text()
    (other / "slides.csv").write_text(text.replace(",SIM-", ",NEW-"))
    new = [
        ranks(other, tmp_path / f"new{i}", **reference)
        for i, reference in enumerate(
            ({"reference": sent}, {"reference": folder / "slides.csv", "reference_results": folder})
        )
    ]
    assert (new[0]["percentile"].dropna() == new[1]["percentile"].dropna()).all()


def test_an_older_value_of_a_patient_moves_nothing() -> None:
    """Law: a slide that was scored again stands as if the reference had never held its patient."""
    manifest, scores, _ = simulate_cohort(CFG)
    old = pool_biopsies(manifest, scores)
    mine = old[old["til_density_per_mm2"].notna()].head(6).copy()
    for name in ("til_density_per_mm2", "til_density_low", "til_density_high"):
        mine[name] *= 5
    for patient in mine["patient_id"].unique():
        new = mine[mine["patient_id"] == patient]
        held, never = (rank_tables(new, table, RankConfig())[0] for table in (old, old[old["patient_id"] != patient]))
        places = [t.drop(columns="shrunk_z") for t in (held, never)]  # whose share of noise is the whole reference's
        pd.testing.assert_frame_equal(*places, check_exact=False, rtol=1e-6)


def test_nothing_but_scores_and_sampling_is_sent(folder: Path, tmp_path: Path) -> None:
    manifest = pd.read_csv(folder / "slides.csv", dtype=str, keep_default_na=False).assign(asked="secret")
    manifest["slide_id"], manifest["arm"] = [f"{s}_secret" for s in manifest["slide_id"]], "secret"
    manifest.to_csv(tmp_path / "slides.csv", index=False)
    scores = pd.read_csv(folder / "scores.csv", dtype=str, keep_default_na=False)
    scores.assign(slide_id=scores["slide_id"] + "_secret").to_csv(tmp_path / "scores.csv", index=False)
    write_reference(tmp_path / "slides.csv", tmp_path, tmp_path / "ref.csv")
    text = (tmp_path / "ref.csv").read_text()
    assert not any(word in text for word in ("secret", "SIM-", "PD"))
    assert tuple(pd.read_csv(tmp_path / "ref.csv").columns) == COLUMNS


def test_neither_codes_nor_order_lead_back() -> None:
    """The order is random: two files of one cohort differ, and the biopsies of a patient stay together."""
    manifest, scores, _ = simulate_cohort(CFG)
    biopsies = pool_biopsies(manifest, scores)
    one, two = as_reference(biopsies), as_reference(biopsies)
    name = "til_density_per_mm2"
    assert one[name].tolist() != two[name].tolist(), "a chance of 1 in 50!"
    pairs = []
    for table in (biopsies[biopsies[name].notna()], one, two):
        wide = table.assign(x=table[name].map(lambda x: float(f"{x:.4g}"))).pivot_table("x", "patient_id", "timepoint")
        pairs.append(sorted(map(tuple, wide.dropna()[["baseline", "post"]].to_numpy().tolist())))
    assert pairs[0] == pairs[1] == pairs[2]
    assert len(pairs[0]) > 8


@given(st.floats(1e-2, 1e4), st.floats(1e-2, 1e3), st.floats(1.0, 3.0))
def test_rounding_hides_no_patient(density: float, area: float, width: float) -> None:
    """Law: who was rounded to four digits is recognised; who differs by 1 % in one number is not."""
    own = pd.DataFrame({"patient_id": ["P1"], "timepoint": ["baseline"], "stroma_mm2": [area]}).assign(
        til_density_per_mm2=density, til_density_low=density / width, til_density_high=density * width
    )
    sent = as_reference(own.assign(status="ok"))
    assert recognised(own, sent) == {"R001": "P1"}
    assert recognised(own.assign(timepoint="post"), sent) == {}
    assert recognised(own.assign(stroma_mm2=area * 1.01), sent) == {}
    assert recognised(own.assign(til_density_low=np.nan), sent) == {}


def test_few_and_none_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv(folder / "slides.csv", dtype=str, keep_default_na=False)
    few = table[table["patient_id"].isin(table["patient_id"].unique()[:6])]
    few.to_csv(tmp_path / "few.csv", index=False)
    args = [
        "cohort",
        "reference",
        str(tmp_path / "few.csv"),
        "--results",
        str(folder),
        "--out",
        str(tmp_path / "r.csv"),
    ]
    assert main(args) == 0
    said = capsys.readouterr().out
    assert "are too few: 10 are needed" in said
    assert "Fewer than 5 patients are of centre" in said
    few.assign(slide_id=few["slide_id"] + "x").to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(UsageError, match="no biopsy has a score"):
        write_reference(tmp_path / "few.csv", folder, tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()
