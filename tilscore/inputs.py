"""From what is typed to the slides of a run: files, folders, and CSV lists.

A list has a header line with a column `path` (or `slide`) and, if wanted, `slide_id`, `mpp` and `roi`; other columns
are left alone. Relative paths start at the folder of the list. A slide that does not exist is no error here: it
becomes a failed slide of the run, and the others finish.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tilscore.errors import UsageError, printable
from tilscore.slide.base import SlideSpec
from tilscore.slide.mpp import GIVEN_RANGE, number

SLIDE_SUFFIXES = {
    ".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi", ".qptiff", ".jp2",
}  # fmt: skip
"""Names looked for in folders; what a file is, is decided by its content. DICOM slides are many files: list them."""
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg"}
"""Looked for in folders that hold no slide (beside slides, pictures are thumbnails or parts of a VMS slide)."""
LIST_SUFFIXES = {".csv", ".tsv"}
RESULT_MARK = "score.json"
"""A folder with this file is a result of an earlier run and is not searched."""
LONGEST_ID = 100
_LONGEST_ID_BYTES = 200
_LARGEST_LIST_BYTES = 1 << 28
_RESERVED = {"con", "prn", "aux", "nul", "scores.csv", "run.json"}
"""Names that mean something else to Windows, or in the folder of results."""


@dataclass(frozen=True)
class _Row:
    """One slide before its name is final; `where` is told in errors."""

    path: Path
    where: str
    slide_id: str = ""
    mpp: float | None = None
    roi: Path | None = None


def read_inputs(inputs: Sequence[Path | str], *, mpp: float | None = None) -> list[SlideSpec]:
    """The slides of a run, in the order given (folders by name), each with a unique `slide_id`.

    Parameters
    ----------
    inputs : slides, folders (searched to the bottom) and CSV lists.
    mpp : um/px for slides whose list states none; it wins over the slide's own.

    Raises
    ------
    UsageError : nothing to read, or a list that cannot be understood (with its line number).
    """
    if mpp is not None:
        mpp = _mpp(str(mpp), "--mpp")
    rows: list[_Row] = []
    for item in inputs:
        rows += _rows(Path(item))
    if not rows:
        raise UsageError("no slides were given", do="name slides, a folder of slides, or a CSV list")
    rows = [row if row.mpp is not None else replace(row, mpp=mpp) for row in _without_repeats(rows)]
    ids = _unique_ids(rows)
    return [SlideSpec(slide_id, row.path, row.mpp, row.roi) for slide_id, row in zip(ids, rows, strict=True)]


def safe_id(name: str) -> str:
    """`name` as the name of a folder: letters, digits and `._-`, at most 100 characters, no dot at either end."""
    text = unicodedata.normalize("NFC", name)
    text = "".join(c if c.isalnum() or c in "._-" else "_" for c in text)[:LONGEST_ID].strip(".") or "slide"
    while len(text.encode()) > _LONGEST_ID_BYTES:
        text = text[:-1]
    return f"{text}_" if text.split(".")[0].casefold() in _RESERVED or text.casefold() in _RESERVED else text


def _rows(item: Path) -> list[_Row]:
    if os.path.isdir(item) and item.suffix.lower() != ".zarr":
        found = [_Row(path, str(path)) for path in slides_in(item)]
        if not found:
            names = " ".join(sorted(SLIDE_SUFFIXES | PICTURE_SUFFIXES))
            raise UsageError("no slides in this folder", where=item, do=f"looked for {names}")
        return found
    if item.suffix.lower() in LIST_SUFFIXES:
        return list(_list_rows(item))
    return [_Row(item, str(item))]


def slides_in(folder: Path) -> list[Path]:
    """Slides below a folder, sorted; hidden files, linked folders and folders of results are passed over."""
    found: list[Path] = []
    for at, folders, names in os.walk(folder):
        if RESULT_MARK in names:
            folders.clear()
            continue
        here = Path(at)
        found += [here / name for name in folders if name.lower().endswith(".zarr")]
        folders[:] = [name for name in folders if not name.startswith(".") and not name.lower().endswith(".zarr")]
        shown = [here / name for name in names if not name.startswith(".")]
        slides = [path for path in shown if path.suffix.lower() in SLIDE_SUFFIXES]
        found += slides or [path for path in shown if path.suffix.lower() in PICTURE_SUFFIXES]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _list_rows(path: Path) -> Iterator[_Row]:
    text = _read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader)]
        key = _path_column(path, header)
        for values in reader:
            if any(value.strip() for value in values):
                yield _row(path, reader.line_num, header, key, values)
    except csv.Error as err:
        raise UsageError("list cannot be understood", where=f"{path} line {reader.line_num}", found=err) from err


def _read_text(path: Path) -> str:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_LIST_BYTES:
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


def _delimiter(path: Path, text: str) -> str:
    """The separator under which the first line names a column of paths."""
    for delimiter in ",;\t":
        first = io.StringIO(text, newline="").readline().split(delimiter)
        if {"path", "slide"} & {name.strip().strip('"').lower() for name in first}:
            return delimiter
    raise UsageError(
        "list has no column 'path'",
        where=f"{path} line 1",
        found=text[:500].partition("\n")[0].strip(),
        do="the first line names the columns, separated by commas: path, and if wanted slide_id, mpp, roi",
    )


def _path_column(path: Path, header: list[str]) -> int:
    for name in ("path", "slide", "slide_id", "mpp", "roi"):
        if header.count(name) > 1:
            raise UsageError(f"column {name!r} is there twice", where=f"{path} line 1", do="rename one of them")
    return header.index("path" if "path" in header else "slide")


def _row(path: Path, line: int, header: list[str], key: int, values: list[str]) -> _Row:
    where = f"{path} line {line}"
    if len(values) > len(header) and any(value.strip() for value in values[len(header) :]):
        do = "put names that contain the separator in double quotes"
        raise UsageError(f"{len(values)} values for {len(header)} columns", where=where, do=do)
    cells = {name: value.strip() for name, value in zip(header, values, strict=False)}
    target = values[key].strip() if key < len(values) else ""
    if not target:
        raise UsageError("no path", where=where, do="every line names a slide")
    mpp, roi = cells.get("mpp", ""), cells.get("roi", "")
    return _Row(
        path=_beside(path, target),
        where=where,
        slide_id=cells.get("slide_id", ""),
        mpp=_mpp(mpp, f"{where} column 'mpp'") if mpp else None,
        roi=_beside(path, roi) if roi else None,
    )


def _beside(path: Path, name: str) -> Path:
    return Path(os.path.normpath(path.parent / name))


def _mpp(text: str, where: str) -> float:
    value = number(text)
    if value is None or not GIVEN_RANGE[0] <= value <= GIVEN_RANGE[1]:
        do = "write a number with a decimal point, e.g. 0.25 for a 40x scan, or leave it out"
        what = f"mpp must be a number from {GIVEN_RANGE[0]} to {GIVEN_RANGE[1]} um/px"
        raise UsageError(what, where=where, found=text, do=do)
    return value


def _without_repeats(rows: Iterable[_Row]) -> list[_Row]:
    """Rows in order; a slide that is typed twice counts once, one that is listed twice is an error."""
    seen: dict[tuple[str, str], _Row] = {}
    for row in rows:
        key = (os.path.abspath(row.path), row.slide_id)
        first = seen.setdefault(key, row)
        if first is row or not _is_listed(row):
            continue
        if _is_listed(first):
            what = f"slide is listed twice (first in {first.where})"
            raise UsageError(what, where=row.where, found=row.path, do="remove one, or give them different slide_id")
        seen[key] = row
    return list(seen.values())


def _is_listed(row: _Row) -> bool:
    return row.where != str(row.path)


def _unique_ids(rows: list[_Row]) -> list[str]:
    """Names that differ even where a file system ignores case; equal file names get a hash of their paths."""
    names = [safe_id(row.slide_id or _stem(row.path)) for row in rows]
    groups: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        groups[name.casefold()].append(i)
    for group in groups.values():
        given = [i for i in group if rows[i].slide_id]
        if len(given) > 1:
            first, second = rows[given[0]].where, rows[given[1]].where
            raise UsageError(f"slide_id is used twice (first in {first})", where=second, found=names[given[1]])
        for i in group if len(group) > 1 else ():
            if i not in given:
                names[i] = _with_hash(names[i], rows[i].path)
    if len({name.casefold() for name in names}) < len(names):
        raise UsageError("slides cannot be told apart by name", do="give each a slide_id in a CSV list")
    return names


def _stem(path: Path) -> str:
    name = path.name
    for _ in range(2):  # "x.ome.tif"
        stem, suffix = os.path.splitext(name)
        if stem and suffix.lower() in SLIDE_SUFFIXES | PICTURE_SUFFIXES | {".ome", ".zarr", ".dcm"}:
            name = stem
    return name


def _with_hash(name: str, path: Path) -> str:
    digest = hashlib.sha256(os.path.abspath(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    keep = min(LONGEST_ID, _LONGEST_ID_BYTES) - 9
    while len(name) > keep or len(name.encode()) > _LONGEST_ID_BYTES - 9:
        name = name[:-1]
    return f"{name}-{digest}"
