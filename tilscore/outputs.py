"""The table of a run: `scores.csv`, one row a slide, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from tilscore.errors import OutputError
from tilscore.files import write_text
from tilscore.score import COLUMNS

_DIGITS = {
    "til_density_per_mm2": 2,
    "stil_area_pct": 3,
    "stroma_mm2": 4,
    "tumour_mm2": 4,
    "tissue_mm2": 4,
    "mpp_um": 6,
    "seconds": 2,
}


def update_scores(path: Path, rows: list[dict[str, Any]]) -> None:
    """Put rows into the table: a slide's new row takes the place of its old one, others stay.

    Raises
    ------
    OutputError : the file there is another kind of table, or cannot be written.
    """
    table = {row["slide_id"]: row for row in _read(path)}
    for row in rows:
        shown = {name: _shown(name, row.get(name)) for name in COLUMNS}
        table[shown["slide_id"]] = shown
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.values())
    write_text(path, text.getvalue())


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    do = "name another results folder, or move the file away"
    try:
        # Spreadsheets put a byte order mark in front.
        with open(path, newline="", encoding="utf-8-sig") as f:
            reader = csv.DictReader(f)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise OutputError("cannot be read", where=path, found=err, do=do) from err
    if tuple(reader.fieldnames or ()) != COLUMNS or any(set(row) != set(COLUMNS) for row in rows):
        raise OutputError("is not a table of this version", where=path, found=reader.fieldnames, do=do)
    return rows


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in _DIGITS:
        return f"{value:.{_DIGITS[name]}f}"
    text = str(value)
    # A spreadsheet would run a cell that begins like a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
