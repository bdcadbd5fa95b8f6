"""The table of a run: `scores.csv`, one row a slide, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tilscore.errors import OutputError
from tilscore.files import write_text
from tilscore.score.result import COLUMNS, COLUMNS_1

_DIGITS = {
    "til_density_per_mm2": 2,
    "stil_area_pct": 3,
    "stroma_mm2": 4,
    "tumour_mm2": 4,
    "tissue_mm2": 4,
    "mpp_um": 6,
    "seconds": 2,
    "til_density_low": 2,
    "til_density_high": 2,
    "stil_area_low": 3,
    "stil_area_high": 3,
    "infiltrated_area_pct": 3,
    "calibrated_stil_pct": 2,
    "itil_density_per_mm2": 2,
    "contact_itil_density_per_mm2": 2,
}
_LOCK_S = 60.0
"""How long one run waits for another that writes the same table; writing takes milliseconds."""


def update_scores(path: Path, rows: list[dict[str, Any]], *, without: Collection[str] = ()) -> None:
    """Put rows into the table: a slide's new row takes the place of its old one, others stay.

    Runs that share a table wait for each other. A table of an earlier version gets the columns of this one.

    Parameters
    ----------
    without : slides whose rows are taken out; where there is no table yet, none is made for them.

    Raises
    ------
    OutputError : the file there is another kind of table, cannot be written, or is held by another run.
    """
    from filelock import FileLock, Timeout

    if not rows and not path.exists():
        return
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=_LOCK_S):
            _update(path, rows, without)
    except Timeout as err:
        do = "wait for the other run, or write to another results folder"
        raise OutputError("is held by another run", where=lock, do=do) from err
    except (OSError, NotImplementedError) as err:
        raise OutputError("cannot be locked", where=lock, found=err, do="check the folder and its rights") from err


def _update(path: Path, rows: list[dict[str, Any]], without: Collection[str]) -> None:
    gone = {_shown("slide_id", name) for name in without}
    before = {row["slide_id"]: row for row in _read(path)}
    table = {name: row for name, row in before.items() if name not in gone}
    for row in rows:
        shown = {name: _shown(name, row.get(name)) for name in COLUMNS}
        table[shown["slide_id"]] = shown
    if table == before:
        return
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
            rows, names = list(reader), tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise OutputError("cannot be read", where=path, found=err, do=do) from err
    if not names and not rows:  # an empty file: nothing is lost
        return []
    known = names == COLUMNS[: len(names)] and len(names) >= len(COLUMNS_1)
    if not known or any(set(row) != set(names) for row in rows):
        raise OutputError("is not a table of this version", where=path, found=list(names), do=do)
    return [{name: row.get(name, "") for name in COLUMNS} for row in rows]


def summary(slide_id: str, row: dict[str, Any], *, skipped: bool = False, others: Collection[str] = ()) -> str:
    """A slide's result in one line.

    Parameters
    ----------
    skipped : all of it was there before.
    others : other versions of tilscore that some of it was made by.
    """
    told = (["done before"] if skipped else []) + ([f"made by {', '.join(others)}"] if others else [])
    note = f" ({', '.join(told)})" if told else ""
    if row["status"] != "ok":
        return f"{slide_id}: {row['status']}: {row['reasons']}{note}"
    flags = f" [{row['reasons']}]" if row["reasons"] else ""
    low, high = row.get("til_density_low"), row.get("til_density_high")
    sure = "" if low is None or high is None else f" (95 % interval {low:.0f} to {high:.0f})"
    return (
        f"{slide_id}: {row['til_density_per_mm2']:.0f} TILs/mm2 of stroma{sure}, "
        f"sTIL area {row['stil_area_pct']:.1f} %, "
        f"{row['n_tils']} TILs in {row['stroma_mm2']:.2f} mm2{flags}{note}"
    )


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in _DIGITS:
        return f"{value:.{_DIGITS[name]}f}"
    text = str(value)
    # A spreadsheet would run a cell that begins like a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
