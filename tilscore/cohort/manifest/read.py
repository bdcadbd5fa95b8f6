"""The manifest of a cohort as a table: canonical words, typed columns, and names of slides as in the results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tilscore.cohort.manifest.check import RESULT_NAMES, problems_of
from tilscore.cohort.manifest.sheet import Row, Sheet, read_sheet
from tilscore.errors import UsageError
from tilscore.inputs import unique_ids
from tilscore.inputs.words import COLUMNS, bare, canonical, is_missing
from tilscore.slide.mpp import number

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 20
_WORDS = ("timepoint", "specimen", "site", "stain")
_SPELLED = ("centre", "arm", "response", "block")


class _Listed(NamedTuple):
    path: Path
    where: str
    slide_id: str


def read_manifest(path: Path | str) -> pd.DataFrame:
    """Read the manifest of a cohort; whether the slides exist is not asked (see `check.check_manifest`).

    Returns
    -------
    One row a slide, in the order of the file. All of `words.COLUMNS` are there: strings, "" where nothing is stated,
    but `mpp` is float (um/px, NaN). `slide_id` is the name that a run gives the slide, `path` and `roi` start at the
    manifest's folder, words are canonical. `line` is the line of the file. Further columns follow: numbers where all
    their values are numbers, else strings; one that has the name of a result gets `_given` behind it.

    Raises
    ------
    UsageError : every error of the manifest, with line and column (the first 20 in full).
    """
    path = Path(path)
    sheet = read_sheet(path)
    errors = [p for p in problems_of(sheet, files=False) if p.severity == "error"]
    if errors:
        told = " | ".join(p.told(path.name) for p in errors[:_SHOWN])
        more = f" | and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise _error(path, f"{len(errors)} errors: {told}{more}" if len(errors) > 1 else told)
    return as_table(sheet)


def _error(path: Path, told: str) -> UsageError:
    return UsageError(f"the manifest cannot be used: {told}", do=f"see `tilscore cohort check {path}`")


def as_table(sheet: Sheet) -> pd.DataFrame:
    """A sheet without errors as the table of `read_manifest`."""
    import pandas as pd

    folder = sheet.path.parent
    table: dict[str, object] = {}
    for name in COLUMNS:
        if name in ("path", "roi"):
            table[name] = [_beside(folder, _value(row, name)) for row in sheet.rows]
        elif name == "mpp":
            table[name] = pd.array([number(_value(row, name)) for row in sheet.rows], dtype="float64")
        elif name in _WORDS:
            table[name] = [canonical(name, row.cells.get(name, "")) or _value(row, name) for row in sheet.rows]
        else:
            table[name] = [_value(row, name) for row in sheet.rows]
    for name in _SPELLED:
        table[name] = one_spelling(table[name])  # type: ignore[arg-type]
    listed = [
        _Listed(Path(p), f"{sheet.path} line {row.line}", i)
        for p, i, row in zip(table["path"], table["slide_id"], sheet.rows, strict=True)  # type: ignore[call-overload]
    ]
    table["slide_id"] = unique_ids(listed, folder=folder)
    for name in sheet.columns:
        if name not in COLUMNS:
            kept = f"{name}_given" if name in RESULT_NAMES else name
            table[kept] = _typed([_value(row, name) for row in sheet.rows])
    table["line"] = [row.line for row in sheet.rows]
    return pd.DataFrame(table)


def _value(row: Row, name: str) -> str:
    text = row.cells.get(name, "")
    return "" if is_missing(text) else text


def _beside(folder: Path, name: str) -> str:
    return os.path.normpath(folder / name) if name else ""


def one_spelling(values: list[str]) -> list[str]:
    """Values that differ in case or spaces only, in the spelling that comes first."""
    first: dict[str, str] = {}
    return [first.setdefault(bare(value), value) for value in values]


def _typed(values: list[str]) -> pd.Series:
    """Numbers where all values are numbers (NaN where empty), else strings."""
    import pandas as pd

    numbers = [number(value) if value else float("nan") for value in values]
    if any(values) and all(n is not None for n in numbers):
        return pd.Series(numbers, dtype="float64")
    return pd.Series(values, dtype=object)
