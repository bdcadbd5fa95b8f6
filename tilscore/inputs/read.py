"""From what is typed to the slides of a run: files, folders, and CSV lists.

A list has a header line with a column `path` (or `slide`) and, if wanted, `slide_id`, `mpp`, `roi`, `site`, `specimen`
and `stain`; other columns are left alone, so that the manifest of a cohort is a list too, and those that no manifest
has are named. Relative paths start at the folder of the list. A slide that does not exist is no error here: it becomes
a failed slide of the run, and the others finish. Slides of another stain than H&E are passed over, and this is said.
"""

from __future__ import annotations

import csv
import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tilscore.errors import UsageError, printable
from tilscore.inputs import words
from tilscore.inputs.names import PICTURE_SUFFIXES, SLIDE_SUFFIXES, plain_and_hashed, unique_ids
from tilscore.inputs.words import MISSING, advice, canonical, column_names, is_missing, is_scored, split_hint
from tilscore.slide.base import SlideSpec
from tilscore.slide.mpp import GIVEN_RANGE, number

LIST_SUFFIXES = {".csv", ".tsv"}
NO_LIST_SUFFIXES = {".txt", ".xlsx", ".xls", ".ods"}
"""What a list must be saved from; no slide has such a name."""
RESULT_MARKS = {"score.json", "provenance.json"}
"""A folder with one of these files is a result of a run, finished or not, and is not searched."""
PHANTOM_MARK, PHANTOM_MAP = ".truth.json", ".regions.tif"
"""Beside a phantom's truth lies its region map, a TIFF that is no slide."""
NO_ARCHIVES = {
    "@eadir", "@recycle", "#recycle", "#snapshot", "~snapshot", "$recycle.bin", "lost+found",
    "system volume information",
}  # fmt: skip
"""Folders that file servers and file systems keep for themselves: thumbnails, what was removed, old copies."""
_LINKED = "not searched, for they are links to folders"
_BESIDE = "not read, for they lie beside slides"
LARGEST_LIST_BYTES = 1 << 28
"""A list of a million slides has 100 MB."""


@dataclass(frozen=True)
class _Row:
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


def _aloud(text: str) -> None:
    print(text, file=sys.stderr)


def read_inputs(
    inputs: Sequence[Path | str], *, mpp: float | None = None, say: Callable[[str], object] = _aloud
) -> list[SlideSpec]:
    """The slides of a run, in the order given (folders by name), each with a unique `slide_id`.

    Parameters
    ----------
    inputs : slides, folders (searched to the bottom) and CSV lists.
    mpp : um/px for slides whose list states none; it wins over the slide's own.
    say : is told of slides that are passed over for their stain, and of what a folder holds that is not read.

    Raises
    ------
    UsageError : nothing to read, or a list that cannot be understood (with its line number).
    """
    if mpp is not None:
        mpp = _mpp(str(mpp), "--mpp")
    rows: list[_Row] = []
    unread: dict[str, list[Path]] = {_LINKED: [], _BESIDE: []}
    for item in inputs:
        rows += _rows(Path(item), unread, say)
    if not rows:
        raise UsageError("no slides were given", do="name slides, a folder of slides, or a CSV list")
    _say_unread(unread, {*map(Path, inputs), *(row.path for row in rows)}, say)
    rows = [row if row.mpp is not None else replace(row, mpp=mpp) for row in _without_repeats(rows)]
    ids = _ids(rows)
    scored = [(slide_id, row) for slide_id, row in zip(ids, rows, strict=True) if is_scored(row.stain)]
    if len(scored) < len(rows):
        _say_skipped(ids, rows, say)
    if not scored:
        raise UsageError("no slide is stained with H&E", where=rows[0].where, do="look at the column 'stain'")
    taken = {name.casefold() for name in ids}
    return [_spec(slide_id, row, _alias(slide_id, row, taken)) for slide_id, row in scored]


def _ids(rows: list[_Row]) -> list[str]:
    """Names of the slides; those of a list are the same whatever else is read, for its cohort knows them by name."""
    ids = [""] * len(rows)
    taken: dict[str, str] = {}
    for source in sorted({row.list for row in rows}, key=lambda path: (path is None, str(path))):
        own = [i for i, row in enumerate(rows) if row.list == source]
        names = unique_ids([rows[i] for i in own], () if source else taken, source.parent if source else None)
        for i, name in zip(own, names, strict=True):
            where = taken.setdefault(name.casefold(), rows[i].where)
            if where != rows[i].where:
                what = f"two lists have a slide of this name (first in {where})"
                do = "give each a slide_id, or run the lists into folders of their own"
                raise UsageError(what, where=rows[i].where, found=name, do=do)
            ids[i] = name
    return ids


def _alias(slide_id: str, row: _Row, taken: set[str]) -> str:
    """The other name that a slide of no list can have in the results, where none of the run's slides has it."""
    if row.list is not None:
        return ""
    plain, hashed = plain_and_hashed(row.path)
    alias = hashed if slide_id == plain else plain
    return "" if alias.casefold() in taken else alias


def _spec(slide_id: str, row: _Row, alias: str) -> SlideSpec:
    told = {"site": row.site or None, "specimen": row.specimen or None}
    return SlideSpec(slide_id, row.path, row.mpp, row.roi, **told, alias=alias)


def _say_skipped(ids: list[str], rows: list[_Row], say: Callable[[str], object]) -> None:
    skipped = [f"{name} ({row.stain})" for name, row in zip(ids, rows, strict=True) if not is_scored(row.stain)]
    shown = ", ".join(skipped[:10]) + (f" and {len(skipped) - 10} more" if len(skipped) > 10 else "")
    say(f"tilscore: {len(skipped)} of {len(rows)} slides are not H&E and are not scored: {printable(shown, 500)}")


def _say_unread(unread: dict[str, list[Path]], read: set[Path], say: Callable[[str], object]) -> None:
    for why, paths in unread.items():
        left = sorted(path for path in paths if path not in read)
        shown = ", ".join(map(str, left[:3])) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        if left:
            say(f"tilscore: {why} (name them to have them read): {printable(shown, 500)}")


def _rows(item: Path, unread: dict[str, list[Path]], say: Callable[[str], object]) -> list[_Row]:
    if os.path.isdir(item) and item.suffix.lower() != ".zarr":
        found = [_Row(path, str(path)) for path in slides_in(item, unread)]
        if not found:
            names = " ".join(sorted(SLIDE_SUFFIXES | PICTURE_SUFFIXES))
            raise UsageError("no slides in this folder", where=item, do=f"looked for {names}")
        return found
    if item.suffix.lower() in LIST_SUFFIXES:
        listed = list(_list_rows(item, say))
        if not listed:
            raise UsageError("list names no slide", where=item, do="every line below the first names one")
        return listed
    if item.suffix.lower() in NO_LIST_SUFFIXES:
        do = "save it as CSV, with a header line and a column 'path'"
        raise UsageError("no slide, and a list is a CSV file", where=item, found=item.suffix, do=do)
    return [_Row(item, str(item))]


def slides_in(folder: Path, unread: dict[str, list[Path]] | None = None) -> list[Path]:
    """Slides below a folder, sorted.

    Hidden files, linked folders, folders of results, those that a file server keeps for itself and the region maps of
    phantoms are passed over. A folder that cannot be listed is among them: it fails as a slide does, and is not missed.
    `unread` takes linked folders, and pictures beside slides, by why they are passed over.
    """
    found: list[Path] = []
    closed: list[OSError] = []
    for at, folders, names in os.walk(folder, onerror=closed.append):
        if RESULT_MARKS.intersection(names):
            folders.clear()
            continue
        here = Path(at)
        found += [here / name for name in folders if name.lower().endswith(".zarr")]
        folders[:] = [name for name in folders if not name.startswith(".") and not name.lower().endswith(".zarr")]
        folders[:] = [name for name in folders if name.lower() not in NO_ARCHIVES]
        if unread is not None:
            unread[_LINKED] += [here / name for name in folders if os.path.islink(here / name)]
        maps = {name.removesuffix(PHANTOM_MARK) + PHANTOM_MAP for name in names if name.endswith(PHANTOM_MARK)}
        shown = [here / name for name in names if not name.startswith(".") and name not in maps]
        slides = [path for path in shown if path.suffix.lower() in SLIDE_SUFFIXES]
        pictures = [path for path in shown if path.suffix.lower() in PICTURE_SUFFIXES]
        found += slides or pictures
        if slides and unread is not None:
            unread[_BESIDE] += pictures
    found += [Path(err.filename) for err in closed]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _list_rows(path: Path, say: Callable[[str], object]) -> Iterator[_Row]:
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
    others = [name for name in dict.fromkeys(header) if name and name not in words.COLUMNS]
    shown = ", ".join(others[:10]) + (f" and {len(others) - 10} more" if len(others) > 10 else "")
    if others:
        say(f"tilscore: {path}: columns that are not read: {printable(shown, 500)}")


def _row(path: Path, line: int, header: list[str], values: list[str]) -> _Row:
    where = f"{path} line {line}"
    if len(values) > len(header) and any(value.strip() for value in values[len(header) :]):
        do = "put names that contain the separator in double quotes"
        raise UsageError(f"{len(values)} values for {len(header)} columns", where=where, do=do)
    cells = {name: value.strip() for name, value in zip(header, values, strict=False)}
    if not cells.get("path"):
        raise UsageError("no path", where=where, do="every line names a slide")
    mpp, roi, stain = (cells.get(name, "") for name in ("mpp", "roi", "stain"))
    return _Row(
        path=_beside(path, cells["path"]),
        where=where,
        list=path,
        slide_id=cells.get("slide_id", ""),
        mpp=None if mpp.casefold() in MISSING - {"nan"} else _mpp(mpp, f"{where} column 'mpp'"),
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
        if first is row or row.list is None:
            continue
        if first.list is not None:
            what = f"slide is listed twice (first in {first.where})"
            raise UsageError(what, where=row.where, found=row.path, do="remove one, or give them different slide_id")
        seen[key] = row
    return list(seen.values())
