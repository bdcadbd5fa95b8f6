"""How a number was made: each term counted again from the artefacts, beside what `score.json` says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tilscore.cells import read_cells
from tilscore.raster import read_raster
from tilscore.score.recount import Number, Recount
from tilscore.score.store import read_score


def explain_folder(folder: Path) -> dict[str, Any]:
    """Every number of a slide with its terms, as plain values.

    Raises
    ------
    DataError : an artefact is missing or damaged.
    """
    score = read_score(folder / "score.json")
    head = {"slide_id": folder.name, "status": score.status, "reasons": list(score.reasons)}
    if score.status != "ok":
        return head | {"numbers": [], "account": score.account, "cores": [], "differences": [], "agrees": True}
    again = Recount(score, read_raster(folder / "parts.tif"), read_cells(folder / "cells.parquet"))
    numbers, differences = [_as_values(n) for n in again.numbers()], again.differences()
    return head | {
        "site": score.site,
        "specimen": score.specimen,
        "numbers": numbers,
        "account": score.account,
        "cores": score.cores,
        "core_spread": score.core_spread,
        "differences": differences,
        "agrees": all(n["agrees"] for n in numbers) and not differences,
    }


def _as_values(number: Number) -> dict[str, Any]:
    return {**number.__dict__, "interval": list(number.interval), "agrees": number.agrees}


def as_text(made: Mapping[str, Any]) -> str:
    """`explain_folder`'s result for the eye."""
    lines = [f"{made['slide_id']}: {made['status']}" + (f" [{';'.join(made['reasons'])}]" if made["reasons"] else "")]
    for n in made["numbers"]:
        value = "null" if n["reported"] is None else f"{n['reported']:.6g} {n['unit']}".rstrip()
        low, high = n["interval"]
        lines += ["", f"{n['name']} = {value}" + ("" if low is None else f"   (95 % interval {low:.6g} to {high:.6g})")]
        lines.append(f"  = {n['formula']}")
        if n["terms"]:
            lines.append(f"  = {n['terms']}")
        if n["counted"] and (n["recomputed"] is not None or not n["agrees"]):
            word = "agrees" if n["agrees"] else "DOES NOT AGREE"
            again = "null" if n["recomputed"] is None else f"{n['recomputed']:.6g}"
            lines.append(f"  = {again}, counted again from the artefacts: {word}")
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
    if made["differences"]:
        lines += ["", "DOES NOT AGREE with what is counted again from the artefacts:"]
        lines += [f"  {difference}" for difference in made["differences"]]
    return "\n".join(lines)
