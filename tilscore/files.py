"""Files that survive a crash: written beside, flushed, and renamed into place."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tilscore.errors import OutputError, UsageError

_WINDOWS = sys.platform == "win32"
_PATIENCE_S = 10.0
"""How long a file that is open elsewhere is waited for."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed and renamed to `path`, else removed.

    Raises
    ------
    OutputError : the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    beside = path.with_name(f".{os.getpid()}.{path.name[-100:]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with open(beside, "rb+") as f:
            os.fsync(f.fileno())
        _put(beside, path)
    except OSError as err:
        closed = "close it where it is open, " if _WINDOWS and isinstance(err, PermissionError) else ""
        raise OutputError(
            "cannot be written",
            where=path,
            found=err.strerror or err,
            do=f"{closed}check the folder, its rights and its free space",
        ) from err
    finally:
        with suppress(OSError):
            beside.unlink()


def check_can_replace(path: Path) -> None:
    """Raise `OutputError` where a file is there and cannot be replaced: on Windows while a spreadsheet has it open."""
    try:
        if path.exists():
            _put(path, path)
    except OSError as err:
        do = "close it where it is open, or check the folder's rights"
        raise OutputError("cannot be replaced", where=path, found=err.strerror or err, do=do) from err


def _put(beside: Path, path: Path) -> None:
    """Rename into place; on Windows a file that another program looks at, a virus scanner for one, is waited for."""
    until = time.monotonic() + (_PATIENCE_S if _WINDOWS else 0)
    while True:
        try:
            os.replace(beside, path)
            return
        except PermissionError:
            if time.monotonic() >= until:
                raise
        time.sleep(0.1)


def check_can_write(path: Path, *, folder: bool = False) -> None:
    """Say before the work, and not after it, that a file, or what goes into a folder, cannot be written there.

    Nothing is left behind: where the folder is not there yet, it is tried in the one that it will be made in.

    Raises
    ------
    UsageError : it cannot be written, or is a folder where a file is meant, or the other way round.
    """
    do = "name another place, or check the folder and its rights"
    try:
        if _is_there(path) and path.is_dir() != folder:
            found = "a file" if folder else "a folder"
            raise UsageError(
                "cannot be written", where=path, found=found, do=f"name a {'folder' if folder else 'file'}"
            )
        place = path if folder else path.parent
        while not _is_there(place) and place != place.parent:  # a drive of Windows that is not there has no parent
            place = place.parent
        probe = place / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as err:
        raise UsageError("cannot be written", where=path, found=err.strerror or err, do=do) from err


def _is_there(path: Path) -> bool:
    """Whether it exists; a name that is too long, or a closed folder, is an `OSError` (`Path.exists`: False)."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, with its line ends as they are on every system, beside and renamed."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def sha256(path: Path) -> str:
    """Hex digest of a whole file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
