"""What cannot be true of a patient: two arms, two responses, a week 6 before the baseline, a block of two sites."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import groupby

from tilscore.cohort.manifest.sheet import Row, Sheet
from tilscore.errors import printable
from tilscore.inputs.words import bare, canonical, is_missing, order
from tilscore.slide.mpp import number

_LATEST_DAY = 20_000
"""Days after a baseline that nobody lives to see; spreadsheets count 44,000 to a date of our years."""
_DATES = ("date", "biopsy_date", "sample_date", "collection_date")


def patient_problems(sheet: Sheet) -> None:
    """Note what is impossible or missing for each patient."""
    dates = next((name for name in _DATES if name in sheet.columns), "")
    by_patient: dict[str, list[Row]] = {}
    for row in sheet.rows:
        if not is_missing(patient := row.cells.get("patient_id", "")):
            by_patient.setdefault(patient, []).append(row)
    for patient, rows in by_patient.items():
        who = repr(printable(patient, 60))
        for name, add in (("arm", sheet.error), ("response", sheet.error), ("centre", sheet.warn)):
            for row, first in _others(rows, name):
                found = f"patient {who} has {row.cells[name]!r} here and {first.cells[name]!r} on line {first.line}"
                add(row.line, name, found, "a patient has one")
        _times(sheet, rows, who)
        if dates:
            _in_order(sheet, rows, dates, _day_of)
        if "day" in sheet.columns:
            _in_order(sheet, rows, "day", number)
    for row in sheet.rows:
        text = row.cells.get("day", "")
        if (number(text) or 0) > _LATEST_DAY:
            do = "dates can identify a patient: give the days since the patient's baseline"
            sheet.warn(row.line, "day", f"{text!r} looks like a date as spreadsheets count them", do)
            break


def _others(rows: Iterable[Row], name: str) -> list[tuple[Row, Row]]:
    """Rows that state another value than the first row that states one, each with that row; each value once."""
    stated = [row for row in rows if not is_missing(row.cells.get(name, ""))]
    seen: dict[str, Row] = {}
    for row in stated:
        text = row.cells[name]
        word = canonical(name, text) if name in ("specimen", "site") else None
        seen.setdefault(word or bare(text), row)
    return [(row, stated[0]) for row in list(seen.values())[1:]]


def _times(sheet: Sheet, rows: list[Row], who: str) -> None:
    """A baseline for everyone; one specimen and site for a biopsy, and surely for a block."""
    times = [(canonical("timepoint", row.cells.get("timepoint", "")) or "", row) for row in rows]
    if "timepoint" in sheet.columns and all(time and time != "baseline" for time, _ in times):
        stated = ", ".join(repr(time) for time in dict.fromkeys(time for time, _ in times))
        do = "add it, or expect the patient to be left out of the pairs"
        sheet.warn(rows[0].line, "timepoint", f"patient {who} has {stated} but no baseline", do)
    for time, group in groupby(sorted(times, key=lambda t: t[0]), key=lambda t: t[0]):
        biopsy = [row for _, row in group]
        for name in ("specimen", "site") if time else ():
            for row, first in _others(biopsy, name):
                here, there = row.cells[name], first.cells[name]
                same_block = row.cells.get("block") and row.cells["block"] == first.cells.get("block")
                what = f"block {row.cells['block']!r} of patient {who}" if same_block else f"patient {who} at {time}"
                found = f"{what} is {here!r} here and {there!r} on line {first.line}"
                if same_block:
                    sheet.error(row.line, name, found, "a block has one")
                else:
                    sheet.warn(row.line, name, found, "both are pooled to one biopsy, called 'mixed'")


def _day_of(text: str) -> float | None:
    try:
        return float(date.fromisoformat(text).toordinal())
    except ValueError:
        return None


def _in_order(sheet: Sheet, rows: list[Row], name: str, read: object) -> None:
    """Later time points have later days."""
    assert callable(read)
    known = []
    for row in rows:
        text = row.cells.get(name, "")
        time = canonical("timepoint", row.cells.get("timepoint", ""))
        if is_missing(text) or not time:
            continue
        if (day := read(text)) is None:
            do = "write YYYY-MM-DD" if name != "day" else "write the days since baseline as a number"
            sheet.error(row.line, name, f"{text!r} is no {'number' if name == 'day' else 'date'}", do)
        else:
            known.append((order(time), day, time, row))
    known.sort(key=lambda k: k[0])
    for i, (at, day, time, row) in enumerate(known):
        for before_at, before_day, before, first in known[:i]:
            if before_at < at and day < before_day:
                found = f"{time} lies before {before} of line {first.line} ({row.cells[name]}, {first.cells[name]})"
                sheet.error(row.line, name, found, "look for swapped time points or a slip in the date")
                break
