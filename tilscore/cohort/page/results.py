"""What a cohort's folder holds: the analysis, its tables, and what other verbs left there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tilscore.errors import DataError
from tilscore.inputs.words import order

_NUMBERS = ("_mm2", "_pct", "_frac", "_low", "_high")
PAIRS = ("machine", "pair", "leave_one_out")
"""Comparisons of `cohort agree`, the most telling first."""


@dataclass(frozen=True)
class CohortResults:
    """All that the page and its figures show.

    Attributes
    ----------
    out : the cohort's folder. analysis : `analysis.json`. slides, biopsies : `slides.csv`, `biopsies.csv`.
    pairs : the rows of `analysis["pairs"]`. rank, assays : `rank.json`, `assays.json`, None where they are not there
    or stale. km, joined : `km.csv` (survival curves) and `joined.csv` (a row a patient) of the assays, or None.
    agreement, agreed : text of `agreement.txt` and `agreement.json`, None where they are not there. bland_altman : name
    -> SVG of `cohort agree`.
    stale : verbs (`rank`, `assays`) whose results are of other files than the analysis, and left out.
    """

    out: Path
    analysis: dict[str, Any]
    slides: pd.DataFrame
    biopsies: pd.DataFrame
    pairs: pd.DataFrame
    rank: dict[str, Any] | None = None
    assays: dict[str, Any] | None = None
    km: pd.DataFrame | None = None
    joined: pd.DataFrame | None = None
    agreement: str | None = None
    agreed: dict[str, Any] | None = None
    bland_altman: dict[str, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()

    @property
    def later(self) -> list[str]:
        """Time points after baseline, in order."""
        return sorted(self.analysis["flow"]["n_pairs"], key=order)


def read_results(out: Path) -> CohortResults:
    """Read the folder that `cohort analyse` wrote, with `rank.json`, `assays.json` and the files of `cohort agree`
    where they are in it (those of `agree` also in `OUT/agreement`).

    Raises
    ------
    DataError : there is no analysis, or a file cannot be read.
    """
    out = Path(out)
    analysis = _json(out / "analysis.json")
    if analysis is None or "flow" not in analysis:
        raise DataError("holds no analysis", where=out, do="run tilscore cohort analyse first")
    pairs = pd.DataFrame(analysis["pairs"])
    for name in pairs.columns:
        if name.endswith(("_low", "_high", "_rci", "_adjusted", "_error_sd", "_ratio", "_delta")):
            pairs[name] = pd.to_numeric(pairs[name], errors="coerce").astype(float)
    agree = out / "agreement" if (out / "agreement" / "agreement.txt").is_file() else out
    text = agree / "agreement.txt"
    drawn = {name: agree / f"bland_altman_{name}.svg" for name in PAIRS}
    others = {verb: _json(out / f"{verb}.json") for verb in ("rank", "assays")}
    stale = tuple(verb for verb, one in others.items() if one is not None and _files(one) != _files(analysis))
    return CohortResults(
        out,
        analysis,
        _table(out / "slides.csv"),
        _table(out / "biopsies.csv"),
        pairs,
        None if "rank" in stale else others["rank"],
        None if "assays" in stale else others["assays"],
        None if "assays" in stale else _curves(out / "km.csv"),
        None if "assays" in stale or not (out / "joined.csv").is_file() else _table(out / "joined.csv"),
        _text(text) if text.is_file() else None,
        _json(agree / "agreement.json"),
        {name: _text(path) for name, path in drawn.items() if path.is_file()},
        stale,
    )


def _files(result: dict[str, Any]) -> list[Any]:
    """Hashes of the manifest and the scores that a result was made from; None where it does not tell."""
    inputs = result.get("inputs") or {}
    return [(inputs.get(name) or {}).get("sha256") for name in ("manifest", "scores")]


def rows(found: CohortResults, name: str, **wanted: object) -> list[dict[str, Any]]:
    """Rows of a table of the analysis whose columns have the wanted values; none where an earlier version made none."""
    return [row for row in found.analysis.get(name, []) if all(row.get(k) == v for k, v in wanted.items())]


def _curves(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    table = _table(path)
    if (
        not {"outcome", "group", "n", "n_events", "time", "survival", "low", "high"} <= set(table.columns)
        or table.empty
    ):
        return None
    for name in ("n", "time", "survival", "low", "high"):
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
    return table


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise DataError("cannot be read", where=path, found=err) from err


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as err:
        raise DataError("is not JSON", where=path, found=err) from err
    if not isinstance(value, dict):
        raise DataError("is not the result of a tilscore verb", where=path)
    return value


def _table(path: Path) -> pd.DataFrame:
    """A table of `analyse`: text as it was before it was made safe for spreadsheets, numbers as float."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as err:
        raise DataError("cannot be read", where=path, found=err, do="run tilscore cohort analyse again") from err
    for name in table.columns:
        if name.endswith(_NUMBERS) or name.startswith("n_"):
            table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
        else:
            table[name] = table[name].str.replace(r"^'(?=[=+\-@\t\r])", "", regex=True)
    return table
