"""The change of the score against other assays in made cohorts: error rates, and what is true is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tilscore.cohort.assays import assays
from tilscore.cohort.assays.changetests import given_sampling, groups_given_sampling
from tilscore.cohort.assays.tests import correlations
from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, build_pairs
from tilscore.cohort.simulate.cohort import SimulateConfig, simulate_pairs, write_simulation
from tilscore.inputs.words import SITES, SPECIMENS

TIMES = ("baseline", "post")


def cohorts(cfg: SimulateConfig, n: int) -> list[pd.DataFrame]:
    """Pairs of many made cohorts with `y`, cores that became resections or not, and what differs besides."""
    drawn = simulate_pairs(cfg, n)
    shape = drawn["n_tils"].shape
    who, side = (np.broadcast_to(a, shape) for a in (np.arange(n * cfg.pairs).reshape(n, -1, 1), np.arange(2)))
    columns = {"til_density_per_mm2", "til_density_low", "til_density_high", "stroma_mm2", "n_cores"}
    table = pd.DataFrame({name: drawn[name].ravel() for name in sorted(columns)})
    table = table.assign(
        patient_id=who.ravel(),
        timepoint=np.array(TIMES)[side.ravel()],
        specimen=np.array(SPECIMENS, dtype=object)[drawn["specimen"].ravel()],
        site=np.array(SITES, dtype=object)[drawn["site"].ravel()],
    )
    pairs = build_pairs(table, AnalyseConfig(), MEASURES[:1]).sort_values("patient_id")
    true = np.diff(np.log(drawn["plain_density_per_mm2"]), axis=-1).ravel()
    pairs = pairs.assign(y=pairs["density_log_ratio"], true=true, cohort=pairs["patient_id"] // cfg.pairs)
    return [group for _, group in pairs.groupby("cohort")]


MIX = {"baseline": {"core": 1.0}, "post": {"core": 0.5, "resection": 0.5}}


def share_below(
    pairs: list[pd.DataFrame], rng: np.random.Generator, by_specimen: float, by_truth: float
) -> list[float]:
    """How often either correlation has p < 0.05, by how much an assay follows the specimen and the true change."""
    p = []
    for group in pairs:
        resected = (group["specimen_after"] == "resection").to_numpy(float)
        x = rng.normal(size=len(group)) + by_specimen * resected + by_truth * group["true"].to_numpy()
        rows = correlations(group.assign(x=x), "x", given_sampling)
        assert rows[1]["adjusted_for"].startswith("specimen")
        p.append([row["p"] for row in rows])
    return list(np.mean(np.array(p) < 0.05, axis=0))


def test_errors_of_the_correlations_where_specimens_differ() -> None:
    """5 % without an association (250 draws: 2 to 8 %); and where the specimen moves both, only given the sampling."""
    cfg = SimulateConfig(patients=40, pairs=40, specimen_mix=MIX, seed=5)
    pairs, rng = cohorts(cfg, 250), np.random.default_rng(2)
    for share in share_below(pairs, rng, by_specimen=0.0, by_truth=0.0):
        assert 0.02 < share < 0.08
    plain, partial = share_below(pairs, rng, by_specimen=1.5, by_truth=0.0)
    assert plain > 0.2
    assert 0.02 < partial < 0.08
    strong = cohorts(SimulateConfig(patients=40, pairs=40, specimen_mix=MIX, sd_biopsy_log=0.6, seed=5), 60)
    assert min(share_below(strong, rng, by_specimen=0.0, by_truth=1.5)) > 0.9
    assert share_below(strong, rng, by_specimen=-1.5, by_truth=1.5)[1] > 0.9


def test_errors_of_the_groups_where_specimens_differ() -> None:
    """A mutation of those who were resected is not one of those who changed."""
    pairs, rng = cohorts(SimulateConfig(patients=40, pairs=40, specimen_mix=MIX, seed=7), 250), np.random.default_rng(3)
    p = []
    for group in pairs:
        chance = np.where(group["specimen_after"] == "resection", 0.7, 0.3)
        flag = (rng.random(len(group)) < chance).astype(float)
        p.append(groups_given_sampling(group.assign(flag=flag), "flag")["p"])
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.08


def test_a_true_association_is_found(tmp_path: Path) -> None:
    """Tumours that change, and assays that see it, besides a mutation that has nothing to do with it."""
    corr = {"ihc_cd3_per_mm2": 0.9, "expr_tcell_score": 0.9}
    cfg = SimulateConfig(patients=90, pairs=80, series=0, sd_biopsy_log=0.8, assay_corr=corr, seed=4)
    write_simulation(tmp_path, cfg)
    files = tmp_path / "slides.csv", tmp_path, tmp_path / "assays.csv"
    found = assays(*files, tmp_path / "out", timepoint="post", change=True)
    tests = {(t["assay"], t["test"]): t for t in found["tests"]}
    for name in ("ihc_cd3_per_mm2", "expr_tcell_score"):
        for test in ("spearman", "spearman_partial"):
            assert tests[name, test]["low"] > 0, (name, test)
            assert tests[name, test]["p_bh"] < 0.05
    assert tests["pik3ca_mut", "rank_ancova"]["p"] > 0.05
    families: dict[str, list[dict[str, Any]]] = {}
    for test in found["tests"]:
        families.setdefault(test["family"], []).append(test)
    for name in ("spearman", "spearman_partial", "group", "group_partial"):
        made = [t for t in families[name] if t["p"] is not None]
        assert [t["p_bh"] for t in made] == pytest.approx(stats.false_discovery_control([t["p"] for t in made]))
    outcome = [*families["log_rank"], *found["cox"]]
    assert len(outcome) == 4
    assert all(t["status"] == "not_evaluable" and "survived until then" in t["reason"] for t in outcome)
    assert not any(t.get("p") for t in outcome)
    points = assays(*files, tmp_path / "out", timepoint="post", change=True, measure="stil")
    (mut,) = [t for t in points["tests"] if t["assay"] == "pik3ca_mut" and t["family"] == "group"]
    assert mut["unit"] == "1 - 0, points"
    assert "agreement" not in {t["family"] for t in points["tests"]}
