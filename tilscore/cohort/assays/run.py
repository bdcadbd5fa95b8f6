"""Other assays beside the score: correlations, agreement, groups and outcome, one row a patient in each test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilscore.cohort.assays.changes import Changes
from tilscore.cohort.assays.levels import OFFSET_PER_MM2, Levels
from tilscore.cohort.assays.outcomes import (
    events,
    times,
    unit_of,
)
from tilscore.cohort.assays.selection import select_tests
from tilscore.cohort.assays.survival import COX_COLUMNS, KM_COLUMNS, cox, kaplan_meier, negative_times, patients
from tilscore.cohort.assays.table import Assays, read_assays
from tilscore.cohort.assays.tests import not_evaluable, with_fdr
from tilscore.cohort.manifest.pool import read_scores, scores_file
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.manifest.spelling import not_known, spelled_otherwise
from tilscore.cohort.paired.pairs import MEASURES, Measure
from tilscore.cohort.tables import made_from, plain, plain_rows, write_tables
from tilscore.errors import UsageError
from tilscore.files import write_json
from tilscore.inputs.words import canonical

SCHEMA_VERSION = 1


def assays(
    manifest: Path,
    results: Path,
    table: Path,
    out: Path,
    *,
    timepoint: str = "baseline",
    change: bool = False,
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
    change : test the score's change from baseline to this time point, against the change of each assay that was
        measured at both and against all others as they are.
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
    what, time = _check(timepoint, measure, km_groups, change)
    if Path(table).resolve() == (Path(out) / "assays.csv").resolve():
        raise UsageError("the table would be written over", where=table, do="give another --out, or rename the table")
    slides, scores, other = read_manifest(manifest), read_scores(results), read_assays(table)
    selected = select_tests(other, densities, flags, survival)
    if change and "response" not in flags:
        del selected.kinds["response"]
    held = (Changes if change else Levels)(scores, other, selected, time, what)
    if isinstance(held, Changes):
        held.check_pairs(slides)
    found, tables = _tested(slides, held, densities, km_groups, table)
    files = {"manifest": Path(manifest), "scores": scores_file(results), "assays": Path(table)}
    settings = {"timepoint": time, "change": change, "measure": measure, "offset_per_mm2": OFFSET_PER_MM2}
    result = {
        "schema_version": SCHEMA_VERSION,
        **made_from(files, "numpy", "scipy", "pandas", "lifelines"),
        "settings": settings | {"km_groups": km_groups},
        **found,
    }
    result = dict(plain(result))
    write_tables(Path(out), tables, "assays")
    write_json(Path(out) / "assays.json", result)
    return result


def _tested(
    slides: pd.DataFrame, held: Levels, densities: Sequence[str], km_groups: int, table: Path
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Counts, notes and all tests for `assays.json`, and the tables by name."""
    other, outcomes = held.other, held.selected.outcomes
    whole = held.join(slides)
    block = _by_block(slides, held, whole)
    tests = _tests(whole, block, held, densities)
    survived = _survival(whole, outcomes, held.what, held.timepoint, km_groups)
    rows = with_fdr([*tests, *survived["tests"]])
    apart = "patients of the assays differ from the manifest's"
    lacking = not_known(other.table["patient_id"], slides["patient_id"], where=table)
    spelled = [*spelled_otherwise(other.table["patient_id"], slides["patient_id"], apart), *lacking]
    notes = [*held.model_notes(whole), *other.notes, *held.notes(whole), *held.selected.notes, *spelled]
    found = {
        "counts": _counts(whole, other),
        "notes": [*notes, *negative_times(whole, outcomes), *_notes(whole, block, held)],
        "tests": plain_rows(rows),
        "km": survived["summary"],
        "cox": survived["cox"],
    }
    return found, {"assays": rows, "joined": held.written(whole).reset_index()} | _curves(survived)


def _curves(survived: dict[str, list[dict[str, Any]]]) -> dict[str, pd.DataFrame]:
    return {
        "km": pd.DataFrame(survived["curves"]).reindex(columns=KM_COLUMNS),
        "cox": pd.DataFrame(survived["cox"]).reindex(columns=COX_COLUMNS),
    }


def _check(timepoint: str, measure: str, km_groups: int, change: bool) -> tuple[Measure, str]:
    what = next((m for m in MEASURES if m.name == measure), None)
    if what is None:
        names = ", ".join(m.name for m in MEASURES)
        raise UsageError("unknown word", where="--measure", found=measure, do=f"one of: {names}")
    time = canonical("timepoint", timepoint)
    if not time:
        raise UsageError("unknown word", where="--timepoint", found=timepoint, do="baseline, weekN, dayN or post")
    if change and time == "baseline":
        do = "say of which later biopsy, as in --timepoint post --change"
        raise UsageError("a change is that of a later biopsy against the baseline", where="--change", do=do)
    if km_groups not in (2, 3):
        raise UsageError("must be 2 (median) or 3 (tertiles)", where="--km-groups", found=km_groups)
    return what, time


def _by_block(slides: pd.DataFrame, held: Levels, whole: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each number the joined table of the slides of its blocks; slides are pooled once for assays of one block."""
    pooled: dict[tuple[int, ...], pd.DataFrame] = {tuple(slides.index): whole}
    found = {}
    for name in held.selected.numbers:
        chosen = held.same_blocks(slides, name)
        key = tuple(chosen.index)
        if key not in pooled:
            pooled[key] = held.join(chosen)
        found[name] = pooled[key]
    return found


def _tests(
    whole: pd.DataFrame, block: dict[str, pd.DataFrame], held: Levels, densities: Sequence[str]
) -> list[dict[str, Any]]:
    """All tests but those of outcome."""
    rows: list[dict[str, Any]] = []
    compared = {name for name in held.selected.densities if not densities or name in densities}
    for name, kind in held.selected.kinds.items():
        if kind == "group":
            frame = whole if name in whole else whole.assign(**{name: ""})
            if name == "response" and not (frame[name] != "").any():
                continue
            made = held.of_group(frame, name)
        else:
            made = held.of_number(block[name], name, compared if held.what.name == "density" else ())
        rows += [{"assay": name, "taken_as": held.taken[name]} | row for row in made]
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


def _notes(whole: pd.DataFrame, block: dict[str, pd.DataFrame], held: Levels) -> list[str]:
    notes = []
    without = len(set(held.other.table["patient_id"]) - set(whole.index))
    if without:
        notes.append(f"{without} patients of the assays {held.lacking} and are in no test.")
    if held.other.has_block:
        lost = {n: len(set(whole.index[whole[n].notna()]) - set(frame.index)) for n, frame in block.items()}
        of = ", ".join(f"{n} ({count} patients)" for n, count in lost.items() if count)
        notes.append(
            "Correlations use the slides of the blocks that an assay states; "
            + (f"left out, as they have no score of that block: {of}." if of else "nobody is left out for that.")
        )
        if (held.other.table.loc[held.other.table["block"] != "", "timepoint"] == "").any():
            notes.append(f"Blocks of rows without a time point are taken as those of {held.undated}.")
    notes.append("Each patient is in a test once. An association is no effect, and measurement error weakens it.")
    return notes
