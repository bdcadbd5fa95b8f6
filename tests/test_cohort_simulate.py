"""Made cohorts: what was asked for is in them, within the error of chance, and they read back as real ones do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tilscore.cohort.manifest.check import check, check_manifest
from tilscore.cohort.manifest.pool import INTERVALS, pool_biopsies, read_scores
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.simulate.cohort import simulate, simulate_assays, simulate_cohort, simulate_pairs, write_simulation
from tilscore.cohort.simulate.draws import SimulateConfig, count_interval, draw_counts
from tilscore.errors import ConfigError, UsageError
from tilscore.inputs.words import COLUMNS, SPECIMENS

PLAIN = SimulateConfig(
    specimen_effect_log={}, site_effect_log={}, sd_block_log=0, sd_centre_log=0, failed_frac=0, not_evaluable_frac=0
)
"""Nothing but patients, biopsies and counting."""


def test_the_default_is_the_study() -> None:
    manifest, scores, truth = simulate_cohort(SimulateConfig())
    taken = manifest.groupby("timepoint")["patient_id"].agg(set)
    assert {time: len(who) for time, who in taken.items()} == {"baseline": 100, "week6": 20, "week12": 20, "post": 40}
    assert not taken["post"] & taken["week6"]
    assert taken["week6"] == taken["week12"]
    assert 180 <= len(manifest) <= 330
    assert truth["n_slides"] == len(manifest) == len(scores)
    assert manifest["slide_id"].tolist() == scores["slide_id"].tolist()


def test_a_seed_makes_one_cohort() -> None:
    first, again, other = (simulate_cohort(SimulateConfig(seed=s)) for s in (3, 3, 4))
    pd.testing.assert_frame_equal(first[0], again[0])
    pd.testing.assert_frame_equal(first[1], again[1])
    assert first[2] == again[2]
    assert first[2] != other[2]


def test_it_reads_back(tmp_path: Path) -> None:
    cfg = SimulateConfig(seed=1, missing_frac=0.2)
    truth = write_simulation(tmp_path, cfg)
    manifest, scores, _ = simulate_cohort(cfg)
    assert check_manifest(tmp_path / "slides.csv", files=False) == []
    back = read_manifest(tmp_path / "slides.csv")
    columns = [c for c in (*COLUMNS, "day", "line") if c != "path"]
    pd.testing.assert_frame_equal(back[columns], manifest[columns], check_dtype=False)
    pd.testing.assert_frame_equal(
        read_scores(tmp_path)[["n_tils", "stroma_mm2"]], scores[["n_tils", "stroma_mm2"]], rtol=1e-4
    )
    assert json.loads((tmp_path / "truth.json").read_text()) == json.loads(json.dumps(truth))
    table = pool_biopsies(back, read_scores(tmp_path))
    assert len(table) == len(truth["biopsies"])
    assert (table["status"] == "ok").mean() > 0.85
    assert check(tmp_path / "slides.csv", files=False, say=lambda _: None) == 0
    assays = pd.read_csv(tmp_path / "assays.csv")
    assert assays[["patient_id", "timepoint"]].to_numpy().tolist() == [
        [b["patient_id"], b["timepoint"]] for b in truth["biopsies"]
    ]


def test_its_columns_are_those_of_scores() -> None:
    from tilscore.score import COLUMNS as OF_SCORES

    _, scores, _ = simulate_cohort(SimulateConfig(patients=5, pairs=2, series=1))
    assert set(scores.columns) - set(OF_SCORES) == {"calibrated_stil_low", "calibrated_stil_high"}
    assert set(OF_SCORES) <= set(scores.columns)
    without = scores[scores["status"] != "ok"]
    assert without[["n_tils", *INTERVALS]].isna().all(axis=None)


def test_counts_follow_their_law() -> None:
    rng = np.random.default_rng(0)
    density, area, patches = np.full(200_000, 300.0), np.full(200_000, 2.0), 4.0
    counts = draw_counts(rng, density, area, patches)
    mean, variance = 600.0, 600.0 + 600.0**2 / 8.0
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / counts.size))
    assert counts.var() == pytest.approx(variance, rel=0.02)
    # Four times the area: the relative error of the density halves.
    wide = draw_counts(rng, density, 4 * area, patches)
    assert (wide.std() / wide.mean()) / (counts.std() / counts.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("density", "area"), [(400.0, 1.5), (50.0, 0.5), (2000.0, 20.0), (3.0, 0.3)])
def test_intervals_of_counts_cover(density: float, area: float) -> None:
    rng = np.random.default_rng(1)
    n = 20_000
    counts = draw_counts(rng, np.full(n, density), np.full(n, area), 4.0)
    low, high = count_interval(counts, np.full(n, area), 4.0)
    covered = np.mean((low <= density) & (density <= high))
    assert covered > 0.93
    if density * area > 20:
        assert covered < 0.97
    assert np.isfinite(high).all()
    assert (low <= counts / area).all()
    assert (counts / area <= high).all()


def test_effects_are_recovered() -> None:
    cfg = replace(PLAIN, effect_log={"post": 0.5}, pairs=40)
    pairs = simulate_pairs(cfg, 500)
    log = np.log(pairs["plain_density_per_mm2"])
    delta = log[..., 1] - log[..., 0]
    sd = np.sqrt(2) * cfg.sd_biopsy_log
    assert delta.mean() == pytest.approx(0.5, abs=4 * sd / np.sqrt(delta.size))
    assert delta.std() == pytest.approx(sd, rel=0.03)
    assert log[..., 0].std() == pytest.approx(np.hypot(cfg.sd_patient_log, cfg.sd_biopsy_log), rel=0.03)
    ratio = pairs["n_tils"].sum((0, 1)) / (pairs["true_density_per_mm2"] * pairs["stroma_mm2"]).sum((0, 1))
    assert ratio == pytest.approx([1, 1], abs=0.02)


def test_points_are_recovered_with_their_error() -> None:
    cfg = replace(PLAIN, effect_points={"post": 7.0}, measurement_sd_points=5.0, median_density_per_mm2=3000.0)
    cfg = replace(cfg, sd_patient_log=0.2, sd_biopsy_log=0.0)
    pairs = simulate_pairs(cfg, 200)
    delta = np.diff(pairs["calibrated_stil_pct"], axis=-1)
    assert delta.mean() == pytest.approx(7.0, abs=4 * 5 * np.sqrt(2 / delta.size))
    assert delta.std() == pytest.approx(5 * np.sqrt(2), rel=0.03)


def test_sampling_alone_looks_like_treatment() -> None:
    cfg = SimulateConfig(pairs=40)
    pairs = simulate_pairs(cfg, 300)
    resected = (pairs["specimen"] == SPECIMENS.index("resection")).mean((0, 1))
    assert resected == pytest.approx([0.15, 0.3], abs=0.02)
    naive = np.diff(np.log(pairs["til_density_per_mm2"] + 1), axis=-1).mean()
    true = np.diff(np.log(pairs["plain_density_per_mm2"]), axis=-1).mean()
    assert true == pytest.approx(0, abs=0.02)
    assert naive > 0.05
    assert np.isnan(pairs["n_cores"][pairs["specimen"] != SPECIMENS.index("core")]).all()


def test_missing_at_random_and_not() -> None:
    def missing(slope: float) -> tuple[float, float]:
        cfg = SimulateConfig(patients=4000, pairs=4000, series=0, missing_frac=0.3, missing_slope=slope)
        manifest, _, truth = simulate_cohort(cfg)
        base = pd.DataFrame(b for b in truth["biopsies"] if b["timepoint"] == "baseline").set_index("patient_id")
        there = base.index.isin(manifest.loc[manifest["timepoint"] == "post", "patient_id"])
        log = np.log(base["plain_density_per_mm2"].to_numpy())
        return 1 - there.mean(), log[~there].mean() - log[there].mean()

    share, gap = missing(0.0)
    assert share == pytest.approx(0.3, abs=0.03)
    assert gap == pytest.approx(0, abs=0.11)
    assert missing(1.0)[1] > 0.5


def test_states_and_labels() -> None:
    cfg = SimulateConfig(patients=2000, pairs=0, series=0, failed_frac=0.1, not_evaluable_frac=0.2)
    manifest, scores, _ = simulate_cohort(cfg)
    share = scores["status"].value_counts(normalize=True)
    assert share["failed"] == pytest.approx(0.1, abs=0.03)
    assert share["not_evaluable"] == pytest.approx(0.2, abs=0.03)
    assert scores.loc[scores["status"] == "failed", "stroma_mm2"].isna().all()
    of_patient = manifest.drop_duplicates("patient_id")["response"].value_counts(normalize=True)
    assert of_patient.to_dict() == pytest.approx({"CR": 0.1, "PR": 0.3, "SD": 0.3, "PD": 0.3}, abs=0.04)


def test_assays_have_their_correlation() -> None:
    cfg = replace(PLAIN, patients=5000, pairs=0, series=0, hazard_ratio=0.5)
    _, _, truth = simulate_cohort(cfg)
    assays = simulate_assays(cfg)
    log = np.log([b["true_density_per_mm2"] for b in truth["biopsies"]])
    for name in ("ihc_cd3_per_mm2", "ihc_cd8_per_mm2"):
        assert np.corrcoef(log, np.log(assays[name]))[0, 1] == pytest.approx(cfg.assay_corr[name], abs=0.03)
    assert np.corrcoef(log, assays["expr_tcell_score"])[0, 1] == pytest.approx(0.6, abs=0.03)
    assert log[assays["pik3ca_mut"] == 1].mean() < log[assays["pik3ca_mut"] == 0].mean()
    high = log > np.median(log)
    rate = [assays.loc[part, "os_event"].sum() / assays.loc[part, "os_months"].sum() for part in (high, ~high)]
    assert rate[0] < 0.6 * rate[1]
    assert assays["facs_cd8_frac"].between(0, 1).all()


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(tmp_path / "s", patients=10, effect=["post=0.4"], seed=2) == 0
    assert "of 10 patients" in capsys.readouterr().out
    truth = json.loads((tmp_path / "s" / "truth.json").read_text())
    assert (truth["config"]["effect_log"], truth["n_taken"]["post"]) == ({"post": 0.4}, 10)
    (tmp_path / "few.yaml").write_text("failed_frac: 0.5\n")
    assert simulate(tmp_path / "few", patients=7, config=tmp_path / "few.yaml") == 0
    assert "of 7 patients" in capsys.readouterr().out
    (tmp_path / "c.yaml").write_text("failed_frac: 0.5\npatients: 30\npairs: 5\nseries: 5\n")
    simulate(tmp_path / "s", config=tmp_path / "c.yaml", seed=1)
    truth = json.loads((tmp_path / "s" / "truth.json").read_text())
    assert (truth["config"]["failed_frac"], truth["config"]["seed"], truth["n_planned"]["post"]) == (0.5, 1, 5)
    with pytest.raises(UsageError, match="TIME=NUMBER"):
        simulate(tmp_path / "s", effect=["post:0.4"])
    with pytest.raises(UsageError, match="no time point 'week7'"):
        simulate(tmp_path / "s", effect=["week7=1"])
    with pytest.raises(UsageError, match="pairs and series"):
        simulate(tmp_path / "s", pairs=200)
    (tmp_path / "c.yaml").write_text("failed_fraction: 0.5\n")
    with pytest.raises(ConfigError, match="failed_frac"):
        simulate(tmp_path / "s", config=tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"seed": -1}, "simulate.seed: must be 0 to 4294967296 .found -1"),
        ({"missing_slope": float("nan")}, "simulate.missing_slope: must be -10 to 10 .found nan"),
        ({"effect": ["post=nan"]}, "simulate.effect_log.post: must be -10 to 10 .found nan"),
        ({"effect": ["post=1e5"]}, "simulate.effect_log.post: must be -10 to 10 .found 100000"),
        ({"effect_points": ["week6=inf"]}, "simulate.effect_points.week6: must be -100 to 100 .found inf"),
    ],
)
def test_no_cohort_of_impossible_numbers(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        simulate(tmp_path / "s", **wrong)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("mix", [{}, {"liver": float("nan")}, {"liver": 1.0, "skin": -0.5}, {"liver": float("inf")}])
def test_mixes_have_shares(mix: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares of a mix"):
        SimulateConfig(site_mix=mix)


def test_extreme_cohorts_can_be_made(tmp_path: Path) -> None:
    simulate(tmp_path / "s", patients=12, effect=["post=10"], effect_points=["week6=-100"], missing_slope=-10)
    assert pd.read_csv(tmp_path / "s" / "scores.csv")["til_density_per_mm2"].max() > 1e6
