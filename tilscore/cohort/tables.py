"""Tables of a cohort as CSV and as one XLSX, and as plain values for JSON."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tilscore
from tilscore.files import replacing, sha256, write_text

_EXACT = 2.0**53
"""Whole numbers below are exact as float."""


def write_tables(out: Path, tables: Mapping[str, pd.DataFrame], book: str = "tables") -> None:
    """Write `OUT/<name>.csv` for each table and all of them as sheets of `OUT/<book>.xlsx`.

    Raises
    ------
    OutputError : the folder cannot be written.
    """
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table)
    write_xlsx(out / f"{book}.xlsx", tables)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV: missing values empty, whole numbers in full, others with six digits, no cell that a
    spreadsheet would run."""
    shown = table.copy()
    for name in shown.columns:
        if shown[name].dtype.kind in "fO":
            shown[name] = shown[name].map(_cell)
    write_text(path, shown.to_csv(index=False, header=[str(_cell(n)) for n in shown], lineterminator="\n"))


def write_xlsx(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """One sheet a table, first row fixed; text stays text (no cell is a formula), missing values are empty."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    for name, table in tables.items():
        sheet = book.create_sheet(name[:31])
        sheet.freeze_panes = "A2"
        for values in (map(str, table.columns), *(record.values() for record in plain_rows(table))):
            row: list[Any] = []
            for value in values:
                if isinstance(value, str):
                    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", value))
                    cell.data_type = "s"
                    row.append(cell)
                else:
                    row.append(value)
            sheet.append(row)
    with replacing(path) as beside:
        book.save(beside)


def made_from(files: Mapping[str, Path], *libraries: str) -> dict[str, Any]:
    """What a result was made from, and by which versions: how its JSON begins."""
    versions = {"tilscore": tilscore.__version__, "python": platform.python_version()}
    return {
        "versions": versions | {name: version(name) for name in libraries},
        "inputs": {name: {"name": path.name, "sha256": sha256(path)} for name, path in files.items()},
    }


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values that JSON can hold: missing and infinite numbers are None."""
    columns = {name: [plain(v) for v in table[name].tolist()] for name in table.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def plain(value: Any) -> Any:
    """A value, or the values within it, as JSON can hold them."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool) else str(value)


def _digits(value: float) -> str:
    if np.isnan(value):
        return ""
    return f"{value + 0.0:.0f}" if value.is_integer() and abs(value) < _EXACT else f"{value:.6g}"


def _cell(value: object) -> object:
    if isinstance(value, float):
        return _digits(value)
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
