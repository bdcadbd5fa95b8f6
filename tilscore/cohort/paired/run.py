"""The paired analysis of a cohort: manifest and scores in, tables and `analysis.json` out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from tilscore.cohort.manifest.models import model_notes, pair_notes
from tilscore.cohort.manifest.pool import (
    later_timepoints,
    pool_biopsies,
    read_scores,
    scored,
    scores_file,
    with_scores,
)
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.paired.change import COLUMNS, adjustment, change_tests, detectable, with_multiplicity
from tilscore.cohort.paired.groups import check_columns, group_tests
from tilscore.cohort.paired.missing import missing_pairs, missing_tests
from tilscore.cohort.paired.model import FALLBACK, ModelResult, fit_model
from tilscore.cohort.paired.pairs import AnalyseConfig, build_pairs, shifts
from tilscore.cohort.paired.reliable import add_adjusted
from tilscore.cohort.paired.sampling import confounded, unknown_sampling
from tilscore.cohort.paired.sensitivity import sensitivity
from tilscore.cohort.tables import made_from, plain, plain_rows, write_tables
from tilscore.config import as_values
from tilscore.files import write_json
from tilscore.inputs.words import is_scored

SCHEMA_VERSION = 1
TIMEPOINT = "timepoint: "
"""How the terms of the model that are changes begin."""


def analyse(manifest: Path, results: Path, out: Path, cfg: AnalyseConfig | None = None) -> dict[str, Any]:
    """Analyse the change between paired biopsies and write the tables.

    Parameters
    ----------
    manifest : `slides.csv`. results : folder of a run, or its `scores.csv`. out : folder for the tables.

    Returns
    -------
    dict : what `OUT/analysis.json` holds; see docs/cohort.md. Slides without a score are left out and counted in
    `flow`; what cannot be computed has `status` `not_evaluable`, a `reason` and no number.

    Raises
    ------
    UsageError : the manifest has errors, or lacks a column of `cfg.by`. DataError : the scores cannot be read.
    OutputError : nothing can be written.
    """
    cfg = cfg or AnalyseConfig()
    table, scores = read_manifest(manifest), read_scores(results)
    tables, rest = analyse_tables(table, scores, cfg)
    inputs = {"manifest": Path(manifest), "scores": scores_file(results)}
    analysis: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **made_from(inputs, "numpy", "scipy", "pandas", "statsmodels", "openpyxl"),
        "settings": as_values(cfg),
        **rest,
        **{name: plain_rows(tables[name]) for name in tables if name not in ("slides", "biopsies")},
    }
    plain_values: dict[str, Any] = plain(analysis)
    write_tables(Path(out), tables)
    write_json(Path(out) / "analysis.json", plain_values)
    return plain_values


def analyse_tables(
    manifest: pd.DataFrame, scores: pd.DataFrame, cfg: AnalyseConfig
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """All tables by name, and flow, diagnostics of the model and notes, without touching a file."""
    biopsies = pool_biopsies(manifest, scores)
    check_columns(cfg.by, [name for name in manifest.columns if name in biopsies])
    pairs = add_adjusted(build_pairs(biopsies, cfg), cfg)
    model = _without_confounded(fit_model(biopsies, cfg), pairs, cfg)
    slides = _slides(manifest, scores)
    tables = {
        "slides": slides,
        "biopsies": biopsies,
        "pairs": pairs,
        "tests": _tests(biopsies, pairs, model, cfg),
        "by_group": group_tests(pairs, cfg),
        "model": pd.DataFrame(model.rows),
        "shifts": shifts(pairs, cfg),
        "missing": missing_pairs(biopsies),
        "mde": detectable(pairs, planned_pairs(biopsies), cfg),
        "sensitivity": sensitivity(biopsies, set(scores.columns) - set(manifest.columns), cfg),
    }
    flow = _flow(manifest, scores, slides, biopsies, pairs)
    notes = [*pair_notes(pairs), *model_notes(biopsies), *model.notes, *_notes(tables["tests"], flow)]
    return tables, {"flow": flow, "model_diagnostics": model.diagnostics, "notes": notes}


def planned_pairs(biopsies: pd.DataFrame) -> dict[str, int]:
    """Patients with a baseline and a later biopsy in the manifest, whether or not they have scores."""
    baseline = set(biopsies.loc[biopsies["timepoint"] == "baseline", "patient_id"])
    return {
        t: int(biopsies.loc[biopsies["timepoint"] == t, "patient_id"].isin(baseline).sum())
        for t in later_timepoints(biopsies)
    }


def _slides(manifest: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Each slide of the manifest with its score; `unscored` where the run has none, `other_stain` for IHC.

    The table is handed on: of files it tells the names, not the folders, which can be those of patients and users.
    """
    table = with_scores(manifest, scores)
    for name in {"path", "roi"} & set(table.columns):
        table[name] = table[name].map(lambda path: Path(path).name)
    table["status"] = table["status"].fillna("unscored").where(table["stain"].map(is_scored), "other_stain")
    return table


def _without_confounded(model: ModelResult, pairs: pd.DataFrame, cfg: AnalyseConfig) -> ModelResult:
    """No number for a time point whose change cannot be told from that of a specimen the model left out."""
    rows = []
    for row in model.rows:
        here = pairs[pairs["timepoint"] == row["term"].removeprefix(TIMEPOINT)]
        dropped = model.diagnostics["not_adjusted_for"] if row["term"].startswith(TIMEPOINT) else []
        reason = confounded(here, dropped, cfg)
        if reason is not None:
            row = {"term": row["term"], "kind": row["kind"], "status": "not_evaluable", "reason": reason}
        rows.append(row)
    return replace(model, rows=rows)


def _tests(biopsies: pd.DataFrame, pairs: pd.DataFrame, model: ModelResult, cfg: AnalyseConfig) -> pd.DataFrame:
    """Tests of change, the mixed model's time points and the tests of missingness, in one table."""
    rows = []
    later = later_timepoints(biopsies)
    fitted = {row["term"].removeprefix(TIMEPOINT): row for row in model.rows if row["term"].startswith(TIMEPOINT)}
    about = model.diagnostics
    kind = "fixed_effects_model" if about.get("kind") == FALLBACK else "mixed_model"
    reason = about.get("reason") or "too_few_pairs at this time point"
    used, dropped = about.get("adjusted_for", []), about.get("not_adjusted_for", [])
    for timepoint in later:
        row = dict(fitted.get(timepoint, {"status": "not_evaluable", "reason": reason}))
        row |= {"timepoint": timepoint, "measure": "density", "unit": "log ratio", "role": "supporting"}
        here = pairs[pairs["timepoint"] == timepoint]
        row |= {"test": kind, "n_pairs": len(here), "method": "random intercept, CR2 by patient, Satterthwaite t"}
        flag = ""
        if kind == "fixed_effects_model":
            flag, row["method"] = "fallback", "patient fixed effects, CR2 by patient, Satterthwaite t"
        rows.append(row | adjustment(used, [*dropped, *unknown_sampling(here, dropped)], flag))
    more = with_multiplicity(pd.DataFrame([*rows, *missing_tests(biopsies, cfg)]).reindex(columns=COLUMNS))
    tests = [t for t in (change_tests(pairs, cfg), more) if len(t)]
    return pd.concat([t.astype(object) for t in tests], ignore_index=True) if tests else more


def _flow(
    manifest: pd.DataFrame, scores: pd.DataFrame, slides: pd.DataFrame, biopsies: pd.DataFrame, pairs: pd.DataFrame
) -> dict[str, Any]:
    """From slides to pairs: how many there are, and which were left out and why."""
    out = slides[slides["status"] != "ok"]
    have = scored(biopsies)
    return {
        "n_slides": len(slides),
        "n_slides_by_status": slides["status"].value_counts().to_dict(),
        "left_out": [
            {"slide_id": s, "status": status, "reasons": reasons if isinstance(reasons, str) else ""}
            for s, status, reasons in zip(out["slide_id"], out["status"], out["reasons"], strict=True)
        ],
        "n_scores_not_in_manifest": int((~scores["slide_id"].isin(manifest["slide_id"])).sum()),
        "n_patients": int(manifest["patient_id"].nunique()),
        "n_biopsies": len(biopsies),
        "n_biopsies_scored": len(have),
        "n_baselines_scored": int((have["timepoint"] == "baseline").sum()),
        "n_pairs_planned": planned_pairs(biopsies),
        "n_pairs": {t: int((pairs["timepoint"] == t).sum()) for t in later_timepoints(biopsies)},
    }


def _notes(tests: pd.DataFrame, flow: dict[str, Any]) -> list[str]:
    """What a reader must not miss."""
    notes = []
    lost = flow["n_slides"] - flow["n_slides_by_status"].get("ok", 0)
    if lost:
        notes.append(f"{lost} of {flow['n_slides']} slides have no score and are left out (listed in flow.left_out).")
    unscored = flow["n_slides_by_status"].get("unscored", 0)
    if unscored and flow["n_slides_by_status"].get("ok"):
        notes.append(
            f"{unscored} of {flow['n_slides']} slides are not in the scores: until they are, every result is "
            "preliminary, and a biopsy is pooled from those of its slides that are."
        )
    if flow["n_scores_not_in_manifest"]:
        all_of = (
            "" if flow["n_slides_by_status"].get("ok") else ": is slide_id, or the file's name, written in another way?"
        )
        n_apart = flow["n_scores_not_in_manifest"]
        notes.append(f"{n_apart} scores belong to slides that the manifest does not list{all_of or '.'}")
    said: dict[tuple[str, str], list[str]] = {}
    for _, row in tests[tests["role"] == "primary"].iterrows():
        what = ""
        if row["status"] != "ok":
            what = f"not evaluable: {row['reason']}"
        elif isinstance(row["not_adjusted_for"], str):
            factors = row["not_adjusted_for"].replace(";", ", ")
            what = f"not adjusted for {factors}: it differs, or may differ, within pairs"
        if what:
            said.setdefault((row["timepoint"], what), []).append(row["measure"])
    return notes + [f"The change of {', '.join(names)} at {time} is {what}." for (time, what), names in said.items()]
