"""From what is typed to the slides of a run: files, folders, and CSV lists.

A slide that does not exist is no error here: it becomes a failed slide of the run, and the others finish. Slides of
another stain than H&E are passed over, and this is said.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tilscore.errors import UsageError, printable
from tilscore.inputs import dicom
from tilscore.inputs.lists import Row, list_rows, mpp_given
from tilscore.inputs.names import PICTURE_SUFFIXES, SLIDE_SUFFIXES, plain_and_hashed, unique_ids
from tilscore.inputs.words import is_scored
from tilscore.slide import is_ngff
from tilscore.slide.base import SlideSpec

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
_DICOM = "not read, for they are DICOM files of no slide"


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
        mpp = mpp_given(str(mpp), "--mpp")
    rows: list[Row] = []
    unread: dict[str, list[Path]] = {_LINKED: [], _BESIDE: [], _DICOM: []}
    stands_for = dicom.slide_of_each(path for path in map(Path, inputs) if path.suffix.lower() == dicom.SUFFIX)
    for item in map(Path, inputs):
        rows += _rows(stands_for.get(item, item), unread, say)
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


def _ids(rows: list[Row]) -> list[str]:
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


def _alias(slide_id: str, row: Row, taken: set[str]) -> str:
    """The other name that a slide of no list can have in the results, where none of the run's slides has it."""
    if row.list is not None:
        return ""
    plain, hashed = plain_and_hashed(row.path)
    alias = hashed if slide_id == plain else plain
    return "" if alias.casefold() in taken else alias


def _spec(slide_id: str, row: Row, alias: str) -> SlideSpec:
    told = {"site": row.site or None, "specimen": row.specimen or None}
    return SlideSpec(slide_id, row.path, row.mpp, row.roi, **told, alias=alias)


def _say_skipped(ids: list[str], rows: list[Row], say: Callable[[str], object]) -> None:
    skipped = [f"{name} ({row.stain})" for name, row in zip(ids, rows, strict=True) if not is_scored(row.stain)]
    shown = ", ".join(skipped[:10]) + (f" and {len(skipped) - 10} more" if len(skipped) > 10 else "")
    say(f"tilscore: {len(skipped)} of {len(rows)} slides are not H&E and are not scored: {printable(shown, 500)}")


def _say_unread(unread: dict[str, list[Path]], read: set[Path], say: Callable[[str], object]) -> None:
    for why, paths in unread.items():
        left = sorted(path for path in paths if path not in read)
        shown = ", ".join(map(str, left[:3])) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        if left:
            say(f"tilscore: {why} (name them to have them read): {printable(shown, 500)}")


def _rows(item: Path, unread: dict[str, list[Path]], say: Callable[[str], object]) -> list[Row]:
    if os.path.isdir(item) and item.suffix.lower() != ".zarr" and not is_ngff(item):
        found = [Row(path, str(path)) for path in slides_in(item, unread)]
        if not found:
            names = " ".join(sorted(SLIDE_SUFFIXES | PICTURE_SUFFIXES))
            raise UsageError("no slides in this folder", where=item, do=f"looked for {names} {dicom.SUFFIX}")
        return found
    if item.suffix.lower() in LIST_SUFFIXES:
        listed = list(list_rows(item, say))
        if not listed:
            raise UsageError("list names no slide", where=item, do="every line below the first names one")
        return listed
    if item.suffix.lower() in NO_LIST_SUFFIXES:
        do = "save it as CSV, with a header line and a column 'path'"
        raise UsageError("no slide, and a list is a CSV file", where=item, found=item.suffix, do=do)
    return [Row(item, str(item))]


def slides_in(folder: Path, unread: dict[str, list[Path]] | None = None) -> list[Path]:
    """Slides below a folder, sorted.

    Hidden files, linked folders, folders of results, those that a file server keeps for itself and the region maps of
    phantoms are passed over. A folder that cannot be listed is among them: it fails as a slide does, and is not missed.
    `unread` takes linked folders, pictures beside slides and DICOM files that are none, by why they are passed over.
    """
    found: list[Path] = []
    closed: list[OSError] = []
    for at, folders, names in os.walk(folder, onerror=closed.append):
        if RESULT_MARKS.intersection(names):
            folders.clear()
            continue
        here = Path(at)
        zarrs = [name for name in folders if name.lower().endswith(".zarr") or is_ngff(here / name)]
        found += [here / name for name in zarrs if not name.startswith(".")]
        folders[:] = [name for name in folders if not name.startswith(".") and name not in zarrs]
        folders[:] = [name for name in folders if name.lower() not in NO_ARCHIVES]
        if unread is not None:
            unread[_LINKED] += [here / name for name in folders if os.path.islink(here / name)]
        maps = {name.removesuffix(PHANTOM_MARK) + PHANTOM_MAP for name in names if name.endswith(PHANTOM_MARK)}
        shown = [here / name for name in names if not name.startswith(".") and name not in maps]
        files = [path for path in shown if path.suffix.lower() == dicom.SUFFIX]
        slides = [path for path in shown if path.suffix.lower() in SLIDE_SUFFIXES]
        slides += sorted({*dicom.slide_of_each(files).values()})
        pictures = [path for path in shown if path.suffix.lower() in PICTURE_SUFFIXES]
        found += slides or pictures
        if unread is not None:
            unread[_BESIDE] += pictures if slides else []
            unread[_DICOM] += [] if any(path in slides for path in files) else files
    found += [Path(err.filename) for err in closed]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _without_repeats(rows: Iterable[Row]) -> list[Row]:
    """Rows in order; a slide that is typed twice counts once, one that is listed twice is an error."""
    seen: dict[tuple[str, str], Row] = {}
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
