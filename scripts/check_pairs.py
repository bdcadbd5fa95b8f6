"""Simulate cohorts and count: type I error, coverage and power of every test that `tilscore cohort analyse` reports.

    .venv/bin/python scripts/check_pairs.py [--cohorts 2000] [--pairs 40] [--seed 5] [--json FILE]

Nothing changes in the null cohorts but the sampling: baselines are mostly small cores, later biopsies often resections,
which read higher. The naive signed-rank test is shown beside the adjusted tests. In `added` the specimen adds to the
score and measurement SD is 5 points; in `unequal error` it is larger on small areas. `counted` and `measured` are
cohorts of `tilscore cohort simulate` (5 sites, 3 specimens, effects that multiply): TILs counted in the areas there
are, or sTIL with a measurement SD of 5 points. The mixed model's variances come from a fast REML search here; some
cohorts are compared with statsmodels' MixedLM, which `analyse` uses. In the null cohorts there are responders, who
change like all others; of those whose specimen turned from a core into another one three times as many are responders.
The rank-sum test of their changes is shown beside the adjusted differences.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from scipy import optimize

from tilscore.cohort.paired.change import n_effective
from tilscore.cohort.paired.groups import group_tests
from tilscore.cohort.paired.model import Design, _patient_means, mixed_variances, model_design
from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, build_pairs
from tilscore.cohort.paired.sampling import covariates
from tilscore.cohort.simulate.cohort import SimulateConfig, simulate_pairs
from tilscore.inputs.words import SITES, SPECIMENS
from tilscore.stats.aligned import aligned_test, column_basis
from tilscore.stats.clustered import fit_clustered
from tilscore.stats.paired import signed_rank

SCENARIOS = (
    ("added", 0.0),
    ("added", 1.0),
    ("unequal error", 0.0),
    ("counted", 0.0),
    ("measured", 0.0),
    ("measured", 1.0),
)
POINTS, LOG_RATIO = 7.0, 0.45
"""True change under the alternative: sTIL points, and log density ratio (12 to 19 points)."""


def make_cohort(rng: np.random.Generator, n: int, effect: float, scenario: str) -> pd.DataFrame:
    """Biopsies of `n` complete pairs; `effect` 0 or 1 times the true change."""
    later = np.tile([False, True], n)
    core = rng.random(2 * n) < np.where(later, 0.5, 0.9)
    area = np.exp(np.where(core, rng.normal(1.0, 0.5, 2 * n), rng.normal(3.5, 0.6, 2 * n)))
    noise = rng.normal(size=2 * n) * (np.where(core, 1.25, 0.75) if scenario == "unequal error" else 1.0)
    level = np.repeat(np.exp(rng.normal(np.log(12), 0.7, n)), 2)
    stil = level + 4.4 * ~core + 0.5 * np.log(area) + POINTS * effect * later + 5 * noise
    log_density = np.log(94 * level) + 0.45 * ~core + 0.05 * np.log(area) + LOG_RATIO * effect * later + 0.4 * noise
    offset = AnalyseConfig().density_offset_per_mm2
    return pd.DataFrame(
        {
            "patient_id": np.repeat([f"P{i:03d}" for i in range(n)], 2),
            "timepoint": np.where(later, "post", "baseline"),
            "specimen": np.where(core, "core", "resection"),
            "site": "breast",
            "stroma_mm2": area,
            "n_cores": np.where(core, rng.integers(1, 7, 2 * n), np.nan),
            "til_density_per_mm2": np.maximum(np.exp(log_density) - offset, 0),
            "stil_area_pct": stil,
        }
    )


def simulated(n_cohorts: int, n: int, effect: float, scenario: str, seed: int) -> Iterator[pd.DataFrame]:
    """Cohorts of the package's own simulator."""
    change = (
        {"effect_points": {"post": POINTS * effect}}
        if scenario == "measured"
        else {"effect_log": {"post": LOG_RATIO * effect}}
    )
    sd = 5.0 if scenario == "measured" else None
    cfg = SimulateConfig(
        patients=n, pairs=n, series=0, seed=seed, median_density_per_mm2=1200, measurement_sd_points=sd, **change
    )
    drawn = simulate_pairs(cfg, n_cohorts)
    words = {"specimen": np.array(SPECIMENS, dtype=object), "site": np.array(SITES, dtype=object)}
    for i in range(n_cohorts):
        one = {name: values[i].ravel() for name, values in drawn.items()}
        one |= {name: words[name][one[name]] for name in words}
        keys = {
            "patient_id": np.repeat([f"P{j:03d}" for j in range(n)], 2),
            "timepoint": np.tile(["baseline", "post"], n),
        }
        yield pd.DataFrame(keys | one).assign(stil_area_pct=one["calibrated_stil_pct"])


def fast_reml(design: Design) -> tuple[float, float]:
    """(between, residual) variance of a random intercept by REML, profiled over their ratio."""
    n_rows, n, k = np.bincount(design.patient), *design.x.shape
    mean_x, mean_y = _patient_means(design.x, design.patient), _patient_means(design.y, design.patient)

    def criterion(log_ratio: float) -> float:
        return _profile(np.exp(log_ratio))[0]

    def _profile(ratio: float) -> tuple[float, float]:
        scale = 1 + n_rows * ratio
        share = (1 - scale**-0.5)[design.patient]
        x, y = design.x - share[:, None] * mean_x, design.y - share * mean_y
        gram = x.T @ x
        rest = float(y @ y - (x.T @ y) @ np.linalg.solve(gram, x.T @ y))
        return (n - k) * np.log(rest) + np.linalg.slogdet(gram)[1] + np.log(scale).sum(), rest / (n - k)

    best = optimize.minimize_scalar(criterion, bounds=(-14, 8), method="bounded", options={"xatol": 1e-5})
    ratio = float(np.exp(best.x))
    within = _profile(ratio)[1]
    return ratio * within, within


def model_test(design: Design, variances: tuple[float, float], truth: float) -> tuple[float, bool]:
    """p of the later time point, and whether its interval holds the truth."""
    between, within = variances
    share = (1 - np.sqrt(within / (within + np.bincount(design.patient) * between)))[design.patient]
    x = design.x - share[:, None] * _patient_means(design.x, design.patient)
    y = design.y - share * _patient_means(design.y, design.patient)
    one = fit_clustered(y, x, design.patient).contrast(np.eye(x.shape[1])[1])
    return one.p, one.low <= truth <= one.high


def with_responders(biopsies: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The cohort with a `response`: `yes` mostly where the specimen turned from a core into another one."""
    wide = biopsies.pivot(index="patient_id", columns="timepoint", values="specimen")
    chance = np.where((wide["baseline"] == "core") & (wide["post"] != "core"), 0.6, 0.2)
    response = pd.Series(np.where(rng.random(len(wide)) < chance, "yes", "no"), index=wide.index)
    return biopsies.assign(response=biopsies["patient_id"].map(response))


def group_tests_of(biopsies: pd.DataFrame, cfg: AnalyseConfig) -> dict[str, tuple[float, bool]]:
    """(p, interval holds 0) by test of the difference between responders and others; cohorts without number: none."""
    found = group_tests(build_pairs(biopsies, cfg), cfg)
    told = found[(found["status"] == "ok") & (found["test"] != "change") & found["measure"].isin(["density", "stil"])]
    return {
        f"{row['measure']} {row['test']}": (float(row["p"]), bool(row["low"] <= 0 <= row["high"]))
        for row in told.to_dict("records")
    }


def tests_of(biopsies: pd.DataFrame, effect: float, cfg: AnalyseConfig) -> dict[str, tuple[float, bool]]:
    """(p, interval holds the truth) by test."""
    pairs = build_pairs(biopsies, cfg)
    same = pairs["same_specimen"].to_numpy()
    every, alike = covariates(pairs, cfg), covariates(pairs[same], cfg)
    x = np.column_stack([np.ones(len(pairs)), column_basis(every.x)])
    out: dict[str, tuple[float, bool]] = {}
    for measure, truth in zip(MEASURES[:2], (LOG_RATIO * effect, POINTS * effect), strict=True):
        delta = pairs[measure.delta].to_numpy(float)
        for name, d, found in (("adjusted", delta, every), ("same_specimen", delta[same], alike)):
            if n_effective(found) >= cfg.n_min_effective and len(d) - found.x.shape[1] > 3:
                p, p_truth = aligned_test(d, found.x)[1], aligned_test(d, found.x, truth)[1]
                out[f"{measure.name} wilcoxon_{name}"] = p, p_truth >= 0.05
        if n_effective(every) >= cfg.n_min_effective:
            one = fit_clustered(delta, x, np.arange(len(delta))).contrast(np.eye(x.shape[1])[0])
            out[f"{measure.name} mean_adjusted"] = one.p, one.low <= truth <= one.high
        naive = signed_rank(delta)
        out[f"{measure.name} wilcoxon_naive"] = naive.p, naive.low <= truth <= naive.high
    design = model_design(biopsies, cfg)
    if isinstance(design, Design):
        out["density mixed_model"] = model_test(design, fast_reml(design), LOG_RATIO * effect)
    return out


def run(
    n_cohorts: int, n_pairs: int, scenarios: tuple[tuple[str, float], ...] = SCENARIOS, seed: int = 5
) -> list[dict[str, object]]:
    """Rejection rate and coverage of each test, by scenario and effect."""
    cfg, rows = AnalyseConfig(), []
    for scenario, effect in scenarios:
        rng, groups = np.random.default_rng(seed), np.random.default_rng(seed + 1)
        own = scenario in ("added", "unequal error")
        made = (make_cohort(rng, n_pairs, effect, scenario) for _ in range(n_cohorts))
        found: dict[str, list[tuple[float, bool]]] = {}
        for cohort in made if own else simulated(n_cohorts, n_pairs, effect, scenario, seed):
            more = {} if effect else group_tests_of(with_responders(cohort, groups), cfg)
            for name, value in (tests_of(cohort, effect, cfg) | more).items():
                found.setdefault(name, []).append(value)
        for name, values in found.items():
            if scenario == "measured" and effect and name.startswith("density"):
                continue  # points are added, so there is no one density ratio that is true
            p, held = np.array([v[0] for v in values]), np.array([v[1] for v in values])
            row = {"scenario": scenario, "effect": effect, "test": name, "n": len(p)}
            rows.append(row | {"rejected": float((p < 0.05).mean()), "coverage": float(held.mean())})
    return rows


def reml_difference(n_cohorts: int, n_pairs: int) -> float:
    """Largest difference in p between the fast REML and MixedLM."""
    rng, worst = np.random.default_rng(11), 0.0
    for _ in range(n_cohorts):
        design = model_design(make_cohort(rng, n_pairs, 0.0, "added"), AnalyseConfig())
        exact, _ = mixed_variances(design)
        if exact is not None:
            worst = max(worst, abs(model_test(design, exact, 0)[0] - model_test(design, fast_reml(design), 0)[0]))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--scenarios", nargs="*", choices=sorted({s for s, _ in SCENARIOS}))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    start = time.process_time()
    rows = run(args.cohorts, args.pairs, tuple(s for s in SCENARIOS if s[0] in (args.scenarios or [s[0]])), args.seed)
    table = pd.DataFrame(rows)
    wide = table.pivot_table(index=["scenario", "test"], columns="effect", values=["rejected", "coverage"], sort=False)
    wide.columns = [f"{a}, {'+7 points' if b else 'no change'}" for a, b in wide.columns]
    print((100 * wide).round(1).to_string())
    difference = reml_difference(20, args.pairs)
    print(f"largest difference in p, fast REML against MixedLM: {difference:.2g}")
    print(f"{args.cohorts} cohorts of {args.pairs} pairs, {time.process_time() - start:.0f} s of one core")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "reml_difference": difference}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
