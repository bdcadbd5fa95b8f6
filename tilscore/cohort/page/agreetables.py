"""Agreement as a reader wants it: tables of `agreement.json`, which fit a page that a terminal's text is wider than."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilscore.cohort.agreement.text import FIGURES, columns, show
from tilscore.cohort.page.tables import PageTable, TableRow
from tilscore.errors import printable
from tilscore.inputs.words import several

_NAMES = {
    "ccc": "Lin's concordance (CCC)",
    "mae": "mean absolute difference, points",
    "limit_low": "lower limit of agreement, points",
    "limit_high": "upper limit of agreement, points",
    "kappa_quadratic": "kappa, quadratic weights",
}
"""Figures that the page has more room to name than a terminal."""
_ICC = {"icc1": "ICC(1)", "icc2": "ICC(2,1), agreement", "icc3": "ICC(3,1), consistency"}
_READERS = (("pearson", 3), ("ccc", 3), ("mae", 1), ("bias", 1), ("kappa_quadratic", 3))


def agreement_tables(found: Mapping[str, Any]) -> list[PageTable]:
    """The tables of `agreement.json`; those without a row are left out."""
    result = dict(found)
    return [table for table in (_figures(result), _readers(result), _reliability(result)) if table.lines]


def agreement_text(found: Mapping[str, Any]) -> str:
    """What the tables rest on, in a sentence."""
    n = [several(int(found[f"n_{name}s"]), name) for name in ("case", "reader", "score")]
    return f"{n[0]}, {n[1]}, {n[2]}; points are points of sTIL %."


def _figures(result: dict[str, Any]) -> PageTable:
    """Every figure of every comparison."""
    shown = columns(result)
    lines = []
    for title, key, digits in FIGURES:
        cells = [show(of, prefix + key, digits) for _, of, prefix in shown]
        if any(cell != "-" for cell in cells):
            lines.append(TableRow([_NAMES.get(key, title), *cells]))
    head = [("95 % intervals in brackets", False), *((title, True) for title, _, _ in shown)]
    return PageTable("Figures of agreement", "", head, lines)


def _readers(result: dict[str, Any]) -> PageTable:
    head = [("Reader", False), ("cases", True), ("Pearson r", True), ("CCC", True)]
    head += [("mean absolute difference", True), ("bias", True), ("kappa", True)]
    lines = []
    for row in result.get("by_reader") or []:
        figures = ["-" if row.get(key) is None else f"{row[key]:z.{digits}f}" for key, digits in _READERS]
        lines.append(TableRow([printable(row["reader"]), f"{row['n_cases']:,}", *figures]))
    return PageTable("Each reader against the mean of the others", "", head, lines)


def _reliability(result: dict[str, Any]) -> PageTable:
    shown = [(title, show(result, key, 3)) for key, title in _ICC.items()]
    low, high = result.get("icc1_resampled_low"), result.get("icc1_resampled_high")
    if low is not None and high is not None:
        shown.insert(1, ("ICC(1), interval from resampled cases", f"{low:.3f} to {high:.3f}"))
    if result.get("within_sd") is not None:
        shown.append(("SD within a case, points", f"{result['within_sd']:.1f}"))
    lines = [TableRow(list(row)) for row in shown if row[1] != "-"]
    return PageTable("How alike the readers are", "", [("Of a single score", False), ("estimate (95 %)", True)], lines)
