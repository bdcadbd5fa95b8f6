"""The result at each time point in words: what changed, and what the sampling may have feigned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilscore.cohort.page.results import CohortResults, rows
from tilscore.cohort.page.text import (
    BY_ERROR_ALONE,
    MEASURES,
    NO_INDEX,
    estimate_text,
    factors,
    p_text,
    percent_change,
    ratio_text,
    reason_words,
    time_name,
)
from tilscore.cohort.paired.pairs import is_known
from tilscore.inputs.words import several


@dataclass(frozen=True)
class Headline:
    """The result at one time point.

    Attributes
    ----------
    time : the time point in words. kind : `up`, `down`, `open` (no change shown) or `none` (no result).
    verdict : one sentence. number : the estimate with its interval, or a dash. detail : pairs and p.
    more : further sentences. sampling : what differs within pairs and what of it was adjusted for.
    """

    time: str
    kind: str
    verdict: str
    number: str
    detail: str
    more: list[str]
    sampling: list[str]


def headlines(found: CohortResults) -> list[Headline]:
    """The primary result on TIL density at each later time point."""
    return [_headline(found, timepoint) for timepoint in found.later]


def _headline(found: CohortResults, timepoint: str) -> Headline:
    time = time_name(timepoint)
    tests = {row["test"]: row for row in rows(found, "tests", timepoint=timepoint, measure="density")}
    row = tests.get("wilcoxon_adjusted")
    said = _sampling(found, timepoint)
    if row is None or row["status"] != "ok":
        why = reason_words(row["reason"] if row else "no pair has a score at both times")
        more = [_naive(tests)] if row else []
        return Headline(time, "none", f"No result for the {time} biopsy: {why}", "-", "", [m for m in more if m], said)
    n_times = sum(1 for r in rows(found, "tests", measure="density", test="wilcoxon_adjusted") if r["p"] is not None)
    alpha = float(found.analysis["settings"]["alpha"])
    number = ratio_text(row)
    detail = f"{several(row['n_pairs'], 'pair')}, p\u00a0=\u00a0{p_text(row['p'])}"
    if n_times > 1:
        detail += f", {p_text(row['p_holm'])} after correction for {n_times} time points (Holm)"
    kind, verdict = _verdict(row, time, alpha)
    more = [_points(found, timepoint, name) for name in ("stil", "calibrated")]
    more += [_reliable(found, timepoint), *_groups(found, timepoint, alpha), _detectable(found, timepoint, kind)]
    more.append(_naive(tests))
    return Headline(time, kind, verdict, number, detail, [m for m in more if m], said)


def _verdict(row: dict[str, Any], time: str, alpha: float) -> tuple[str, str]:
    if row["p"] < alpha and math.isclose(row["ratio"], 1):
        same = "but the typical change is none: most densities stayed as they were."
        return "open", f"At the {time} biopsy TIL density differed from baseline in some patients, {same}"
    word = "higher" if row["ratio"] > 1 else "lower"
    kind = "up" if row["ratio"] > 1 else "down"
    corrected = row["p"] if row["p_holm"] is None else row["p_holm"]
    if corrected < alpha:
        return kind, f"At the {time} biopsy TIL density was {word} than at baseline."
    if row["p"] < alpha:
        return (
            "open",
            f"At the {time} biopsy TIL density seemed {word}, but not after correction for the number of time points.",
        )
    low = "any fall" if row["ratio_low"] is None else percent_change(row["ratio_low"])
    high = "any rise" if row["ratio_high"] is None else percent_change(row["ratio_high"])
    return (
        "open",
        f"At the {time} biopsy no change of TIL density was shown; the data fit with anything from {low} to {high}.",
    )


def _points(found: CohortResults, timepoint: str, measure: str) -> str:
    for row in rows(found, "tests", timepoint=timepoint, measure=measure, test="wilcoxon_adjusted"):
        name = MEASURES[measure]
        name = name[0].upper() + name[1:] if measure == "calibrated" else name
        if row["status"] != "ok":
            return f"{name}: {reason_words(row['reason'])}"
        corrected = "" if row["p_holm"] == row["p"] else f", {p_text(row['p_holm'])} after correction"
        return f"{name}: {estimate_text(row)} points (p\u00a0=\u00a0{p_text(row['p'])}{corrected})."
    return ""


def _reliable(found: CohortResults, timepoint: str) -> str:
    """How many single changes are beyond measurement error, and how many cannot be judged."""
    pairs = rows(found, "pairs", timepoint=timepoint)
    known = [word for word in (row.get("density_reliable") for row in pairs) if word]
    lacking: dict[str, int] = {}
    for row in pairs:
        if why := row.get("density_rci_reason"):
            lacking[why] = lacking.get(why, 0) + 1
    whys = "; ".join(f"{n} as {NO_INDEX.get(why, why)}" for why, n in lacking.items())
    if not known:
        return f"No single change can be called reliable: {whys or NO_INDEX['no_interval']}."
    up, down = known.count("increase"), known.count("decrease")
    return (
        f"Of {several(len(known), 'patient')}, {up} rose and {down} fell by more than measurement error explains "
        f"({_expected(0.05 * len(known))} would {BY_ERROR_ALONE})." + (f" Not judged: {whys}." if whys else "")
    )


def _expected(n: float) -> str:
    return f"about {n:.0f}" if n >= 0.95 else "less than 1"


def _groups(found: CohortResults, timepoint: str, alpha: float) -> list[str]:
    """Groups of patients whose density changed differently, once corrected."""
    return [
        f"Groups ({row['by']}): the change of {row['group']} was {ratio_text(row)} times that of {row['against']} "
        f"(p\u00a0=\u00a0{p_text(row['p_holm'])}, Holm)."
        for row in rows(found, "by_group", timepoint=timepoint, measure="density", test="difference")
        if row["p_holm"] is not None and row["p_holm"] < alpha
    ]


def _detectable(found: CohortResults, timepoint: str, kind: str) -> str:
    for row in rows(found, "mde", timepoint=timepoint, measure="density", stage="after"):
        if kind == "open" and row["status"] == "ok" and row["ratio"]:
            power = 100 * float(found.analysis["settings"]["power"])
            ends = f"a rise to {row['ratio']:.2f} times or a fall to {1 / row['ratio']:.2f} times the baseline"
            return f"These pairs could show {ends}, or more (power {power:.0f} %)."
    return ""


def _naive(tests: dict[str, dict[str, Any]]) -> str:
    row = tests.get("wilcoxon_naive")
    if row is None or row["status"] != "ok" or "confounded" not in (row["flag"] or ""):
        return ""
    return f"Without adjustment it would read {ratio_text(row)}: confounded, not to be reported alone."


def _sampling(found: CohortResults, timepoint: str) -> list[str]:
    """What differs in the sampling of the pairs, and what of it could not be adjusted for."""
    pairs = rows(found, "pairs", timepoint=timepoint)
    if not pairs:
        return []
    n, said = len(pairs), []
    for name, word in (("specimen", "specimen type"), ("site", "site")):
        sides = [(row[f"{name}_before"], row[f"{name}_after"]) for row in pairs]
        n_unknown = sum(not (is_known(before) and is_known(after)) for before, after in sides)
        if n_apart := sum(not row[f"same_{name}"] for row in pairs) - n_unknown:
            said.append(f"{n_apart} of {n} pairs differ in {word}")
        if n_unknown:
            said.append(f"in {n_unknown} of {n} pairs the {word} is unknown or mixed")
    both = [(row["stroma_mm2_before"], row["stroma_mm2_after"]) for row in pairs]
    known = [after / before for before, after in both if before and after]
    if known and not 0.8 < (middle := float(np.median(known))) < 1.25:
        said.append(f"later biopsies show {middle:.2g} times the stroma (median)")
    for row in rows(found, "tests", timepoint=timepoint, measure="density", test="wilcoxon_adjusted"):
        if row["status"] == "ok":
            said.append(
                f"adjusted for {factors(row['adjusted_for'])}" if row["adjusted_for"] else "nothing adjusted for"
            )
            if row["not_adjusted_for"]:
                said.append(f"NOT adjusted for {factors(row['not_adjusted_for'])}: it differs, or may differ, too")
    return said
