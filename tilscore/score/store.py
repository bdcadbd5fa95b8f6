"""`score.json`: written, and read back whatever version wrote it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tilscore.errors import DataError
from tilscore.files import write_json
from tilscore.score.config import ScoreConfig
from tilscore.score.definitions import definitions
from tilscore.score.result import SCHEMA_VERSION, Score


def write_score(path: Path, score: Score, slide_id: str, cfg: ScoreConfig) -> None:
    """Write `score.json`."""
    head = {"schema_version": SCHEMA_VERSION, "slide_id": slide_id}
    calibration = score.constants.get("calibration_ident")
    write_json(path, head | asdict(score) | {"definitions": definitions(cfg, calibration)})


def read_score(path: Path | str) -> Score:
    """Read a `score.json` of this version or an earlier one, whose missing fields are None or empty.

    Raises
    ------
    DataError : no such file, or not a score of these versions.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        version = values.pop("schema_version")
        if version not in range(1, SCHEMA_VERSION + 1):
            raise ValueError(f"schema version {version}")
        for extra in ("slide_id", "definitions"):
            values.pop(extra)
        lists = {name: tuple(values.get(name, ())) for name in ("reasons", "notes")}
        return Score(**values | lists)
    except FileNotFoundError as err:
        raise DataError("score is not there", where=path, do="run `tilscore score` first") from err
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise DataError("is not a score", where=path, found=err, do="run `tilscore score` first") from err
