"""Other assays beside the score: correlations, agreement, groups and outcome, one row a patient in each test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilscore.cohort.assays.outcomes import (
    events,
    times,
    unit_of,
)
from tilscore.cohort.assays.selection import select_tests
from tilscore.cohort.assays.survival import COX_COLUMNS, KM_COLUMNS, cox, kaplan_meier, negative_times, patients
from tilscore.cohort.assays.table import (
    Assays,
    of_patients,
    origin_notes,
    read_assays,
    same_blocks,
)
from tilscore.cohort.assays.tests import agreement, correlations, groups, not_evaluable, with_fdr
from tilscore.cohort.manifest.models import model_notes
from tilscore.cohort.manifest.pool import pool_biopsies, read_scores, scores_file
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.manifest.spelling import not_known, spelled_otherwise
from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, Measure, to_scale
from tilscore.cohort.tables import made_from, plain, plain_rows, write_tables
from tilscore.errors import UsageError
from tilscore.files import write_json
from tilscore.inputs.words import canonical

SCHEMA_VERSION = 1
OFFSET_PER_MM2 = AnalyseConfig().density_offset_per_mm2
"""TILs/mm2 added before the logarithm, as in the paired analysis."""

_OF_BIOPSY = ("specimen", "site", "centre", "arm", "response", "model", "n_slides", "stroma_mm2")


def assays(
    manifest: Path,
    results: Path,
    table: Path,
    out: Path,
    *,
    timepoint: str = "baseline",
    measure: str = "density",
    densities: Sequence[str] = (),
    flags: Sequence[str] = (),
    survival: Sequence[str] = (),
    km_groups: int = 2,
) -> dict[str, Any]:
    """The verb: join a table of other assays to the scores, test, and write the tables.

    Writes `assays.csv` (one row a test), `joined.csv` (one row a patient), `km.csv`, `cox.csv`, all of them as sheets
    of `assays.xlsx`, and `assays.json`.

    Parameters
    ----------
    manifest, results : as for `analyse`. table : CSV with `patient_id`, and `timepoint` and `block` where assays were
        repeated; every other column is an assay. out : folder for the tables.
    timepoint : of the biopsies, one for each patient. measure : `density`, `stil` or `calibrated`.
    densities : columns with counts per mm2, compared with the H&E density; default: names that end in `_per_mm2`.
    flags : columns to compare as groups; default: texts and numbers with few values, and the manifest's `response`.
    survival : TIME:EVENT columns; default: by name, such as `os_months` with `os_event`. Time counts from the baseline.
    km_groups : 2 (median) or 3 (tertiles).

    Returns
    -------
    dict : what `assays.json` holds. A test that cannot be made has `status` `not_evaluable`, a `reason` and no number.

    Raises
    ------
    UsageError : wrong arguments, or tables with errors, each with its line. DataError : unreadable scores.
    """
    what, time = _check(timepoint, measure, km_groups)
    if Path(table).resolve() == (Path(out) / "assays.csv").resolve():
        raise UsageError("the table would be written over", where=table, do="give another --out, or rename the table")
    slides, scores, other = read_manifest(manifest), read_scores(results), read_assays(table)
    selected = select_tests(other, densities, flags, survival)
    grouped = [name for name, kind in selected.kinds.items() if kind == "group"]
    whole = joined(slides, scores, of_patients(other, time, selected.outcome_columns, grouped), time, what)
    numbers = [name for name, kind in selected.kinds.items() if kind == "number"]
    block = _by_block(numbers, slides, other, whole, time, scores, what)
    tests = _tests(whole, block, selected.kinds, densities, what)
    survived = _survival(whole, selected.outcomes, what, time, km_groups)
    found = with_fdr([*tests, *survived["tests"]])
    apart = "patients of the assays differ from the manifest's"
    lacking = not_known(other.table["patient_id"], slides["patient_id"], where=table)
    spelled = [*spelled_otherwise(other.table["patient_id"], slides["patient_id"], apart), *lacking]
    origin = origin_notes(other, time, selected.outcome_columns, grouped)
    notes = [*model_notes(whole), *other.notes, *origin, *selected.notes, *spelled]
    files = {"manifest": Path(manifest), "scores": scores_file(results), "assays": Path(table)}
    result = {
        "schema_version": SCHEMA_VERSION,
        **made_from(files, "numpy", "scipy", "pandas", "lifelines"),
        "settings": {"timepoint": time, "measure": measure, "offset_per_mm2": OFFSET_PER_MM2, "km_groups": km_groups},
        "counts": _counts(whole, other),
        "notes": [*notes, *negative_times(whole, selected.outcomes), *_notes(whole, block, other, time)],
        "tests": plain_rows(found),
        "km": survived["summary"],
        "cox": survived["cox"],
    }
    result = dict(plain(result))
    write_tables(
        Path(out), {"assays": found, "joined": _named(whole, what).reset_index()} | _curves(survived), "assays"
    )
    write_json(Path(out) / "assays.json", result)
    return result


def _curves(survived: dict[str, list[dict[str, Any]]]) -> dict[str, pd.DataFrame]:
    return {
        "km": pd.DataFrame(survived["curves"]).reindex(columns=KM_COLUMNS),
        "cox": pd.DataFrame(survived["cox"]).reindex(columns=COX_COLUMNS),
    }


def _check(timepoint: str, measure: str, km_groups: int) -> tuple[Measure, str]:
    what = next((m for m in MEASURES if m.name == measure), None)
    if what is None:
        names = ", ".join(m.name for m in MEASURES)
        raise UsageError("unknown word", where="--measure", found=measure, do=f"one of: {names}")
    time = canonical("timepoint", timepoint)
    if not time:
        raise UsageError("unknown word", where="--timepoint", found=timepoint, do="baseline, weekN, dayN or post")
    if km_groups not in (2, 3):
        raise UsageError("must be 2 (median) or 3 (tertiles)", where="--km-groups", found=km_groups)
    return what, time


def joined(
    manifest: pd.DataFrame, scores: pd.DataFrame, assayed: pd.DataFrame, timepoint: str, what: Measure
) -> pd.DataFrame:
    """One row a patient (its index) with a scored biopsy at the time point: `y` on the measure's scale, `shown` and
    `density` as they are, the sampling and the model, and the assays of `of_patients` (NaN or "" where there are
    none)."""
    biopsies = pool_biopsies(manifest, scores)
    here = biopsies[(biopsies["timepoint"] == timepoint) & (biopsies["status"] == "ok")].set_index("patient_id")
    kept = here[[c for c in _OF_BIOPSY if c in here]]
    shown = here.get(what.column, pd.Series(np.nan, index=here.index))
    scored = {"shown": shown, "y": to_scale(shown, what, AnalyseConfig()), "density": here["til_density_per_mm2"]}
    return kept.assign(**scored).join(assayed)


def _by_block(
    names: Sequence[str],
    slides: pd.DataFrame,
    other: Assays,
    whole: pd.DataFrame,
    timepoint: str,
    scores: pd.DataFrame,
    what: Measure,
) -> dict[str, pd.DataFrame]:
    """For each assay the joined table of the slides of its blocks; slides are pooled once for assays of one block."""
    assayed = whole[[c for c in other.columns if c in whole]]
    pooled: dict[tuple[int, ...], pd.DataFrame] = {tuple(slides.index): whole}
    found = {}
    for name in names:
        chosen = same_blocks(slides, other, name, timepoint)
        key = tuple(chosen.index)
        if key not in pooled:
            pooled[key] = joined(chosen, scores, assayed, timepoint, what)
        found[name] = pooled[key]
    return found


def _named(whole: pd.DataFrame, what: Measure) -> pd.DataFrame:
    """The joined table with the names that the scores have elsewhere."""
    names = {"density": MEASURES[0].column} | ({} if what is MEASURES[0] else {"shown": what.column})
    return whole.drop(columns=["y"] if "shown" in names else ["y", "shown"]).rename(columns=names)


def _tests(
    whole: pd.DataFrame, block: dict[str, pd.DataFrame], kinds: dict[str, str], densities: Sequence[str], what: Measure
) -> list[dict[str, Any]]:
    """All tests but those of outcome."""
    rows: list[dict[str, Any]] = []
    is_density = what.name == "density"
    for name, kind in kinds.items():
        if kind == "group":
            frame = whole if name in whole else whole.assign(**{name: ""})
            if name == "response" and not (frame[name] != "").any():
                continue
            rows.append({"assay": name, "family": "group"} | groups(frame, name, is_log=what.scale == "log"))
            continue
        rho = correlations(block[name], name)
        rows += [{"assay": name, "family": row["test"]} | row for row in rho]
        if is_density and (name in densities or (not densities and name.endswith("_per_mm2"))):
            rows += [
                {"assay": name, "family": "agreement"} | row for row in agreement(block[name], name, OFFSET_PER_MM2)
            ]
    return rows


def _survival(
    whole: pd.DataFrame, outcomes: Sequence[tuple[str, str, str]], what: Measure, timepoint: str, n_groups: int
) -> dict[str, list[dict[str, Any]]]:
    """Tests, curves, summaries and Cox rows of each outcome."""
    found: dict[str, list[dict[str, Any]]] = {"tests": [], "curves": [], "summary": [], "cox": []}
    unit = "doubling of density" if what.scale == "log" else "10 points"
    for outcome, time, event in outcomes:
        named = {"assay": outcome, "family": "log_rank"}
        if timepoint != "baseline":
            why = not_evaluable("time counts from the baseline; who has a later biopsy has survived until then")
            found["tests"].append(named | {"test": "log_rank"} | why)
            found["cox"].append({"outcome": outcome, "model": "alone", "term": unit} | why)
            continue
        frame = patients(whole, times(whole[time], time), events(whole[event], event))
        frame["x"] = frame["y"] / np.log(2) if what.scale == "log" else frame["y"] / 10
        curves, test, summary = kaplan_meier(frame, outcome, n_groups, unit_of(time))
        found["tests"].append(named | test)
        found["curves"] += curves
        found["summary"] += summary
        found["cox"] += cox(frame, outcome, unit)
    return found


def _counts(whole: pd.DataFrame, other: Assays) -> dict[str, int]:
    with_assays = set(other.table["patient_id"])
    return {
        "n_patients_scored": len(whole),
        "n_patients_with_assays": len(with_assays),
        "n_patients_joined": int(whole.index.isin(with_assays).sum()),
        "n_assays": len(other.columns),
    }


def _notes(whole: pd.DataFrame, block: dict[str, pd.DataFrame], other: Assays, timepoint: str) -> list[str]:
    notes = []
    with_assays = set(other.table["patient_id"])
    without = len(with_assays - set(whole.index))
    if without:
        notes.append(f"{without} patients of the assays have no score at this time point and are in no test.")
    if other.has_block:
        lost = {n: len(set(whole.index[whole[n].notna()]) - set(frame.index)) for n, frame in block.items()}
        of = ", ".join(f"{n} ({count} patients)" for n, count in lost.items() if count)
        notes.append(
            "Correlations use the slides of the blocks that an assay states; "
            + (f"left out, as they have no score of that block: {of}." if of else "nobody is left out for that.")
        )
        if (other.table.loc[other.table["block"] != "", "timepoint"] == "").any():
            notes.append(f"Blocks of rows without a time point are taken as those of the {timepoint} biopsy.")
    notes.append("Each patient is in a test once. An association is no effect, and measurement error weakens it.")
    return notes
