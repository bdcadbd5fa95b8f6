"""Every problem of a manifest at once, by line and column, each with what to do about it."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from tilscore.cohort.manifest.patients import patient_problems
from tilscore.cohort.manifest.privacy import MONTHS, REMEDY, Suspicion, has_date, suspicion, suspicious_column
from tilscore.cohort.manifest.sheet import Problem, Row, Sheet, decimal_comma, read_sheet
from tilscore.errors import UsageError, printable
from tilscore.inputs import safe_id
from tilscore.inputs.names import stem
from tilscore.inputs.words import COLUMN_SYNONYMS, COLUMNS, advice, canonical, code_of, is_missing, is_scored, several
from tilscore.slide import is_ngff
from tilscore.slide.mpp import GIVEN_RANGE, number

_RESULT_NAMES = """
    line status reasons til_density_per_mm2 til_density_low til_density_high stil_area_pct stil_area_low stil_area_high
    infiltrated_area_pct infiltrated_area_low infiltrated_area_high calibrated_stil_pct calibrated_stil_low
    calibrated_stil_high itil_density_per_mm2 itil_density_low itil_density_high contact_itil_density_per_mm2 n_tils
    n_cores stroma_mm2 tumour_mm2 tissue_mm2 mpp_um mpp_source model seconds n_slides n_blocks n_not_evaluable n_failed
    n_unscored slide_ids settings version
"""
RESULT_NAMES = frozenset(_RESULT_NAMES.split())
"""Columns of `scores.csv` and `biopsies.csv`, whose names a manifest's own columns cannot have."""
_FORMULA = ("=", "+", "-", "@")
_SHOWN = 60
_CODES = ("patient_id", "slide_id", "block")
_ROI_ENDING = re.compile(r"(?<=.)(\.geojson|\.json)(\.gz)?$", re.IGNORECASE)
_SHORTENED = re.compile(r"\d([.,]\d+)?E\+\d+", re.IGNORECASE)
_MADE_A_DATE = re.compile(rf"\d\d?[-. ]{{1,2}}({MONTHS})|({MONTHS})[- ]\d\d")
"""As spreadsheets show dates: `12-MAR` and `MAR-012` are codes."""


def check(path: Path, *, files: bool = True, say: Callable[[str], object] = print) -> int:
    """Say every problem of a manifest, one a line, and a summary.

    Parameters
    ----------
    files : look whether slides and ROIs are there.

    Returns
    -------
    0 : no errors (there may be warnings). 1 : errors. 2 : it cannot be read at all.
    """
    path = Path(path)
    sheet = read_sheet(path)
    problems = problems_of(sheet, files=files)
    for problem in problems:
        say(problem.told(printable(path)))
    n_errors = sum(p.severity == "error" for p in problems)
    say(_summary(sheet, n_errors, len(problems) - n_errors))
    return 2 if not sheet.is_read else 1 if n_errors else 0


def check_manifest(path: Path | str, *, files: bool = True) -> list[Problem]:
    """Every problem of a manifest, by line; never raises for what is in the file.

    Parameters
    ----------
    files : look whether slides and ROIs are there.
    """
    return problems_of(read_sheet(Path(path)), files=files)


def problems_of(sheet: Sheet, *, files: bool = True) -> list[Problem]:
    """The problems of a sheet that was read, by line, errors first."""
    if sheet.columns:
        found = Sheet(sheet.path, sheet.columns, sheet.rows, list(sheet.problems))
        _columns(found)
        for row in sheet.rows:
            _cells(found, row)
        _folders(found)
        _duplicates(found)
        if files:
            _files(found)
        patient_problems(found)
    else:
        found = sheet
    known = {name: i for i, name in enumerate(COLUMNS)}
    return sorted(found.problems, key=lambda p: (p.line, known.get(p.column, 99), p.severity, p.message))


def _summary(sheet: Sheet, n_errors: int, n_warnings: int) -> str:
    counts = f"{several(n_errors, 'error')}, {several(n_warnings, 'warning')}"
    if not sheet.rows:
        return f"{printable(sheet.path)}: {counts}"
    patients = {row.cells.get("patient_id", "") for row in sheet.rows} - {""}
    times: dict[str, set[str]] = {}
    for row in sheet.rows:
        word = canonical("timepoint", row.cells.get("timepoint", ""))
        times.setdefault(word or "no time point", set()).add(row.cells.get("patient_id", ""))
    told = ", ".join(f"{len(who)} {word}" for word, who in times.items())
    n = f"{several(len(sheet.rows), 'slide')} of {several(len(patients), 'patient')}"
    return f"{printable(sheet.path)}: {n} ({told}): {counts}"


def _columns(sheet: Sheet) -> None:
    there = sheet.columns
    if "path" not in there:
        add = sheet.warn if "slide_id" in there else sheet.error
        add(1, "path", "no column 'path'", _near("path", there) or "`tilscore run` needs to know where the slides are")
    for name in ("patient_id", "timepoint"):
        if name not in there:
            sheet.error(1, name, f"no column {name!r}", _near(name, there) or "every slide has its own")
    for name, why in (("specimen", "core against resection"), ("site", "where the tissue was taken")):
        if name not in there:
            do = _near(name, there) or f"{why} alone can look like treatment; state it"
            sheet.warn(1, name, f"no column {name!r}", do)
    for name in there:
        if what := suspicious_column(name):
            sheet.error(1, name, f"a column for {what}", "take it out: the manifest holds no identifiers")
        elif _is_of_dates(name):
            sheet.warn(1, name, "dates can identify a patient", "give the days since baseline in a column 'day'")
        elif name.startswith(_FORMULA):
            found = f"the name {_shown(name)} would be run as a formula by a spreadsheet"
            sheet.warn(1, name, found, "let it begin with a letter or digit")
        elif name in RESULT_NAMES:
            sheet.warn(1, name, f"is the name of a result; carried along as '{name}_given'")
        for line, found, do in decimal_comma(sheet.rows, name) if name not in COLUMNS and name != "day" else ():
            sheet.warn(line, name, f"{found}: the column is carried along as text", do)


def _is_of_dates(name: str) -> bool:
    return name.startswith("date") or name.endswith("date")


def _near(name: str, there: Iterable[str]) -> str:
    """Which of the columns was perhaps meant."""
    names = [name, *(k for k, v in COLUMN_SYNONYMS.items() if v == name)]
    unknown = [column for column in there if column not in COLUMNS]
    for one in names:
        if near := difflib.get_close_matches(one, unknown, n=1, cutoff=0.7):
            return f"rename {near[0]!r} to {name!r}"
    return ""


def _cells(sheet: Sheet, row: Row) -> None:
    """What can be said of each cell alone."""
    line = row.line
    for name in ("patient_id", "timepoint"):
        if name in row.cells and is_missing(row.cells[name]):
            sheet.error(line, name, "is empty", "every slide has its own")
    if is_missing(row.cells.get("path", "")) and ("path" in row.cells or is_missing(row.cells.get("slide_id", ""))):
        sheet.error(line, "path" if "path" in row.cells else "slide_id", "is empty", "every line names a slide")
    for name, text in row.cells.items():
        if is_missing(text):
            if name in ("specimen", "site"):
                sheet.warn(line, name, "is empty", "state it: it changes the score without any treatment")
            continue
        if name in ("timepoint", "specimen", "site", "stain"):
            _word(sheet, line, name, text)
        elif name == "mpp":
            _mpp(sheet, line, text)
        if text.startswith(_FORMULA) and number(text.replace(",", ".")) is None:
            found = f"{_shown(text)} would be run as a formula by a spreadsheet"
            (sheet.error if name in COLUMNS else sheet.warn)(line, name, found, "let it begin with a letter or digit")
        if name in _CODES:
            _spoilt(sheet, line, name, text)
        _privacy(sheet, line, name, text)
        if name == "slide_id" and safe_id(text) != text:
            sheet.warn(line, name, f"{_shown(text)} will be called {safe_id(text)!r} in the results")


def _spoilt(sheet: Sheet, line: int, name: str, text: str) -> None:
    """Codes that a spreadsheet took for numbers or dates; several of them may have become one."""
    do = "take the codes from their source again, in a column of text"
    if _SHORTENED.fullmatch(text):
        sheet.error(line, name, f"{_shown(text)} is a number that a spreadsheet has shortened", do)
    elif _MADE_A_DATE.fullmatch(text):
        sheet.warn(line, name, f"{_shown(text)} looks like a code that a spreadsheet took for a date", do)


def _word(sheet: Sheet, line: int, name: str, text: str) -> None:
    if canonical(name, text) is None:
        if name == "stain":
            message = f"unknown stain {_shown(text)}: slides with it are not scored"
            sheet.warn(line, name, message, advice(name, text) if len(text) < 20 else "")
        else:
            sheet.error(line, name, f"unknown word {_shown(text)}", advice(name, text))


def _mpp(sheet: Sheet, line: int, text: str) -> None:
    value = number(text)
    low, high = GIVEN_RANGE
    if value is not None and low <= value <= high:
        return
    if value is None and number(text.replace(",", ".")) is not None:
        sheet.error(line, "mpp", f"{_shown(text)} has a decimal comma", f"write {text.replace(',', '.')}")
    else:
        do = "write um/px with a decimal point, e.g. 0.25 for a 40x scan, or leave it empty"
        sheet.error(line, "mpp", f"{_shown(text)} is no number from {low} to {high} um/px", do)


def _privacy(sheet: Sheet, line: int, name: str, text: str) -> None:
    """Identifiers are errors in the patient's column, and warnings where a code may look like one."""
    if name in _CODES:
        found = suspicion(text)
    elif name in ("path", "roi"):
        path = Path(text)
        found = suspicion(stem(path.with_name(_ROI_ENDING.sub("", path.name))) if name == "roi" else stem(path))
    elif "@" in text or re.search(r"\d-\d\d-\d{4}", text):
        found = suspicion(text)
    else:
        told = name == "day" or _is_of_dates(name)
        found = Suspicion("a date", False) if not told and has_date(text) else None
    if found is None:
        return
    certain = found.is_certain and (name == "patient_id" or not found.what.startswith(("a date", "a person")))
    add = sheet.error if certain else sheet.warn
    add(line, name, f"{_shown(text)} looks like {found.what}", REMEDY)


def _folders(sheet: Sheet) -> None:
    """Folders of relative paths that look like identifiers, each told once."""
    seen = set()
    for row in sheet.rows:
        for name in ("path", "roi"):
            path = Path(row.cells.get(name, ""))
            for folder in () if path.is_absolute() else path.parent.parts:
                if folder not in seen and (found := suspicion(folder)):
                    told = f"the folder {_shown(folder)} looks like {found.what}"
                    sheet.warn(row.line, name, told, REMEDY)
                seen.add(folder)


def _duplicates(sheet: Sheet) -> None:
    ids: dict[str, Row] = {}
    paths: dict[str, Row] = {}
    patients: dict[str, Row] = {}
    for row in sheet.rows:
        name, path = row.cells.get("slide_id", ""), row.cells.get("path", "")
        if not is_missing(name):
            first = ids.setdefault(safe_id(name).casefold(), row)
            if first is not row:
                found = f"{_shown(name)} is used on line {first.line} already"
                sheet.error(row.line, "slide_id", found, "give every slide a name of its own")
        if not is_missing(path):
            first = paths.setdefault(os.path.normpath(path), row)
            if first is not row and not _two_rois(first, row):
                found = f"{_shown(path)} is listed on line {first.line} already"
                do = "remove one, or give each its own slide_id and roi where two biopsies lie on one slide"
                sheet.error(row.line, "path", found, do)
        patient = row.cells.get("patient_id", "")
        first = patients.setdefault(code_of(patient), row)
        if (other := first.cells.get("patient_id", "")) != patient:
            found = f"{_shown(patient)} differs from {_shown(other)} (line {first.line}) in spelling only"
            sheet.warn(row.line, "patient_id", found, "write both alike if they are one patient")


def _two_rois(a: Row, b: Row) -> bool:
    rois, ids = ({row.cells.get(name, "") for row in (a, b)} for name in ("roi", "slide_id"))
    return "" not in rois | ids and len(rois) == len(ids) == 2


def _files(sheet: Sheet) -> None:
    for row in sheet.rows:
        for name in ("path", "roi"):
            text = row.cells.get(name, "")
            if is_missing(text):
                continue
            try:
                why = _not_a_file(sheet.path.parent / text, text)
            except (OSError, ValueError, UsageError) as err:
                why = str(getattr(err, "strerror", None) or err).lower()
            if why and name == "path" and not is_scored(row.cells.get("stain", "")):
                sheet.warn(row.line, name, f"{why}: {_shown(text)}", "it would not be scored")
            elif why:
                do = f"paths start at {printable(sheet.path.parent.absolute())}"
                sheet.error(row.line, name, f"{why}: {_shown(text)}", do)


def _not_a_file(path: Path, text: str) -> str:
    if re.match(r"[a-z][a-z0-9+]+://", text):
        return "an address of the net, not a file"
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        return "" if path.suffix.lower() == ".zarr" or is_ngff(path) else "is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    return "" if status.st_size else "is an empty file"


def _shown(text: str) -> str:
    return repr(printable(text, _SHOWN))
