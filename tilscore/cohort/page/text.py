"""The words of a cohort's page: names, estimates, p values, reasons, and the notes of the analysis."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tilscore.cohort.page.results import CohortResults, rows
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


def time_name(timepoint: str) -> str:
    """`week6` as `week 6`."""
    head = timepoint.rstrip("0123456789")
    return f"{head} {timepoint[len(head) :]}" if head not in ("", timepoint) else timepoint


def percent_change(ratio: float) -> str:
    """A ratio as `41 % less` or `69 % more`; beyond a doubling as `2.3 times`."""
    if ratio > 2:
        return f"{ratio:.1f} times as much"
    return f"{100 * (ratio - 1):.0f} % more" if ratio >= 1 else f"{100 * (1 - ratio):.0f} % less"


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
