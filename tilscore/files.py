"""Files that survive a crash: written beside, flushed, and renamed into place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tilscore.errors import OutputError, UsageError


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
        os.replace(beside, path)
    except OSError as err:
        raise OutputError(
            "cannot be written",
            where=path,
            found=err.strerror or err,
            do="check the folder, its rights and its free space",
        ) from err
    finally:
        with suppress(OSError):
            beside.unlink()


def check_can_write(path: Path, *, folder: bool = False) -> None:
    """Say before the work, and not after it, that a file, or what goes into a folder, cannot be written there.

    Nothing is left behind: where the folder is not there yet, it is tried in the one that it will be made in.

    Raises
    ------
    UsageError : it cannot be written, or is a folder where a file is meant, or the other way round.
    """
    do = "name another place, or check the folder and its rights"
    try:
        if path.exists() and path.is_dir() != folder:
            found = "a file" if folder else "a folder"
            raise UsageError(
                "cannot be written", where=path, found=found, do=f"name a {'folder' if folder else 'file'}"
            )
        place = path if folder else path.parent
        while not place.exists():
            place = place.parent
        probe = place / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as err:
        raise UsageError("cannot be written", where=path, found=err.strerror or err, do=do) from err


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, beside and renamed."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def sha256(path: Path) -> str:
    """Hex digest of a whole file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
