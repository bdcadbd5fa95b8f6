"""Slides from a CSV list.

A list has a header line with a column `path` (or `slide`) and, if wanted, `slide_id`, `mpp`, `roi`, `site`, `specimen`
and `stain`; other columns are left alone, so that the manifest of a cohort is a list too, and those that no manifest
has are named. Relative paths start at the folder of the list.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tilscore.errors import UsageError, printable
from tilscore.inputs.words import COLUMNS, MISSING, advice, canonical, column_names, is_missing, split_hint
from tilscore.slide.mpp import GIVEN_RANGE, number

LARGEST_LIST_BYTES = 1 << 28
"""A list of a million slides has 100 MB."""


@dataclass(frozen=True)
class Row:
    """One slide before its name is final; `where` is told in errors."""

    path: Path
    where: str
    list: Path | None = None
    """The list it is in; None = typed, or found in a folder."""
    slide_id: str = ""
    mpp: float | None = None
    roi: Path | None = None
    site: str = ""
    specimen: str = ""
    stain: str = ""


def list_rows(path: Path, say: Callable[[str], object]) -> Iterator[Row]:
    """The slides of a CSV list; `say` is told of columns that are not read.

    Raises
    ------
    UsageError : a list that cannot be understood, with its line.
    """
    said, text = split_hint(_read_text(path))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text, said), strict=True)
    try:
        header = column_names(next(reader))
        _check_columns(path, header, say)
        for values in reader:
            if any(value.strip() for value in values):
                yield _row(path, reader.line_num + bool(said), header, values)
    except csv.Error as err:
        raise UsageError(
            "list cannot be understood", where=f"{path} line {reader.line_num + bool(said)}", found=err
        ) from err


def _read_text(path: Path) -> str:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_LIST_BYTES:
            raise UsageError("not a list of slides", where=path, found=f"{status.st_size} bytes", do="give a CSV file")
        data = path.read_bytes()
    except (OSError, ValueError) as err:
        raise UsageError("list cannot be read", where=path, found=printable(err, 120), do="check the path") from err
    encodings = ["utf-16"] if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text and text.strip():
            return text
    what = "list is not plain text" if data.strip() else "list is empty"
    raise UsageError(what, where=path, do="save it as CSV in UTF-8, with a header line and a column 'path'")


def _delimiter(path: Path, text: str, said: str = "") -> str:
    """The separator under which the first line names a column of paths; `said`, where the file tells it."""
    first = io.StringIO(text, newline="").readline()
    for delimiter in said or ",;\t":
        if "path" in column_names(name.strip().strip('"') for name in first.split(delimiter)):
            return delimiter
    raise UsageError(
        "list has no column 'path'",
        where=f"{path} line 1",
        found=text[:500].partition("\n")[0].strip(),
        do="the first line names the columns, separated by commas: path, and if wanted slide_id, mpp, roi",
    )


def _check_columns(path: Path, header: list[str], say: Callable[[str], object]) -> None:
    for name in ("path", "slide_id", "mpp", "roi", "site", "specimen", "stain"):
        if header.count(name) > 1:
            raise UsageError(f"column {name!r} is there twice", where=f"{path} line 1", do="rename one of them")
    others = [name for name in dict.fromkeys(header) if name and name not in COLUMNS]
    shown = ", ".join(others[:10]) + (f" and {len(others) - 10} more" if len(others) > 10 else "")
    if others:
        say(f"tilscore: {path}: columns that are not read: {printable(shown, 500)}")


def _row(path: Path, line: int, header: list[str], values: list[str]) -> Row:
    where = f"{path} line {line}"
    if len(values) > len(header) and any(value.strip() for value in values[len(header) :]):
        do = "put names that contain the separator in double quotes"
        raise UsageError(f"{len(values)} values for {len(header)} columns", where=where, do=do)
    cells = {name: value.strip() for name, value in zip(header, values, strict=False)}
    if not cells.get("path"):
        raise UsageError("no path", where=where, do="every line names a slide")
    mpp, roi, stain = (cells.get(name, "") for name in ("mpp", "roi", "stain"))
    return Row(
        path=_beside(path, cells["path"]),
        where=where,
        list=path,
        slide_id=cells.get("slide_id", ""),
        mpp=None if mpp.casefold() in MISSING - {"nan"} else mpp_given(mpp, f"{where} column 'mpp'"),
        roi=None if is_missing(roi) else _beside(path, roi),
        site=_word("site", cells, where),
        specimen=_word("specimen", cells, where),
        stain="" if is_missing(stain) else stain,
    )


def _word(column: str, cells: dict[str, str], where: str) -> str:
    text = cells.get(column, "")
    word = canonical(column, text)
    if word is None:
        raise UsageError(f"unknown {column}", where=f"{where} column {column!r}", found=text, do=advice(column, text))
    return word


def _beside(path: Path, name: str) -> Path:
    return Path(os.path.normpath(path.parent / name))


def mpp_given(text: str, where: str) -> float:
    """A resolution as it was typed, in um/px.

    Raises
    ------
    UsageError : no number, or none that can be true.
    """
    value = number(text)
    if value is None or not GIVEN_RANGE[0] <= value <= GIVEN_RANGE[1]:
        do = "write a number with a decimal point, e.g. 0.25 for a 40x scan, or leave it out"
        what = f"mpp must be a number from {GIVEN_RANGE[0]} to {GIVEN_RANGE[1]} um/px"
        raise UsageError(what, where=where, found=text, do=do)
    return value
