"""The change in groups of patients, such as responders and others: a figure of the changes, tables of differences."""

from __future__ import annotations

from typing import Any

from tilscore.cohort.page.figtests import Forest, Mark, mark
from tilscore.cohort.page.results import CohortResults, rows
from tilscore.cohort.page.tables import PageTable, TableRow
from tilscore.cohort.page.text import MEASURES, estimate_text, factors, p_text, ratio_text, reason_words, time_name
from tilscore.errors import printable

_NOTE = (
    "How far the change of one group lies from that of the other, {unit}, where the sampling is equal. Given baseline: "
    "between patients of one baseline, which also sets aside that high scores tend to fall and low ones to rise. Holm: "
    "corrected for the number of time points and groups. Patients were not drawn into these groups at random, unless "
    "they are the arms of a trial: a difference need not be an effect."
)


def groups_forest(found: CohortResults) -> Forest:
    """The change of density in each group of patients, a column a time point."""
    lines: list[tuple[str, bool]] = []
    cells: dict[tuple[int, int], Mark | str] = {}
    table = rows(found, "by_group", measure="density", test="change")
    for by in dict.fromkeys(row["by"] for row in table):
        lines.append((printable(by, 40).replace("_", " "), True))
        for group in dict.fromkeys(row["group"] for row in table if row["by"] == by):
            lines.append((printable(group, 40), False))
            for row in table:
                if (row["by"], row["group"]) == (by, group):
                    cells[len(lines) - 1, found.later.index(row["timepoint"])] = mark(row, True, "plain")
    return Forest(lines, found.later, cells, True)


def group_tables(found: CohortResults) -> list[PageTable]:
    """One table a measure; none where the manifest names no groups."""
    return [table for measure in MEASURES if (table := _of_measure(found, measure)).lines]


def _of_measure(found: CohortResults, measure: str) -> PageTable:
    level = f"{100 * found.analysis['settings']['level']:g} %"
    head = [("Time", False), ("groups", False), ("pairs", True), (f"difference ({level})", True), ("p", True)]
    head += [("p, Holm", True), (f"given baseline ({level})", True), ("p", True)]
    lines = []
    for row in rows(found, "by_group", measure=measure, test="difference"):
        where = {k: row[k] for k in ("measure", "timepoint", "by", "group")}
        given = next(iter(rows(found, "by_group", test="difference_given_baseline", **where)), {})
        ok = row["status"] == "ok"
        n = f"{row['n_pairs']}, {row['n_against']}" if row["group"] is not None else f"{row['n_pairs']}"
        groups = printable(row["by"], 40).replace("_", " ")
        if row["group"] is not None:
            groups += f": {printable(row['group'], 40)} against {printable(row['against'], 40)}"
        cells = [time_name(row["timepoint"]), groups, n, _difference(row), p_text(row["p"]), p_text(row["p_holm"])]
        cells += [_difference(given), p_text(given.get("p"))]
        lines.append(TableRow(cells, _said(row, ok)))
    unit = "as the ratio of the two ratios after / before" if measure == "density" else "in points"
    title = MEASURES[measure]
    return PageTable(title[:1].upper() + title[1:], "by_group", head, lines, _NOTE.format(unit=unit))


def _difference(row: dict[str, Any]) -> str:
    if not row or row["status"] != "ok":
        return "-"
    return ratio_text(row) if row["measure"] == "density" else estimate_text(row)


def _said(row: dict[str, Any], ok: bool) -> list[str]:
    """Why there is no number, and what it is not adjusted for."""
    if not ok:
        return [f"Not evaluable: {reason_words(row['reason'])}"]
    said = [f"Not adjusted for {factors(row['not_adjusted_for'])}."] if row["not_adjusted_for"] else []
    left = row["reason"]
    return [*said, f"{left[:1].upper()}{left[1:]}."] if left else said
