"""Other assays of a cohort: a CSV keyed by patient (and time point, and block), read and joined to the scores."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilscore.cohort.manifest.read import one_spelling
from tilscore.cohort.manifest.sheet import Row, decimal_comma, read_sheet
from tilscore.cohort.paired.pairs import MEASURES
from tilscore.cohort.rank.identifiers import without_identifiers
from tilscore.errors import UsageError
from tilscore.inputs.words import COLUMNS, advice, bare, canonical, is_missing
from tilscore.slide.mpp import number

KEYS = ("patient_id", "timepoint", "block")
MOST_GROUPS = 6
"""Texts, or whole numbers, with at most this many different values are groups."""
_SHOWN = 20
N_ODD = 3
"""Values that are no numbers, named in the note on a column of measurements."""
_SHAPE = "a row is a patient (and time point), a column an assay; turn a table with a column for each patient over"
N_REPEATED = 5
"""Patients whose rows of several time points must agree before a column is taken as the patient's; in fewer, a marker
with few values agrees by chance."""
RESERVED = frozenset(
    {"line", "y", "shown", "density", "n_slides", "stroma_mm2", "response", "arm", "model"}
    | {m.column for m in MEASURES}
)
"""Names of the score and of its biopsy; an assay of that name gets `_assay` behind it."""


@dataclass(frozen=True)
class Assays:
    """A table of other assays.

    Attributes
    ----------
    table : one row a patient (and time point, and block): keys as text ("" where not stated), numbers as float, other
        columns as text. has_time, has_block : whether these keys are stated. notes : what was left out.
    """

    table: pd.DataFrame
    has_time: bool
    has_block: bool
    notes: list[str]

    @property
    def columns(self) -> list[str]:
        """The assays."""
        return [c for c in self.table.columns if c not in (*KEYS, "line")]


def read_assays(path: Path) -> Assays:
    """Read the table; columns that look like identifiers of persons are left out.

    Raises
    ------
    UsageError : it cannot be read, has no `patient_id`, unknown time points, identifiers as `patient_id`, or a key
        twice with different values, or two columns that would have one name; all problems with their lines.
    """
    sheet = read_sheet(Path(path))
    problems = [p.told(Path(path).name) for p in sheet.problems if p.severity == "error"]
    if any(p.message.startswith("no column") for p in sheet.problems) and not sheet.columns:
        problems = [f"{Path(path).name}:1: no column 'patient_id' is named here; {_SHAPE}"]
    if not problems and "patient_id" not in sheet.columns:
        problems = [f"{Path(path).name}:1: no column 'patient_id'; {_SHAPE}"]
    for row in sheet.rows:
        at = f"{Path(path).name}:{row.line}"
        if is_missing(row.cells.get("patient_id", "")):
            problems.append(f"{at}: patient_id: is empty")
        time = row.cells.get("timepoint", "")
        if canonical("timepoint", time) is None:
            problems.append(f"{at}: timepoint: unknown word {time!r}; {advice('timepoint', time)}")
    names = [c for c in sheet.columns if c in KEYS or c in RESERVED or c not in COLUMNS]
    problems += [
        f"{Path(path).name}:{line}: {c}: {said}; {do}"
        for c in names
        if c not in KEYS
        for line, said, do in decimal_comma(sheet.rows, c)
    ]
    problems += [
        f"{Path(path).name}:1: columns {c!r} and '{c}_assay' would have one name; rename one"
        for c in names
        if c in RESERVED and f"{c}_assay" in names
    ]
    _raise(path, problems)
    table = pd.DataFrame({f"{c}_assay" if c in RESERVED else c: _column(sheet.rows, c) for c in names})
    table = table.reindex(columns=[*KEYS, *(n for n in table.columns if n not in KEYS)])
    table[list(KEYS)] = table[list(KEYS)].fillna("")
    table["line"] = [row.line for row in sheet.rows]
    table, notes = without_identifiers(table, Path(path).name)
    known = [c for c in table.columns if c != "line"]
    table = table.drop_duplicates(known).reset_index(drop=True)
    twice = table[table.duplicated(list(KEYS), keep=False)]
    _raise(path, _long(twice) or [_twice(Path(path).name, row) for row in twice.to_dict("records")])
    taken = [c for c in sheet.columns if c in COLUMNS and c not in KEYS and c not in RESERVED]
    if taken:
        notes.append(f"Columns of the manifest are taken from there: {', '.join(taken)}.")
    return Assays(table, bool((table["timepoint"] != "").any()), bool((table["block"] != "").any()), notes)


def _twice(name: str, row: dict[Hashable, Any]) -> str:
    key = " ".join(repr(row[k]) for k in KEYS if row[k])
    do = "keep one row of a patient, time point and block"
    return f"{name}:{row['line']}: a key is there twice with different values: {key}; {do}"


def _long(twice: pd.DataFrame) -> list[str]:
    """What is wrong with a table of one row a measurement, whose rows a column of words tells apart; else empty."""
    for name in (c for c in twice.columns if c not in (*KEYS, "line")):
        words = twice[name]
        if pd.api.types.is_numeric_dtype(words) or (words == "").any():
            continue
        if not twice.duplicated([*KEYS, name]).any() and words.duplicated().any():
            first = ", ".join(map(repr, words.unique()[:3]))
            do = f"spread it, so that each word of {name!r} ({first}, ...) is a column with its values"
            return [f"it has a row for each {name!r} of a patient, where one row is a patient; {do}"]
    return []


def _raise(path: Path, problems: Sequence[str]) -> None:
    if problems:
        more = f" | and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UsageError("the table of assays cannot be used: " + " | ".join(problems[:_SHOWN]) + more, where=path)


def _column(rows: Sequence[Row], name: str) -> pd.Series:
    texts = ["" if is_missing(row.cells.get(name, "")) else row.cells[name] for row in rows]
    if name == "timepoint":
        return pd.Series([canonical(name, text) or "" for text in texts], dtype=object)
    found = [number(text) if text else np.nan for text in texts]
    if name in KEYS or not any(texts) or any(value is None for value in found):
        return pd.Series(texts if name in KEYS else one_spelling(texts), dtype=object)
    return pd.Series(found, dtype="float64")


def stray_texts(assays: Assays, name: str) -> str:
    """Which values of a column of measurements are no numbers, with their lines; "" where it holds words or codes.

    Measurements: half of the values or more are numbers, and they are not whole, or of more kinds than groups.
    """
    values = assays.table[name]
    if pd.api.types.is_numeric_dtype(values):
        return ""
    stated = [(line, text) for line, text in zip(assays.table["line"], values, strict=True) if text != ""]
    found = [value for _, text in stated if (value := number(text)) is not None]
    codes = len(set(found)) <= MOST_GROUPS and all(value.is_integer() for value in found)
    if codes or 2 * len(found) < len(stated):
        return ""
    odd = [f"{text!r} in line {line}" for line, text in stated if number(text) is None]
    more = f" and {len(odd) - N_ODD} more" if len(odd) > N_ODD else ""
    return f"it holds numbers, but also {', '.join(odd[:N_ODD])}{more}; leave empty what was not measured"


def patient_columns(assays: Assays, survival: Collection[str]) -> list[str]:
    """The assays that are the patient's, whatever the time point of a row: all where the table states none, else
    those of survival, and those that at least `N_REPEATED` patients state at several times and all state alike.

    Parameters
    ----------
    survival : columns of outcomes (time and event).
    """
    return [c for c in assays.columns if not assays.has_time or c in survival or _is_repeated(_stated(assays, c), c)]


def _stated(assays: Assays, name: str) -> pd.DataFrame:
    """Rows that state a value of the column."""
    values = assays.table[name]
    return assays.table[values.notna() & (values != "")]


def _here(rows: pd.DataFrame, timepoint: str) -> pd.DataFrame:
    return rows[rows["timepoint"].isin([timepoint, ""])]


def stated_at(assays: Assays, name: str, timepoint: str) -> pd.Series:
    """Values that rows of this very time point state, their patients as index; several of a patient where it has
    several blocks."""
    rows = _stated(assays, name)
    return rows[rows["timepoint"] == timepoint].set_index("patient_id")[name]


def _is_repeated(rows: pd.DataFrame, name: str) -> bool:
    by = rows.groupby("patient_id")
    return bool((by["timepoint"].nunique() > 1).sum() >= N_REPEATED and (by[name].nunique() == 1).all())


def of_patients(
    assays: Assays, timepoint: str, survival: Collection[str], grouped: Collection[str] = ()
) -> pd.DataFrame:
    """One row a patient (its index): the values at the time point; what is the patient's, of any row.

    Numbers of several blocks are averaged; texts that differ are empty, and so are outcomes and groups that differ.

    Parameters
    ----------
    survival : as for `patient_columns`. grouped : columns that are compared as groups, whether words or numbers.
    """
    theirs, kept = patient_columns(assays, survival), {*survival, *grouped}
    here = _here(assays.table, timepoint)
    parts = [_of_each(assays.table if c in theirs else here, c, c not in kept) for c in assays.columns]
    return pd.concat(parts, axis=1) if parts else pd.DataFrame(index=pd.Index(assays.table["patient_id"].unique()))


def _of_each(table: pd.DataFrame, name: str, is_averaged: bool) -> pd.Series:
    """One value of the column for each patient."""
    by = table.groupby("patient_id", sort=False)[name]
    if not pd.api.types.is_numeric_dtype(table[name]):
        return by.agg(_one)
    return by.mean() if is_averaged else by.first().where(by.nunique() <= 1)


def origin_notes(assays: Assays, timepoint: str, survival: Collection[str], grouped: Collection[str] = ()) -> list[str]:
    """Which columns are the patient's, how many patients have values at other time points only, and whose outcomes
    or groups differ.

    Parameters
    ----------
    survival, grouped : as for `of_patients`.
    """
    theirs = patient_columns(assays, survival)
    told: dict[bool, list[str]] = {True: [], False: []}
    for name in assays.columns:
        rows = _stated(assays, name)
        n = len(set(rows["patient_id"]) - set(_here(rows, timepoint)["patient_id"]))
        if n or name in theirs:
            told[name in theirs].append(f"{name} ({n} patients)" if n else name)
    notes = several_notes(assays, timepoint, survival, grouped)
    if not assays.has_time:
        return ["The assays state no time points: every column is taken as the patient's.", *notes]
    heads = {
        True: "Taken as the patient's, from any time point (in brackets: who has it at others than this one only)",
        False: "Not used, as stated at other time points only",
    }
    return [f"{heads[k]}: {', '.join(names)}." for k, names in told.items() if names] + notes


def several_notes(
    assays: Assays, timepoint: str, survival: Collection[str], grouped: Collection[str] = ()
) -> list[str]:
    """Whose outcomes or groups differ, so that they count as none (see `of_patients`)."""
    theirs = patient_columns(assays, survival)
    notes = []
    for name in (c for c in assays.columns if c in survival or c in grouped):
        rows = _stated(assays, name)
        of_each = (rows if name in theirs else _here(rows, timepoint)).groupby("patient_id")[name]
        if n := int((of_each.nunique() > 1).sum()):
            notes.append(f"{name}: {n} patients have several values, so that none is used.")
    return notes


def _one(values: pd.Series) -> str:
    words = set(values) - {""}
    return str(words.pop()) if len(words) == 1 else ""


def same_blocks(manifest: pd.DataFrame, assays: Assays, name: str, timepoint: str) -> pd.DataFrame:
    """Slides of the blocks that an assay was made of, where its rows state one; all slides of a biopsy where not.

    Parameters
    ----------
    name : column of the assay; rows without a value of it state no block. timepoint : of rows that state none.
    """
    table = _stated(assays, name)
    table = table.assign(block=table["block"].astype(str).map(bare))
    stated = table[table["block"] != ""]
    times = stated["timepoint"].replace("", timepoint)
    blocks = set(zip(stated["patient_id"], times, stated["block"], strict=True))
    biopsies = {(p, t) for p, t, _ in blocks}
    keys = zip(manifest["patient_id"], manifest["timepoint"], manifest["block"].astype(str).map(bare), strict=True)
    return manifest[[(p, t) not in biopsies or (p, t, b) in blocks for p, t, b in keys]]
