"""A reference cohort as one file to keep and to send: scores and sampling, no codes of patients."""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
import pandas as pd

from tilscore.cohort.manifest.models import model_notes, models_of
from tilscore.cohort.manifest.pool import INTERVALS, MADE_WITH, pool_biopsies, read_scores
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.rank.identifiers import without_identifiers
from tilscore.cohort.rank.placement import RankConfig
from tilscore.cohort.rank.reference import N_DIGITS, of_one_model
from tilscore.cohort.tables import write_table
from tilscore.errors import UsageError
from tilscore.inputs.words import order, several

_MEASURED = ("til_density_per_mm2", "stil_area_pct", "calibrated_stil_pct")
_NUMBERS = ("stroma_mm2", "n_cores", *(c for m in _MEASURED for c in (m, *INTERVALS[m])))
COLUMNS = ("patient_id", "timepoint", "specimen", "site", "centre", *MADE_WITH, *_NUMBERS)


def write_reference(manifest: Path, results: Path, out: Path) -> list[str]:
    """The verb: write the file that `cohort rank --reference` takes; what to say about it.

    Patients are numbered in a random order that is kept nowhere, so that neither codes nor places lead back to them;
    the biopsies of one patient stay together, for changes. Biopsies without a density are left out.

    Raises
    ------
    UsageError : a manifest with errors, identifiers of persons, scores of several models, nobody with a score.
    DataError : unreadable scores.
    """
    biopsies, _ = without_identifiers(pool_biopsies(read_manifest(manifest), read_scores(results)), manifest)
    of_one_model(models_of(biopsies), manifest)
    table = as_reference(biopsies)
    n = table["patient_id"].nunique()
    if not n:
        raise UsageError("no biopsy has a score", where=manifest, do="give the results of a run of its slides")
    write_table(Path(out), table)
    notes, cfg = model_notes(biopsies), RankConfig()
    if n < cfg.n_min_reference:
        notes.append(f"{several(n, 'patient')} are too few: {cfg.n_min_reference} are needed to place anybody.")
    of_centre = table.groupby("centre")["patient_id"].nunique()
    if rare := sorted(str(name) for name, k in of_centre.items() if name and k < cfg.n_min_level):
        said = f"Fewer than {cfg.n_min_level} patients are of centre {', '.join(rare)}"
        notes.append(f"{said}: empty the column before you send the file where that can tell who they are.")
    notes.append(f"{several(n, 'patient')}, {several(len(table), 'biopsy')}: no codes, and an order that is random.")
    return notes


def as_reference(biopsies: pd.DataFrame) -> pd.DataFrame:
    """Biopsies with a density as a table without codes (columns: `COLUMNS`).

    Parameters
    ----------
    biopsies : as from `pool_biopsies`.
    """
    table = biopsies[biopsies["til_density_per_mm2"].notna()].reindex(columns=list(COLUMNS))
    who = list(dict.fromkeys(table["patient_id"]))
    secrets.SystemRandom().shuffle(who)
    width = max(3, len(str(len(who))))
    table["patient_id"] = table["patient_id"].map({code: f"R{i:0{width}d}" for i, code in enumerate(who, start=1)})
    for name in _NUMBERS:
        table[name] = pd.to_numeric(table[name]).map(lambda x: float(f"{x:.{N_DIGITS}g}"))
    by = np.lexsort((table["timepoint"].map(order).to_numpy(), table["patient_id"].to_numpy(str)))
    return table.iloc[by].reset_index(drop=True)
