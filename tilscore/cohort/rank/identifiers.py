"""Tables that must hold codes only: columns that look like identifiers of persons are left out, and it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilscore.cohort.manifest.check import RESULT_NAMES
from tilscore.cohort.manifest.privacy import REMEDY, suspicion, suspicious_column
from tilscore.errors import UsageError
from tilscore.inputs.words import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_TRUSTED = {*COLUMNS, *RESULT_NAMES} - {"patient_id", "centre", "arm", "response"}
_NAME = "a person's name"
N_NAMES = 5
"""Distinct values in the form of names from which a column is taken for one; `triple negative` has that form too."""


def without_identifiers(table: pd.DataFrame, where: object) -> tuple[pd.DataFrame, list[str]]:
    """The table without columns that look like identifiers, and a note for each that was left out (never its values).

    Columns go by their name, where a text in them surely has the form of an identifier or a date, or where several have
    the form of a name. Numbers are no text. Columns of the manifest's vocabulary and of results are not asked.

    Raises
    ------
    UsageError : `patient_id` itself has the form of an identifier.
    """
    import pandas as pd

    kept, notes = [], []
    for name in map(str, table.columns):
        what = None if name in _TRUSTED else suspicious_column(name)
        if not what and name not in _TRUSTED and not pd.api.types.is_numeric_dtype(table[name]):
            values = table[name].dropna().astype(str).unique()
            what = _looks_like({part for v in values for part in v.split(";")}, 1 if name == "patient_id" else N_NAMES)
        if what and name == "patient_id":
            raise UsageError(f"a value looks like {what}", where=f"{where} column 'patient_id'", do=REMEDY)
        if what:
            notes.append(f"Column {name!r} of {where} was left out: it looks like {what}.")
        else:
            kept.append(name)
    return table[kept], notes


def _looks_like(values: set[str], n_names: int) -> str | None:
    certain = [s.what for v in values if v and (s := suspicion(v)) is not None and s.is_certain]
    others = sorted({what for what in certain if what != _NAME})
    if others:
        return others[0]
    return "persons' names" if certain.count(_NAME) >= n_names else None
