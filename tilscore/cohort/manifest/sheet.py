"""A CSV as people send it: its rows with their lines, and everything that is wrong with the file itself."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tilscore.errors import printable
from tilscore.inputs.words import COLUMNS, column_names, is_missing, split_hint
from tilscore.slide.mpp import number

LARGEST_BYTES = 1 << 26
"""A manifest of 10,000 slides has 2 MB."""
MOST_ROWS = 200_000
_SAVE = "save it as 'CSV UTF-8'"
_ODD = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a manifest.

    Parameters
    ----------
    line : of the file, from 1; where a row takes several lines, its first. 0 = the file as a whole.
    column : its name as tilscore knows it; "" = the line as a whole.
    severity : `error` (the manifest cannot be used) or `warning`.
    """

    line: int
    column: str
    severity: str
    message: str
    remedy: str = ""

    def told(self, name: str) -> str:
        """The problem in one line, e.g. `slides.csv:12: timepoint: unknown word 'basline'; did you mean 'baseline'`."""
        parts = [
            f"{name}:{self.line}" if self.line else name,
            self.column,
            "warning" if self.severity == "warning" else "",
            self.message,
        ]
        line = printable(": ".join(part for part in parts if part), 500)
        return f"{line}; {self.remedy}" if self.remedy else line


class Row(NamedTuple):
    """One line of the file: its number and its cells by column, stripped."""

    line: int
    cells: dict[str, str]


@dataclass
class Sheet:
    """A file of rows; `problems` tells what is wrong with the file itself.

    Parameters
    ----------
    columns : as tilscore knows them, in the order of the file, without empty ones.
    is_read : False where there is nothing to read: no such file, a folder, too large.
    """

    path: Path
    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    is_read: bool = True

    def error(self, line: int, column: str, message: str, remedy: str = "") -> None:
        """Note an error."""
        self.problems.append(Problem(line, column, "error", message, remedy))

    def warn(self, line: int, column: str, message: str, remedy: str = "") -> None:
        """Note a warning."""
        self.problems.append(Problem(line, column, "warning", message, remedy))


def read_sheet(path: Path) -> Sheet:
    """Read a CSV (comma, semicolon or tab; UTF-8 with or without its mark, or UTF-16 with it); never raises."""
    sheet = Sheet(Path(path))
    data = _read_bytes(sheet)
    text = _decode(sheet, data) if data else ""
    if not text:
        return sheet
    said, text = split_hint(text)
    first = 2 if said else 1
    delimiter = said or _delimiter(sheet, text)
    if delimiter:
        _read_rows(sheet, _records(sheet, text, delimiter, first))
    return sheet


def _read_bytes(sheet: Sheet) -> bytes:
    do = "give a CSV file with one line a slide"
    try:
        status = os.stat(sheet.path)
        if stat.S_ISDIR(status.st_mode):
            message = "is a folder"
        elif not stat.S_ISREG(status.st_mode):
            message = "is no file"
        elif status.st_size > LARGEST_BYTES:
            message = f"has {status.st_size} bytes, which is no manifest (at most {LARGEST_BYTES})"
        else:
            data = sheet.path.read_bytes()
            if data.strip():
                return data
            sheet.error(1, "", "the file is empty", "the first line names the columns: " + ", ".join(COLUMNS))
            return b""
    except (OSError, ValueError) as err:
        message = f"cannot be read ({getattr(err, 'strerror', None) or err})"
    sheet.error(0, "", message, do)
    sheet.is_read = False
    return b""


def _decode(sheet: Sheet, data: bytes) -> str:
    """Text of the file; bytes that are not UTF-8 stay as surrogates, and are told cell by cell."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as err:
            line = data[: err.start].decode("utf-16", "ignore").count("\n") + 1
            sheet.error(line, "", "the text is cut or damaged (UTF-16)", _SAVE)
            return ""
    if data.count(0) > len(data) / 5:
        sheet.error(1, "", "the text is UTF-16 without its mark, or no text at all", _SAVE)
        return ""
    return data.decode("utf-8-sig", "surrogateescape")


def _delimiter(sheet: Sheet, text: str) -> str:
    """The separator under which the first line names the most columns."""
    counts = {}
    for delimiter in ",;\t":
        try:
            names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error:
            continue
        counts[delimiter] = len(set(column_names(names)) & set(COLUMNS))
    best = max(counts, key=lambda d: counts[d], default=",")
    if counts.get(best):
        return best
    found = printable(text.lstrip().partition("\n")[0], 80)
    do = "the first line names the columns, separated by commas: " + ", ".join(COLUMNS)
    sheet.error(1, "", f"no column of a manifest is named here (found {found!r})", do)
    return ""


def _records(sheet: Sheet, text: str, delimiter: str, first: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = first
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield line, values
            line = reader.line_num + first
    except csv.Error as err:
        sheet.error(line, "", f"the line cannot be understood: {err}", "look for a double quote that is not closed")


def _read_rows(sheet: Sheet, records: Iterator[tuple[int, list[str]]]) -> None:
    header_line, header = next(records, (1, []))
    names = column_names(_clean(sheet, header_line, f"column {i}", name) for i, name in enumerate(header, 1))
    _check_header(sheet, header_line, names)
    sheet.columns = list(dict.fromkeys(name for name in names if name))
    for line, values in records:
        if len(sheet.rows) == MOST_ROWS:
            sheet.error(line, "", f"more than {MOST_ROWS} lines", "split the manifest")
            return
        sheet.rows.append(Row(line, _cells(sheet, line, names, values)))
    if not sheet.rows and not any(p.severity == "error" for p in sheet.problems):
        sheet.error(header_line, "", "no slide is listed under the header", "write one line a slide")


def _check_header(sheet: Sheet, line: int, names: list[str]) -> None:
    for name in dict.fromkeys(names):
        if name and names.count(name) > 1:
            where = ", ".join(str(i) for i, other in enumerate(names, 1) if other == name)
            sheet.error(line, name, f"the column is there {names.count(name)} times (columns {where})", "keep one")


def _cells(sheet: Sheet, line: int, names: list[str], values: list[str]) -> dict[str, str]:
    if len(values) < len(names):
        missing = next((name for name in names[len(values) :] if name), "")
        message = f"{len(values)} values for {len(names)} columns; the rest, from here on, counts as empty"
        sheet.warn(line, missing, message)
    elif any(value.strip() for value in values[len(names) :]):
        do = "put values that contain the separator in double quotes"
        sheet.error(line, f"column {len(names) + 1}", f"{len(values)} values for {len(names)} columns", do)
    cells = dict.fromkeys((name for name in names if name), "")
    for i, (name, value) in enumerate(zip(names, values, strict=False), 1):
        text = _clean(sheet, line, name or f"column {i}", value)
        if name:
            cells[name] = cells[name] or text
        elif text:
            sheet.error(line, f"column {i}", f"a value under a column without a name: {text!r}", "name the column")
    return cells


def _clean(sheet: Sheet, line: int, column: str, value: str) -> str:
    """The value stripped, in Unicode's composed form, and without odd characters, which are told."""
    text = unicodedata.normalize("NFC", value.strip(" \u00a0")) if value else ""
    odd = _ODD.search(text)
    if odd is None:
        return text.strip()
    char = odd[0]
    if "\ud800" <= char <= "\udfff":
        guess = text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
        sheet.error(line, column, f"not UTF-8 (perhaps {guess!r})", _SAVE)
        return guess.strip()
    kind = "a NUL" if char == "\0" else "a line break" if char in "\r\n\u2028\u2029" else "a control character"
    if char in _BIDI:
        kind = "a character that turns the direction of text"
    elif unicodedata.category(char) == "Cf":
        kind = "an invisible character"
    sheet.error(line, column, f"{kind} (U+{ord(char):04X}) in {printable(text, 80)!r}", "type the value anew")
    return _ODD.sub("", text).strip()


def decimal_comma(rows: Sequence[Row], name: str) -> list[tuple[int, str, str]]:
    """Line, problem and remedy of a column whose values are numbers but for decimal commas; empty where it is none."""
    stated = [(row.line, text) for row in rows if not is_missing(text := row.cells.get(name, ""))]
    commas = [(line, text) for line, text in stated if _DECIMAL_COMMA.fullmatch(text)]
    if not commas or any(number(text.replace(",", ".")) is None for _, text in stated):
        return []
    line, text = commas[0]
    more = f" ({len(commas)} values of this column have one)" if len(commas) > 1 else ""
    return [(line, f"{text!r} has a decimal comma", f"write {text.replace(',', '.')}{more}")]
