"""How unusual is a patient: percentiles in a reference cohort, outliers, and a shortlist with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilscore.cohort.manifest.pool import later_timepoints, pool_biopsies, read_scores, scores_file
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.rank.cautions import add_cautions
from tilscore.cohort.rank.centres import centre_notes, centre_table
from tilscore.cohort.rank.identifiers import without_identifiers
from tilscore.cohort.rank.placement import (
    OUTLIER_Z,
    RankConfig,
    Reference,
    change_table,
    level_table,
    place_all,
    prepare,
)
from tilscore.cohort.rank.reasons import reasons
from tilscore.cohort.rank.reference import read_reference
from tilscore.cohort.rank.regression import CHANGE_SIDES, LEVEL_SIDES
from tilscore.cohort.tables import made_from, plain, plain_rows, write_tables
from tilscore.config import as_values
from tilscore.errors import UsageError
from tilscore.files import write_json
from tilscore.inputs.words import canonical, several

SCHEMA_VERSION = 1
DIRECTIONS = ("both", "high", "low")
BY = ("level", "change", "either")
_WHO = ["patient_id", "kind", "timepoint", "centre", "arm", "response", "specimen", "site", "stroma_mm2"]
_VALUES = ["value", "value_low", "value_high", "unit"]
_PLACES = [n + e for n in ("percentile", "percentile_adjusted", "percentile_alike") for e in ("", "_low", "_high")]
_REST = ["n_reference", "n_reference_adjusted", "n_alike", "adjusted_for", "not_adjusted_because", "interval_from"]
_FLAGS = ["robust_z", "robust_z_sure", "shrunk_z", "z_basis", "outlier", "outlier_sure", "cautions", "status", "reason"]
COLUMNS = [*_WHO, *_VALUES, *_PLACES, *_REST, *_FLAGS]


def rank(
    manifest: Path,
    results: Path,
    out: Path,
    *,
    reference: Path | None = None,
    reference_results: Path | None = None,
    n: int = 10,
    timepoint: str = "baseline",
    measure: str = "density",
    direction: str = "both",
    by: str = "level",
    adjust: Sequence[str] = ("specimen", "area", "site"),
) -> dict[str, Any]:
    """The verb: place each patient in a reference cohort and write its tables.

    Writes `ranks.csv`, `shortlist.csv`, `centres.csv`, all as sheets of `rank.xlsx`, and `rank.json`.

    Parameters
    ----------
    manifest, results : as for `analyse`. out : folder for the tables.
    reference : `biopsies.csv` of an earlier cohort (or its folder), or a manifest together with `reference_results`;
        None: the other patients of this cohort.
    n : length of the shortlist. timepoint : of the biopsies to place; changes are placed at each later one.
    measure : `density`, `stil` or `calibrated`. direction : `both`, `high` or `low`, of the shortlist.
    by : what the shortlist goes by: `level`, `change` (against baseline) or `either`.
    adjust : factors of `specimen`, `area`, `site`, `centre`.

    Returns
    -------
    dict : what `rank.json` holds. What cannot be placed has `status`, a `reason` and no number.

    Raises
    ------
    UsageError : wrong arguments, a manifest with errors, identifiers of persons, scores of more than one model.
    DataError : unreadable tables.
    """
    cfg = RankConfig(timepoint=canonical("timepoint", timepoint) or "", measure=measure, adjust=tuple(adjust))
    _check(n, cfg, direction, by)
    mine, notes = without_identifiers(pool_biopsies(read_manifest(manifest), read_scores(results)), manifest)
    others, said, files = read_reference(reference, reference_results, mine)
    ranks, about = rank_tables(mine, others, cfg)
    short = shortlist(ranks, n, direction=direction, by=by)
    centres = centre_table(level_table(mine, cfg), level_table(others, cfg), cfg)
    given = {"manifest": Path(manifest), "scores": scores_file(results), **files}
    result = {
        "schema_version": SCHEMA_VERSION,
        **made_from(given, "numpy", "scipy", "pandas", "statsmodels"),
        "settings": as_values(cfg) | {"n": n, "direction": direction, "by": by, "outlier_z": OUTLIER_Z},
        "reference": about,
        "counts": _counts(ranks),
        "notes": [*notes, *said, *_notes(ranks, about, is_own=reference is None), *centre_notes(centres, cfg)],
        "centres": plain_rows(centres),
        "shortlist": plain_rows(short),
        "ranks": plain_rows(ranks),
    }
    result = dict(plain(result))
    write_tables(Path(out), {"ranks": ranks, "shortlist": short, "centres": centres}, "rank")
    write_json(Path(out) / "rank.json", result)
    return result


def _check(n: int, cfg: RankConfig, direction: str, by: str) -> None:
    if not cfg.timepoint:
        raise UsageError("unknown word", where="--timepoint", do="baseline, weekN, dayN or post")
    if n < 1:
        raise UsageError("must be 1 or more", where="-n", found=n)
    choices = (
        ("--measure", cfg.measure, ("density", "stil", "calibrated")),
        ("--direction", direction, DIRECTIONS),
        ("--by", by, BY),
        *(("--adjust", factor, ("specimen", "area", "site", "centre")) for factor in cfg.adjust),
    )
    for where, found, words in choices:
        if found not in words:
            raise UsageError("unknown word", where=where, found=found, do="one of: " + ", ".join(words))


def rank_tables(
    mine: pd.DataFrame, others: pd.DataFrame, cfg: RankConfig
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Every patient's level and changes with their standing (columns: `COLUMNS`), and what the reference is like.

    Parameters
    ----------
    mine, others : one row a patient and time point, as `tilscore.cohort.manifest.pool.pool_biopsies` gives it.
    """
    ref = prepare(level_table(others, cfg), LEVEL_SIDES, cfg)
    about = {f"level {cfg.timepoint}": _about(ref)}
    levels = level_table(mine, cfg)
    parts = [_rows(levels, place_all(levels, ref, cfg), "level", cfg), _without_score(mine, levels, cfg)]
    changes, their = change_table(mine, cfg), change_table(others, cfg)
    for time in later_timepoints(mine):
        here = changes[changes["timepoint"] == time].reset_index(drop=True)
        if here.empty:
            continue
        ref = prepare(their[their["timepoint"] == time].reset_index(drop=True), CHANGE_SIDES, cfg)
        about[f"change {time}"] = _about(ref)
        parts.append(_rows(here, place_all(here, ref, cfg), "change", cfg))
    known = [part.astype(object) for part in parts if len(part)]
    table = pd.concat(known, ignore_index=True) if known else pd.DataFrame(columns=COLUMNS)
    table = add_cautions(table.reindex(columns=COLUMNS).infer_objects(), mine, others, cfg)
    return table, about


def _rows(targets: pd.DataFrame, found: list[dict[str, Any]], kind: str, cfg: RankConfig) -> pd.DataFrame:
    """One row a target: who, what was measured, and where it stands."""
    rows = []
    for row, at in zip(targets.to_dict("records"), found, strict=True):
        side = "_after" if kind == "change" else ""
        out = {name: row.get(name) for name in ("patient_id", "timepoint", "centre", "arm", "response")}
        out |= {name: row.get(name + side) for name in ("specimen", "site", "stroma_mm2")}
        out |= {"kind": kind, **_measured(row, kind, cfg)}
        rows.append(out | at)
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _measured(row: dict[str, Any], kind: str, cfg: RankConfig) -> dict[str, Any]:
    what = cfg.what
    if kind == "level":
        columns, unit = (what.column, what.low, what.high), "TILs/mm2" if what.scale == "log" else "%"
        values = [row.get(c) for c in columns]
    else:
        values, unit = [row["y"], row["y_low"], row["y_high"]], "ratio" if what.scale == "log" else "points"
        values = list(np.exp(np.array(values, np.float64))) if what.scale == "log" else values
    return {**dict(zip(_VALUES[:3], values, strict=True)), "unit": unit}


def _without_score(mine: pd.DataFrame, levels: pd.DataFrame, cfg: RankConfig) -> pd.DataFrame:
    """Patients that cannot be placed, with the reason."""
    rows = []
    left = mine[~mine["patient_id"].isin(levels["patient_id"])]
    for patient, group in left.groupby("patient_id", sort=False):
        here = group[group["timepoint"] == cfg.timepoint]
        said = group.iloc[0] if here.empty else here.iloc[0]
        reason = f"no biopsy at {cfg.timepoint}" if here.empty else f"its biopsy is {said['status']}"
        reason = f"no {cfg.measure} in its scores" if not here.empty and said["status"] == "ok" else reason
        row = {"patient_id": patient, "kind": "level", "timepoint": cfg.timepoint, "status": "not_evaluable"}
        rows.append(row | {name: said.get(name) for name in ("centre", "arm", "response")} | {"reason": reason})
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _about(ref: Reference) -> dict[str, Any]:
    fit, terms = ref.fit, ref.terms
    names = ["intercept", *(f"{f}: {w}" if w else f"log {f}" for f, w in terms.columns)]
    return {
        "n": len(ref.table),
        "n_fitted": 0 if fit is None else len(ref.fitted),
        "adjusted_for": terms.used,
        "not_adjusted_for": terms.dropped,
        "too_few_of": [f"{f}: {w}" for f, w in terms.rare],
        "coefficients": {} if fit is None else dict(zip(names, fit.beta.tolist(), strict=True)),
        "robust_sd": ref.spread[1] if fit is None else fit.sd,
    }


def shortlist(ranks: pd.DataFrame, n: int, *, direction: str = "both", by: str = "level") -> pd.DataFrame:
    """The n most unusual patients by |`shrunk_z`|, each once, with reasons in words.

    `shrunk_z` is the robust z times the share of its variance that is not the patient's own measurement error, so a
    tiny biopsy does not lead the list by noise alone.
    """
    known = ranks[(ranks["status"] == "ok") & ranks["shrunk_z"].notna()]
    known = known[known["kind"].isin(["level", "change"] if by == "either" else [by])]
    z = known["shrunk_z"].astype(float)
    sign = {"both": z.abs(), "high": z, "low": -z}[direction]
    first = sign[sign > 0].sort_values(ascending=False, kind="stable").index
    chosen = known.loc[first].drop_duplicates("patient_id").head(n)
    rows = []
    for place, (_, row) in enumerate(chosen.iterrows(), start=1):
        theirs = ranks[ranks["patient_id"] == row["patient_id"]]
        head = {"place": place, "side": "high" if row["shrunk_z"] > 0 else "low", "reasons": reasons(row, theirs)}
        rows.append(head | row[[*_WHO, *_VALUES, *_PLACES[:6], "shrunk_z", "outlier"]].to_dict())
    columns = ["place", "patient_id", "side", "reasons", *_WHO[1:], *_VALUES, *_PLACES[:6], "shrunk_z", "outlier"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _counts(ranks: pd.DataFrame) -> dict[str, int]:
    level = ranks[ranks["kind"] == "level"]
    return {
        "n_patients": int(ranks["patient_id"].nunique()),
        "n_placed": int((level["status"] == "ok").sum()),
        "n_not_evaluable": int((level["status"] != "ok").sum()),
        "n_changes_placed": int(((ranks["kind"] == "change") & (ranks["status"] == "ok")).sum()),
        "n_outliers": int(level["outlier"].isin(["high", "low"]).sum()),
    }


def _notes(ranks: pd.DataFrame, about: dict[str, dict[str, Any]], *, is_own: bool) -> list[str]:
    notes = []
    if is_own:
        notes.append("No reference was given: each patient is placed among the other patients of this cohort.")
    placed = ranks[ranks["status"] == "ok"]
    for name, one in about.items():
        missing = [*one["not_adjusted_for"], *one["too_few_of"]]
        if missing and name in set(placed["kind"] + " " + placed["timepoint"]):
            notes.append(f"{name}: the reference is too small to adjust for {', '.join(missing)}.")
        lack = placed[(placed["kind"] + " " + placed["timepoint"] == name) & placed["percentile_adjusted"].isna()]
        lack = lack[lack["not_adjusted_because"].astype(str).str.startswith("too few reference patients with")]
        if len(lack):
            why = "; ".join(f"{said} ({n})" for said, n in lack["not_adjusted_because"].value_counts().items())
            notes.append(f"{name}: {len(lack)} placed without adjustment: {why.replace('_', ' ')}.")
    for (kind, time), rows in ranks.groupby(["kind", "timepoint"], sort=False):
        if (rows["status"] != "ok").any():
            notes.append(f"{kind} {time}: {_unplaced(rows)}.")
    for kind in ("level", "change"):
        n = int((placed["kind"] == kind).sum())
        if n:
            beyond = f"some {0.05 * n:.1f} are expected above the 97.5th or below the 2.5th percentile by chance"
            notes.append(f"{n} {kind}s were placed; {beyond}.")
    return notes


def _unplaced(rows: pd.DataFrame) -> str:
    """How many of these rows have no place, and why."""
    left = rows.loc[rows["status"] != "ok", "reason"].map(lambda why: why.partition("too_few_reference: ")[2] or why)
    counts = left.value_counts().to_dict()
    all_ = several(len(rows), "patient")
    who = f"none of {all_} could" if len(left) == len(rows) else f"{len(left)} of {all_} could not"
    why = "; ".join(said if len(counts) == 1 else f"{said} ({n})" for said, n in counts.items())
    return f"{who} be placed: {why.replace('_', ' ')}"
