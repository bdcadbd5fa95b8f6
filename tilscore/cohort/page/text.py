"""The results of a cohort in words: what changed, what the sampling may have feigned, and how it was done."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilscore.cohort.page.results import CohortResults, rows
from tilscore.cohort.paired.pairs import is_known
from tilscore.inputs.words import several
from tilscore.score.sites import SITES, SPECIMENS

MEASURES = {"density": "TIL density", "stil": "sTIL area", "calibrated": "calibrated sTIL"}
NO_LIMIT = "no limit"
"""Said for the end of an interval that does not exist."""
BY_ERROR_ALONE = (
    "by measurement error alone; two biopsies of an unchanged tumour differ by more than that, as an interval holds "
    "the sampling within the tissue seen"
)
NO_INDEX = {
    "rare_difference": "too few other pairs differ in that way",
    "high_leverage": "the other pairs tell too little of such a difference",
    "sampling_differs": "specimen or site differ and are not adjusted for",
    "no_interval": "there is no interval",
}
"""Why a patient's change is not called reliable or not, by `rci_reason` of the pairs."""
_STALE = "in this folder are of another manifest or other scores than this analysis, and are left out"
FACTORS = {"area": "evaluable area", "cores": "number of cores", "specimen": "specimen type", "site": "site"}


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


def time_name(timepoint: str) -> str:
    """`week6` as `week 6`."""
    head = timepoint.rstrip("0123456789")
    return f"{head} {timepoint[len(head) :]}" if head not in ("", timepoint) else timepoint


def percent_change(ratio: float) -> str:
    """A ratio as `41 % less` or `69 % more`; beyond a doubling as `2.3 times`."""
    if ratio > 2:
        return f"{ratio:.1f} times as much"
    return f"{100 * (ratio - 1):.0f} % more" if ratio >= 1 else f"{100 * (1 - ratio):.0f} % less"


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


def notes(found: CohortResults) -> list[str]:
    """What a reader must not miss: the notes of the analysis, those on adjustment as one for each time point."""
    said = [n.replace("(listed in flow.left_out)", "(listed below)") for n in found.analysis["notes"]]
    said = [n for n in said if not n.startswith("The change of ")]
    if not found.later:  # nothing of change was asked for
        said = [n for n in said if not n.startswith("The mixed model was not fitted")]
    for timepoint in found.later:
        groups: dict[str, list[str]] = {}
        for row in rows(found, "tests", timepoint=timepoint, role="primary"):
            name = MEASURES.get(row["measure"], row["measure"])
            if row["status"] != "ok":
                groups.setdefault(f"is {row['status'].replace('_', ' ')}: {reason_words(row['reason'])}", []).append(
                    name
                )
            elif row["not_adjusted_for"]:
                lack = factors(row["not_adjusted_for"])
                groups.setdefault(f"is not adjusted for {lack}: it differs, or may differ, within pairs.", []).append(
                    name
                )
        said += [f"{time_name(timepoint)}: the change of {', '.join(g)} {what}" for what, g in groups.items()]
    said += [f"The results of cohort {verb} {_STALE}: run cohort {verb} again (or analyse)." for verb in found.stale]
    return [text[:1].upper() + text[1:] for text in said]


def score_text(result: Mapping[str, Any] | None) -> str:
    """Which score of which biopsy a ranking, or tests of assays, are about; "" where it does not tell."""
    s = (result or {}).get("settings") or {}
    if s.get("measure") not in MEASURES or not s.get("timepoint"):
        return ""
    by = {"change": " The list goes by the change against baseline.", "either": " The list goes by level or change."}
    if s.get("change"):
        how = "as a ratio" if s["measure"] == "density" else "in points"
        what = f"change of {MEASURES[s['measure']]} from baseline to the {time_name(s['timepoint'])} biopsy"
        return f"Score: {what}, {how}."
    return f"Score: {MEASURES[s['measure']]} of the {time_name(s['timepoint'])} biopsy.{by.get(str(s.get('by')), '')}"


def factors(text: str) -> str:
    """`specimen;area` in words."""
    names = [FACTORS.get(name, name).replace("_", " ") for name in text.split(";")]
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def prose(text: str) -> str:
    """A sentence of a table as the page writes it: `/mm2` as /mm², `week6` as week 6, `lymph_node` in two words."""
    text = re.sub(r"\bmm2\b", "mm²", re.sub(r"\b(week|day)(\d+)\b", r"\1 \2", text))
    for name in (name for name in (*SITES, *SPECIMENS) if "_" in name):
        text = text.replace(name, name.replace("_", " "))
    return text


def items(text: str) -> list[str]:
    """The parts of a text between semicolons; what stands in brackets stays together."""
    parts, depth = [""], 0
    for piece in re.split(r"(; |[()])", text):
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if piece == "; " and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def reason_words(reason: str | None) -> str:
    """A reason as `analyse` states it, `code: text`, as a sentence."""
    code, _, text = (reason or "no reason is given").partition(": ")
    code = code.replace("_", " ")
    return f"{code} ({text})." if text else f"{code}."


def ratio_text(row: dict[str, Any]) -> str:
    """`1.54 (1.21 to 2.30)`, or a dash."""
    return interval_text([row.get(k) for k in ("ratio", "ratio_low", "ratio_high")], "{:.2f}", "{:.2f}")


def estimate_text(row: dict[str, Any]) -> str:
    """`+0.6 (+0.2 to +1.3)`, or a dash; with a digit more where an end that is not 0 would read as 0."""
    values = [row.get(k) for k in ("estimate", "low", "high")]
    shape = "{:+z.2f}" if any(v is not None and 0 < abs(v) < 0.05 for v in values) else "{:+z.1f}"
    return interval_text(values, shape, "{:+z.2f}")


def interval_text(values: list[Any], shape: str, alone: str) -> str:
    """A value with its limits, of which one may not exist; without both, the value alone."""
    value, low, high = values
    if value is None or (low is None and high is None):
        return "-" if value is None else alone.format(value)
    ends = [NO_LIMIT if v is None else shape.format(v) for v in (low, high)]
    return f"{shape.format(value)} ({ends[0]} to {ends[1]})"


def p_text(p: float | None) -> str:
    """A p with two significant digits; below 0.0001 as a bound."""
    if p is None:
        return "-"
    if p < 0.0001:
        return "<0.0001"
    return f"{p:.2f}" if p >= 0.095 else f"{p:.3f}" if p >= 0.00095 else f"{p:.4f}"
