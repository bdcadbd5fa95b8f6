"""Tests of other assays and of outcome as a reader wants them: one row an assay, an estimate with its interval."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tilscore.cohort.page.changewords import Words, words_of
from tilscore.cohort.page.tables import PageTable, TableRow
from tilscore.cohort.page.text import factors, interval_text, p_text, reason_words
from tilscore.errors import printable
from tilscore.inputs.words import several
from tilscore.overlay.page import number

Found = Mapping[str, Any]
"""A row of `assays.json`."""
_CODE = re.compile(r"[a-z_]+: ")
_GROUP = re.compile(r".+?: median \S+ \(n \d+\)(?=; |$)", re.DOTALL)
"""A group as `assays` states it; its name may hold a semicolon."""


def assay_tables(found: Found) -> list[PageTable]:
    """The tables of `assays.json`, in the order of reading; those without a row are left out."""
    tests, km, cox = ([dict(r) for r in found.get(name) or []] for name in ("tests", "km", "cox"))
    words = words_of(found)
    of_score = (_correlations(tests, words), _agreements(tests, words), _groups(tests, words))
    return [_once(table) for table in (*of_score, _survival(tests, km), _models(cox)) if table.lines]


def _once(table: PageTable) -> PageTable:
    """What is said beneath each of several lines is said once, beneath the table."""
    if len(table.lines) < 2:
        return table
    shared = [text for text in table.lines[0].said if all(text in line.said for line in table.lines)]
    lines = [TableRow(line.cells, [text for text in line.said if text not in shared]) for line in table.lines]
    return replace(table, lines=lines, note=" ".join(filter(None, [*shared, table.note])))


def _correlations(tests: list[dict[str, Any]], words: Words) -> PageTable:
    head = [("Assay", False), ("patients", True), ("alone (95 %)", True), ("p", True), ("p corrected", True)]
    head += [(f"{words.given} (95 %)", True), ("p", True), ("p corrected", True)]
    rows, partial = _family(tests, "spearman"), {r["assay"]: r for r in _family(tests, "spearman_partial")}
    used = {r["adjusted_for"] for r in partial.values() if r.get("adjusted_for")}
    once = _said_once(rows, partial, words)
    lines = []
    for row in rows:
        with_it = partial.get(row["assay"], {})
        said = [_unmade(row) or _unmade(with_it, words.given)]
        if words.time:
            said += [text for text in _said_of_change(row, with_it, words) if text not in once]
        elif len(used) > 1 and with_it.get("adjusted_for"):
            said.append(f"Adjusted for {_factors(with_it['adjusted_for'])}.")
        said += [] if words.time else [_left(with_it)]
        cells = [_named(row, words), _count(row)]
        for one in (row, with_it):
            cells += [_estimate(one, "{:.2f}"), p_text(one.get("p")), p_text(one.get("p_bh"))]
        lines.append(_line(cells, said))
    if len(used) == 1 and not words.time:
        once = [f"Adjusted for {_factors(used.pop())}."]
    note = " ".join([*once, "p corrected: for the number of assays (Benjamini and Hochberg)."])
    return PageTable(f"Correlation with the {words.score} (Spearman)", "assays", head, lines, note)


def _said_of_change(row: Found, with_it: Found, words: Words) -> list[str]:
    """What a test of changes that was made says of itself, alone and given the sampling, a sentence each."""
    said = []
    for one, what in ((row, "alone"), (with_it, words.given)):
        if one.get("status") == "ok":
            texts = [f"adjusted for {_factors(one['adjusted_for'])}."] if one.get("adjusted_for") else []
            texts += [_reason({"reason": part}) for part in str(one.get("reason") or "").split("; ") if part]
            said += [_capital(f"{what}: {text}") for text in texts]
    return said


def _said_once(rows: Iterable[Found], partial: Mapping[str, Found], words: Words) -> list[str]:
    """Of that, what all tests say that were made: it is said beneath the table."""
    said = [_said_of_change(r, partial.get(r["assay"], {}), words) for r in rows if words.time and r["status"] == "ok"]
    return [text for text in said[0] if all(text in other for other in said)] if said else []


def _named(row: Found, words: Words) -> str | list[str]:
    """An assay and how it is taken, as two lines, or its name alone."""
    taken = words.taken(row)
    return [row["assay"], taken] if taken else str(row["assay"])


def _agreements(tests: list[dict[str, Any]], words: Words) -> PageTable:
    plain = {"ccc_log": "concordance of log ratios"} if words.time else _CONCORDANCES
    head = [("Assay", False), ("patients", True), *((f"{name} (95 %)", True) for name in plain.values())]
    head += [("H&E / assay (95 %)", True), ("limits of agreement", True), ("slope (95 %)", True)]
    rows = _family(tests, "agreement")
    lines = []
    for assay in dict.fromkeys(r["assay"] for r in rows):
        of = {r["test"]: r for r in rows if r["assay"] == assay}
        low, high = (of.get(f"ratio_limit_{end}", {}).get("estimate") for end in ("low", "high"))
        between = "-" if low is None or high is None else f"{low:.2f} to {high:.2f}"
        figures = [_estimate(of.get(test, {}), "{:.2f}") for test in (*plain, "ratio")]
        slope = _estimate(of.get("slope_of_difference", {}), "{:+z.2f}")
        first = next(iter(of.values()))
        lines.append(_line([assay, _count(first), *figures, between, slope], [_unmade(first)]))
    note = (
        "In 95 % of patients the ratio of the densities lies between the limits of agreement. Slope: how the log of "
        "the ratio grows with the log of the density; 0 is none."
    )
    title = "H&E density against densities of other assays"
    if words.time:
        title = f"Change of the H&E density against that of other densities ({words.ratio})"
        note = (
            "H&E / assay: by how much the H&E density rose more than the other one, as a ratio; in 95 % of patients it "
            "lies between the limits of agreement. Slope: how its log grows with the log of the change; 0 is none."
        )
    return PageTable(title, "assays", head, lines, note)


_CONCORDANCES = {"ccc_log": "concordance of logs", "ccc": "concordance"}


def _groups(tests: list[dict[str, Any]], words: Words) -> PageTable:
    head = [("Assay", False), (f"groups: median {words.median}", False), ("patients", True)]
    head += [("difference (95 %)", True), ("p", True), ("p corrected", True)]
    head += [(f"p {words.given}", True), ("p corrected", True)] if words.time else []
    rows, partial = _family(tests, "group"), {r["assay"]: r for r in _family(tests, "group_partial")}
    once = _said_once(rows, partial, words)
    lines = []
    for row in rows:
        unit = str(row.get("unit") or "")
        shape = "{:+z.1f}" if unit.endswith("points") else "{:.2f}"
        difference = [unit, _estimate(row, shape)] if row.get("estimate") is not None else "-"
        text = str(row.get("groups") or "")
        cells = [
            _named(row, words),
            [t.removeprefix("; ") for t in _GROUP.findall(text)] or text,
            _count(row),
            difference,
        ]
        cells += [p_text(row.get("p")), p_text(row.get("p_bh"))]
        said = [_unmade(row) or ("" if words.time else _left(row))]
        if words.time:
            with_it = partial.get(row["assay"], {})
            cells += [p_text(with_it.get("p")), p_text(with_it.get("p_bh"))]
            said += [said[0] or _unmade(with_it, words.given)]
            said += [text for text in _said_of_change(row, with_it, words) if text not in once]
        lines.append(_line(cells, said))
    return PageTable(f"The {words.score} in groups", "assays", head, lines, " ".join(once))


def _survival(tests: list[dict[str, Any]], km: list[dict[str, Any]]) -> PageTable:
    head = [("Outcome", False), ("score", False), ("patients", True), ("events", True), ("median (95 %)", True)]
    lines = []
    for row in _family(tests, "log_rank"):
        both = f"p = {p_text(row.get('p'))}, corrected {p_text(row.get('p_bh'))}."
        test = _unmade(row, "Log-rank test") or f"Log-rank test: {both}"
        groups = [k for k in km if k["outcome"] == row["assay"]]
        for group in groups:
            score = f"{group['group']}: {number(group['least'])} to {number(group['most'])}"
            median = interval_text([group.get(k) for k in ("median", "median_low", "median_high")], "{:.1f}", "{:.1f}")
            median = "not reached" if group.get("median") is None else f"{median} {group['unit'].removesuffix(',')}"
            cells = [
                row["assay"] if group is groups[0] else "",
                score,
                _count(group),
                _count(group, "n_events"),
                median,
            ]
            lines.append(_line(cells, [test] if group is groups[-1] else []))
        if not groups:
            lines.append(_line([row["assay"], "-", _count(row), "-", "-"], [test]))
    return PageTable("Survival in groups of the score", "km", head, lines)


def _models(cox: list[dict[str, Any]]) -> PageTable:
    head = [("Outcome", False), ("term", False), ("hazard ratio alone (95 %)", True), ("p", True)]
    head += [("adjusted (95 %)", True), ("p", True)]
    lines = []
    for outcome in dict.fromkeys(r["outcome"] for r in cox):
        of = {(r["model"], r["term"]): r for r in cox if r["outcome"] == outcome}
        said: set[str] = set()
        for i, term in enumerate(dict.fromkeys(t for _, t in of)):
            both = [of.get((model, term), {}) for model in ("alone", "adjusted")]
            sized = next(r for r in both if r)
            about = [outcome, _sized(sized)] if i == 0 and sized.get("n") is not None else outcome if i == 0 else ""
            cells: list[str | list[str]] = [about, printable(term).replace("_", " ")]
            for row in both:
                cells += [_estimate(row, "{:.2f}", "hazard_ratio"), p_text(row.get("p"))]
            notes = [_unmade(both[0], "Alone"), _unmade(both[1], "Adjusted"), *map(_left, both)]
            if i == 0 and _sized(both[1]) not in ("", _sized(both[0])):
                notes.append(f"Adjusted: {_sized(both[1])}.")
            lines.append(_line(cells, [n for n in notes if n not in said]))
            said |= set(notes)
    note = (
        "Above 1: more events where the term is larger. Not corrected for the number of outcomes. Proportional hazards "
        "were tested for every term; a term that fails says so."
    )
    return PageTable("Cox models", "cox", head, lines, note)


def _family(tests: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [r for r in tests if r.get("family") == name]


def _line(cells: Sequence[str | list[str]], said: Iterable[str]) -> TableRow:
    kept = [[printable(t, 200) for t in c] if isinstance(c, list) else printable(c, 200) for c in cells]
    return TableRow(kept, tuple(printable(s, 400) for s in dict.fromkeys(said) if s))


def _estimate(row: Found, shape: str, name: str = "estimate") -> str:
    return interval_text([row.get(k) for k in (name, "low", "high")], shape, shape)


def _count(row: Found, name: str = "n") -> str:
    return "-" if row.get(name) is None else f"{int(row[name]):,}"


def _sized(row: Found) -> str:
    if row.get("n") is None:
        return ""
    return f"{several(int(row['n']), 'patient')}, {several(int(row['n_events']), 'event')}"


def _factors(text: str) -> str:
    return factors(text.replace("+", ";"))


def _unmade(row: Found, what: str = "") -> str:
    """Why a test was not made; "" where it was, or is not there."""
    if not row or row.get("status") == "ok":
        return ""
    return _capital(f"{what} {row.get('status')}: ".replace("_", " ").strip()) + " " + _reason(row)


def _left(row: Found) -> str:
    """What a test that was made says of itself; "" where it was not made, or says nothing."""
    return _capital(_reason(row)) if row.get("status") == "ok" and row.get("reason") else ""


def _reason(row: Found) -> str:
    text = str(row.get("reason") or "")
    return reason_words(text) if not text or _CODE.match(text) else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
