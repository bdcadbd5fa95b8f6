"""What speaks for caution about a patient's place, one sentence each."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tilscore.cohort.manifest.pool import MIXED
from tilscore.cohort.paired.pairs import UNKNOWN, is_known
from tilscore.cohort.rank.placement import RankConfig

SMALL_STROMA_MM2 = 0.5
"""Below, a biopsy shows too few fields for its density to be taken at face value."""
WIDE = 4.0
"""Upper over lower limit of a density from which its interval is called wide."""
NARROW_PER_MM2 = 100.0
"""An interval of less than this from end to end is never called wide: near 0 every ratio is large."""
OF_SLIDES = {
    "stain_out_of_range": "stain beyond what the model was trained on",
    "blurred": "less sharp than what the model was trained on",
    "low_resolution": "coarser than what the model reads",
    "upsampled": "far coarser than what the model reads",
    "mpp_differs_from_file": "resolution given by hand, not the one that the file states",
    "mpp_against_objective": "resolution does not fit the objective",
    "little_tumour": "very little tumour",
    "no_tumour_in_area": "hardly any tumour in the given area",
    "lymphoid_aggregates": "lymphoid aggregates are counted",
}
"""By the code of a slide's reasons; what its sampling or its interval tells besides is not told twice."""
SEPARATOR = "; "


def add_cautions(ranks: pd.DataFrame, mine: pd.DataFrame, others: pd.DataFrame, cfg: RankConfig) -> pd.DataFrame:
    """The table of ranks with `cautions` of each place, "" where there is none.

    Parameters
    ----------
    ranks : as `rank_tables` makes it. mine, others : the biopsies, as from `pool_biopsies`.
    """
    of = {(b["patient_id"], b["timepoint"]): b for b in mine.to_dict("records")}
    first = {r["patient_id"]: r for _, r in ranks[ranks["timepoint"] == "baseline"].iterrows() if r["kind"] == "level"}
    reference = others[(others["timepoint"] == cfg.timepoint) & others[cfg.what.column].notna()]
    said = []
    for _, row in ranks.iterrows():
        texts: list[str] = []
        if row["status"] == "ok":
            times = ["baseline", row["timepoint"]] if row["kind"] == "change" else [row["timepoint"]]
            biopsies = [of.get((row["patient_id"], time), {}) for time in times]
            at_first = first.get(row["patient_id"]) if row["kind"] == "change" else None
            texts = [*_sampling(row), *_interval(row)]
            texts += [] if at_first is None else _sampling(at_first, " at baseline")
            texts += [*_slides(biopsies, times), *_settings(biopsies, others)]
            texts += _centre(row, reference, cfg) if row["kind"] == "level" else []
        said.append(SEPARATOR.join(dict.fromkeys(texts)))
    return ranks.assign(cautions=said)


def _sampling(row: pd.Series, when: str = "") -> list[str]:
    said: list[str] = []
    area: Any = row["stroma_mm2"]
    if pd.notna(area) and area < SMALL_STROMA_MM2:
        said.append(f"only {area:.2g} mm2 of stroma{when}")
    for name in ("specimen", "site"):
        if not is_known(row[name]):
            said.append(f"{name} {row[name] if row[name] == MIXED else UNKNOWN}{when}")
    return said


def _interval(row: pd.Series) -> list[str]:
    said = []
    low, high = row["value_low"], row["value_high"]
    if pd.isna(low) or pd.isna(high):
        said.append("no interval of its own")
    elif row["unit"] in ("TILs/mm2", "ratio") and high > WIDE * max(low, 1e-9) and not _is_narrow(row):
        said.append(f"wide interval ({number(low)} to {number(high)} {row['unit']})")
    if pd.isna(row["percentile_adjusted"]) and row["not_adjusted_because"]:
        said.append(f"not adjusted ({row['not_adjusted_because'].replace(SEPARATOR, ', ')})")
    return said


def _is_narrow(row: pd.Series) -> bool:
    return bool(row["unit"] == "TILs/mm2" and row["value_high"] - row["value_low"] < NARROW_PER_MM2)


def number(value: float) -> str:
    """A density, ratio or number of points: whole from 10 on, else with two digits."""
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _slides(biopsies: list[dict[str, Any]], times: list[str]) -> list[str]:
    """What the slides' own reasons warn of."""
    said = []
    for biopsy, time in zip(biopsies, times, strict=True):
        when = f" at {time}" if len(times) > 1 else ""
        codes = str(biopsy.get("reasons") or "").split(";")
        said += [f"{text}{when}" for code, text in OF_SLIDES.items() if code in codes]
    return said


def _settings(biopsies: list[dict[str, Any]], others: pd.DataFrame) -> list[str]:
    """Whether the biopsies were scored with settings or by a version that scored nothing of the reference."""
    said = []
    for column, text in (("settings", "settings"), ("version", "a version of tilscore")):
        theirs = set(";".join(others[column].fillna("").astype(str)).split(";")) - {""} if column in others else set()
        ours = set(";".join(str(b.get(column) or "") for b in biopsies).split(";")) - {""}
        if theirs and ours - theirs:
            said.append(f"scored with {text} ({', '.join(sorted(ours - theirs))}) unlike the reference's")
    return said


def _centre(row: pd.Series, reference: pd.DataFrame, cfg: RankConfig) -> list[str]:
    """Whether the reference holds (enough of) the patient's centre, where it states centres at all."""
    if "centre" not in reference or (known := reference["centre"].fillna("").astype(str)).eq("").all():
        return []
    stated = row["centre"] if isinstance(row["centre"], str) else ""
    if not stated:
        return ["centre unknown"]
    n = int(((known == stated) & (reference["patient_id"] != row["patient_id"])).sum())
    if n >= cfg.n_min_level:
        return []
    few = (
        "no reference patient is"
        if n == 0
        else "only 1 reference patient is"
        if n == 1
        else f"only {n} reference patients are"
    )
    return [f"{few} of centre {stated}: what its stain and scanner do is not known"]
