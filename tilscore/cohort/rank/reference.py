"""The reference cohort of a ranking: biopsies of an earlier cohort, checked for identifiers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from tilscore.cohort.manifest.models import NOT_STATED, model_notes, models_of
from tilscore.cohort.manifest.pool import INTERVALS, as_numbers, pool_biopsies, read_scores, saved_anew, scores_file
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.manifest.spelling import spelled_otherwise
from tilscore.cohort.rank.identifiers import without_identifiers
from tilscore.cohort.rank.placement import ROUNDED
from tilscore.errors import DataError, UsageError
from tilscore.inputs.words import several

N_DIGITS = 4
"""Significant digits of a reference that is handed on; the fifth is far within every interval."""
_SAME = ("stroma_mm2", "til_density_per_mm2", *INTERVALS["til_density_per_mm2"])


def read_reference(
    reference: Path | None, results: Path | None, mine: pd.DataFrame
) -> tuple[pd.DataFrame, list[str], dict[str, Path]]:
    """Biopsies of the reference, notes, and the files that they come from.

    Parameters
    ----------
    reference : `biopsies.csv` or its folder, or a manifest with its `results`; None: `mine` is its own reference.

    Raises
    ------
    UsageError : wrong arguments, a manifest with errors, identifiers of persons, scores of more than one model.
    DataError : unreadable tables.
    """
    if reference is None:
        if results is not None:
            raise UsageError("needs the manifest of the reference", where="--reference-results", do="give --reference")
        of_one_model(models_of(mine), "the patients")
        return mine, model_notes(mine), {}
    path = Path(reference)
    if results is not None:
        table = pool_biopsies(read_manifest(path), read_scores(results))
        files = {"reference": path, "reference_scores": scores_file(results)}
    else:
        path = path / "biopsies.csv" if path.is_dir() else path
        table, files = read_biopsies(path), {"reference": path}
    kept, notes = without_identifiers(table, path)
    same = recognised(mine, kept)
    if same:
        kept = kept.assign(patient_id=kept["patient_id"].replace(same))
        who = several(len(same), "patient")
        notes.append(f"{who} of the reference stand there under other codes: all numbers are those of ranked patients.")
    shared = int(mine["patient_id"].drop_duplicates().isin(kept["patient_id"]).sum())
    if shared:
        notes.append(f"{shared} patients are in the reference too: each is compared with the others only.")
    told = "patients of the reference count as others than patients who are ranked, and differ"
    notes += spelled_otherwise(kept["patient_id"], mine["patient_id"], told)
    models = models_of(mine) | models_of(kept)
    of_one_model(models, path)
    return kept, [*notes, _made_alike(models, mine, kept)], files


def _made_alike(models: Iterable[str], mine: pd.DataFrame, kept: pd.DataFrame) -> str:
    """Whether the scores of patients and reference were made alike, as far as the tables tell."""
    only = "only then can levels be compared"
    if NOT_STATED in models:
        said = "Not every score names its model. The reference must have been scored with the same model and settings"
        return f"{said}; {only}."
    ours, theirs = ({*models_of(table, "settings")} for table in (mine, kept))
    known, apart = sorted(theirs - {NOT_STATED}), sorted(ours - theirs - {NOT_STATED})
    if known and apart:
        said = (
            f"Patients were scored with settings ({', '.join(apart)}) that the reference was not ({', '.join(known)})"
        )
        do = "before provenance.json of their slides tells what differs: score all with one"
        return f"{said}. Their levels cannot be compared {do}."
    if NOT_STATED in ours | theirs:
        return f"One model scored patients and reference. Its settings must have been the same too; {only}."
    if len(ours | theirs) > 1:
        return f"One model scored patients and reference, with several settings: {', '.join(sorted(ours | theirs))}."
    return "One model with one setting scored patients and reference."


def recognised(mine: pd.DataFrame, reference: pd.DataFrame) -> dict[str, str]:
    """Patients of the reference (by their name there) who have the very numbers of one who is ranked, with that one's.

    Area, density and both limits of a biopsy of the same time point are equal to `N_DIGITS` digits, and not 0.
    """
    found: dict[str, str] = {}
    if not {*_SAME} <= {*mine.columns} & {*reference.columns}:
        return found
    theirs = reference[[*_SAME]].to_numpy(float)
    for row in mine[mine["til_density_per_mm2"] > 0].to_dict("records"):
        same = np.isclose(theirs, [row[name] for name in _SAME], rtol=ROUNDED, atol=0).all(axis=1)
        for name in reference.loc[same & (reference["timepoint"] == row["timepoint"]).to_numpy(), "patient_id"]:
            found.setdefault(name, row["patient_id"])
    return {name: own for name, own in found.items() if name != own}


def of_one_model(models: Iterable[str], where: object) -> None:
    """A percentile among scores of another model would be one of the models.

    Raises
    ------
    UsageError : there is more than one model, as far as they are stated.
    """
    known = sorted({*models} - {NOT_STATED})
    if len(known) > 1:
        do = "score the slides of all patients, and of the reference, with one model"
        raise UsageError("scores of several models cannot be ranked", where=where, found=", ".join(known), do=do)


def read_biopsies(path: Path) -> pd.DataFrame:
    """A `biopsies.csv` that `run` or `cohort analyse` wrote.

    Raises
    ------
    DataError : it cannot be read, is no such table, or a score, a limit or the area of stroma is no number.
    """
    do = "give the biopsies.csv of an earlier cohort, or its manifest with --reference-results"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as err:
        raise DataError("cannot be read", where=path, found=err, do=do) from err
    missing = {"patient_id", "timepoint", "til_density_per_mm2"} - set(table.columns)
    if missing:
        raise DataError(f"no column {sorted(missing)[0]!r}", where=path, do=saved_anew(table) or do)
    if table.duplicated(["patient_id", "timepoint"]).any():
        raise DataError("a biopsy is there twice", where=path, do=do)
    table["patient_id"] = table["patient_id"].str.replace(r"^'(?=[=+\-@])", "", regex=True)
    measured = {"stroma_mm2", *INTERVALS, *(limit for limits in INTERVALS.values() for limit in limits)}
    for name in table.columns:
        if name in measured:
            table[name] = as_numbers(table[name], path)
        elif name.endswith(("_mm2", "_pct", "_low", "_high", "_frac")) or name.startswith("n_"):
            table[name] = pd.to_numeric(table[name], errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
    return table
