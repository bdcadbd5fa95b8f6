"""How a number was made: each term counted again from the artefacts, beside what `score.json` says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilscore.cells import Cells, read_cells
from tilscore.errors import UsageError, printable
from tilscore.labels import Cell
from tilscore.raster import Raster, read_raster
from tilscore.score.config import InfiltratedConfig
from tilscore.score.infiltrated import infiltrated
from tilscore.score.numbers import contact
from tilscore.score.parts import Part
from tilscore.score.result import Score
from tilscore.score.store import read_score


@dataclass(frozen=True)
class Number:
    """One number: its formula, the formula with its terms, what they give, and what `score.json` says."""

    name: str
    unit: str
    formula: str
    terms: str
    recomputed: float | None
    reported: float | None
    interval: tuple[float | None, float | None]

    @property
    def agrees(self) -> bool:
        """Whether the terms give the reported number; true where it cannot be counted again from them."""
        if self.recomputed is None or self.reported is None:
            return (self.recomputed is None) or self.reported is None
        return math.isclose(self.recomputed, self.reported, rel_tol=1e-9, abs_tol=1e-12)


def find_folder(slide: str, out: Path | None) -> Path:
    """The folder of a slide's results, from the folder itself, or from the slide's path or name and `out`.

    Raises
    ------
    UsageError : there is no `score.json`; where the slide failed, why.
    """
    from tilscore.inputs import safe_id, stem

    path = Path(slide)
    named = [] if out is None else [out / path.name, out / safe_id(stem(path)), out / safe_id(path.name)]
    places = list(dict.fromkeys((*named, path)))
    for place in places:
        if (place / "score.json").exists():
            return place
    for why in filter(None, map(_why_failed, places)):
        raise UsageError(f"no score of this slide, it failed: {why}", where=slide)
    looked = ", ".join(str(p) for p in dict.fromkeys(named or places))
    what = f"no score of this slide, looked in {printable(looked, 1000)}"
    raise UsageError(what, where=slide, do="give --out, or run `tilscore run` first")


def _why_failed(folder: Path) -> str | None:
    """The message of `error.json`; None where there is none."""
    try:
        return printable(json.loads((folder / "error.json").read_text(encoding="utf-8"))["message"], 1000)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def explain_folder(folder: Path) -> dict[str, Any]:
    """Every number of a slide with its terms, as plain values.

    Raises
    ------
    DataError : an artefact is missing or damaged.
    """
    score = read_score(folder / "score.json")
    head = {"slide_id": folder.name, "status": score.status, "reasons": list(score.reasons)}
    if score.status != "ok":
        return head | {"numbers": [], "account": score.account, "cores": [], "agrees": True}
    parts, cells = read_raster(folder / "parts.tif"), read_cells(folder / "cells.parquet")
    numbers = [_as_values(n) for n in _numbers(score, parts, cells)]
    return head | {
        "site": score.site,
        "specimen": score.specimen,
        "numbers": numbers,
        "account": score.account,
        "cores": score.cores,
        "core_spread": score.core_spread,
        "agrees": all(n["agrees"] for n in numbers),
    }


def _as_values(number: Number) -> dict[str, Any]:
    return {**number.__dict__, "interval": list(number.interval), "agrees": number.agrees}


def _numbers(score: Score, parts: Raster, cells: Cells) -> list[Number]:
    pixel_um2 = parts.grid.mpp**2
    px = {p: int((parts.values == p).sum()) for p in (Part.STROMA, Part.TUMOUR)}
    found = cells[(cells.label == Cell.INFLAMMATORY) & (cells.prob >= score.constants.get("min_prob", 0.0))]
    under = parts.sample(found.x_um, found.y_um)
    n, n_itils = int((under == Part.STROMA).sum()), int((under == Part.TUMOUR).sum())
    mm2 = {p: k * parts.grid.pixel_mm2 for p, k in px.items()}
    stroma = f"({px[Part.STROMA]:,} px * {pixel_um2:g} um2 = {mm2[Part.STROMA]:.6g} mm2 of evaluable stroma)"
    tumour = f"({px[Part.TUMOUR]:,} px * {pixel_um2:g} um2 = {mm2[Part.TUMOUR]:.6g} mm2 of tumour)"
    area = score.constants.get("mean_area_per_til_um2") or score.constants["area_per_til_um2"]
    kind = score.constants.get("area_per_til", "declared")
    share = 100 * n * area / (mm2[Part.STROMA] * 1e6)
    inside = found[under == Part.STROMA]
    x_um, y_um = np.asarray(inside.x_um, np.float64), np.asarray(inside.y_um, np.float64)
    settings = InfiltratedConfig(**score.constants["infiltrated"])
    covered, _ = infiltrated(x_um, y_um, parts.values == Part.STROMA, parts.grid, settings)
    around = f"100 * {covered:.6g} mm2 within {settings.radius_um:g} um of one of {n:,} TILs / {stroma}"
    n_at, at_mm2 = contact(x_um, y_um, parts, score.constants["contact_um"])
    touching = f"({n_itils:,} + {n_at:,}) TILs / ({mm2[Part.TUMOUR]:.6g} + {at_mm2:.6g}) mm2 of tumour and its contact"
    rows: list[tuple[str, str, str, str, float | None]] = [
        ("til_density_per_mm2", "1/mm2", "TILs / stroma", f"{n:,} TILs / {stroma}", n / mm2[Part.STROMA]),
        (
            "stil_area_pct",
            "%",
            "100 * TILs * area per TIL / stroma, at most 100",
            f"100 * {n:,} TILs * {area:g} um2 ({kind}) / {stroma}",
            min(share, 100.0),
        ),
        ("infiltrated_area_pct", "%", "100 * stroma near a TIL / stroma", around, 100 * covered / mm2[Part.STROMA]),
        (
            "itil_density_per_mm2",
            "1/mm2",
            "TILs in tumour / tumour",
            f"{n_itils:,} TILs / {tumour}",
            n_itils / mm2[Part.TUMOUR] if px[Part.TUMOUR] else None,
        ),
        (
            "contact_itil_density_per_mm2",
            "1/mm2",
            "TILs in or at tumour / tumour and its contact",
            touching,
            (n_itils + n_at) / (mm2[Part.TUMOUR] + at_mm2) if px[Part.TUMOUR] else None,
        ),
        (
            "calibrated_stil_pct",
            "%",
            "curve(input)",
            f"{score.constants.get('calibration_ident') or 'no calibration was given'}",
            None,
        ),
    ]
    made = [
        Number(*row, getattr(score, row[0]), (score.bound(row[0], "low"), score.bound(row[0], "high"))) for row in rows
    ]
    return made + _compat(score.compat, n, mm2[Part.STROMA], stroma)


def _compat(compat: Mapping[str, Any], n: int, stroma_mm2: float, stroma: str) -> list[Number]:
    """The numbers of other systems; those of a fixed area per TIL are counted again."""
    from tilscore.score.compat import BIO_TOTEM_UM2, TIGER_UM2, VUNO_UM2, area_pct

    fixed = {"tiger_pct": TIGER_UM2, "vuno_pct": VUNO_UM2, "bio_totem_pct": BIO_TOTEM_UM2}
    out = []
    for name, entry in compat.items():
        um2 = fixed.get(name)
        terms = "" if um2 is None else f"100 * {n:,} TILs * {um2:.5g} um2 / {stroma}"
        again = None if um2 is None else area_pct(n, um2, stroma_mm2)
        unit = "%" if name.endswith("_pct") else ""
        out.append(Number(f"compat.{name}", unit, entry["formula"], terms, again, entry["value"], (None, None)))
    return out


def in_words(made: Mapping[str, Any]) -> str:
    """`explain_folder`'s result for the eye."""
    lines = [f"{made['slide_id']}: {made['status']}" + (f" [{';'.join(made['reasons'])}]" if made["reasons"] else "")]
    for n in made["numbers"]:
        value = "null" if n["reported"] is None else f"{n['reported']:.6g} {n['unit']}".rstrip()
        low, high = n["interval"]
        lines += ["", f"{n['name']} = {value}" + ("" if low is None else f"   (95 % interval {low:.6g} to {high:.6g})")]
        lines.append(f"  = {n['formula']}")
        if n["terms"]:
            lines.append(f"  = {n['terms']}")
        if n["recomputed"] is not None:
            word = "agrees" if n["agrees"] else "DOES NOT AGREE"
            lines.append(f"  = {n['recomputed']:.6g}, counted again from the artefacts: {word}")
    lines += ["", "area account (mm2; inflammatory cells in it; TILs/mm2 without this exclusion)"]
    for row in made["account"]:
        other = row["score_without_this_exclusion"]
        without = "" if other is None else f"{other:.1f}"
        lines.append(
            f"  {row['part']:18}{row['role']:10}{row['mm2']:12.4f}{row['n_tils']:10,}{without:>12}  {row['meaning']}"
        )
    lines.append(f"  {'slide':18}{'':10}{sum(r['mm2'] for r in made['account'] if r['role'] != 'flagged'):12.4f}")
    if len(made["cores"]) > 2:
        lines += ["", "cores (stroma mm2, TILs, TILs/mm2)"]
        for core in made["cores"]:
            density = core["til_density_per_mm2"]
            shown = "too little stroma" if density is None else f"{density:.1f}"
            name = f"core {core['core']}" if core["core"] else "rest"
            lines.append(f"  {name:10}{core['stroma_mm2']:12.4f}{core['n_tils']:10,}  {shown}")
    return "\n".join(lines)
