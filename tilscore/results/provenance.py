"""What made a slide's results: the notes in its folder, and what of them tells two scores apart."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_SCORED_BY = ("tissue", "infer", "score")
"""Stages that a score depends on."""


def read_notes(folder: Path, name: str = "provenance.json") -> dict[str, Any]:
    """What `provenance.json`, or `error.json`, of a slide's folder holds; empty where there is none."""
    try:
        notes = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def settings_of(notes: dict[str, Any]) -> str:
    """A short hash of the settings behind a score, "" where the notes do not tell them.

    Two slides have the same where their tissue, cells and score were made with the same settings, as all centres of a
    study should. What is a slide's own (site, specimen, drawn areas), where a calibration lies (its content
    counts), how the work was cut up and what computed it do not enter; the model has a column of its own.

    Parameters
    ----------
    notes : `provenance.json`, as from `read_notes`.
    """
    made = notes.get("made_with", {})
    if not all(stage in made for stage in _SCORED_BY):
        return ""
    entering = {stage: dict(made[stage].get(stage, {})) for stage in _SCORED_BY}
    for name in ("block_um", "workers"):
        entering["infer"].pop(name, None)
    entering["score"]["calibration"] = made["score"].get("calibration")
    return "s" + hashlib.sha256(json.dumps(entering, sort_keys=True).encode()).hexdigest()[:8]


def version_of(notes: dict[str, Any]) -> str:
    """Version of tilscore that made a score, several joined by `+`; "" where the notes do not tell."""
    by = notes.get("made_by", {})
    return "+".join(sorted({by[stage].removeprefix("tilscore ") for stage in _SCORED_BY if stage in by}))
