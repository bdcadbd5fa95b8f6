"""The page of a cohort: one HTML file with every result, figure and table, that needs no network and no script."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import tilscore
from tilscore.cohort.page.agreetables import agreement_tables, agreement_text
from tilscore.cohort.page.assaytables import assay_tables
from tilscore.cohort.page.figtests import TESTS, definition_name
from tilscore.cohort.page.figures import Drawn, draw_figures
from tilscore.cohort.page.groups import group_tables
from tilscore.cohort.page.headlines import headlines
from tilscore.cohort.page.methods import methods
from tilscore.cohort.page.results import CohortResults, read_results, rows
from tilscore.cohort.page.style import inline
from tilscore.cohort.page.text import (
    MEASURES,
    estimate_text,
    factors,
    items,
    notes,
    p_text,
    prose,
    ratio_text,
    reason_words,
    score_text,
    time_name,
)
from tilscore.errors import printable
from tilscore.files import write_text
from tilscore.inputs.words import several
from tilscore.overlay.page import number
from tilscore.score.reasons import in_words

TABLES = {
    "slides": "each slide with its score",
    "biopsies": "slides pooled to biopsies",
    "pairs": "each pair with its change",
    "tests": "all tests of change",
    "by_group": "the change in groups of patients, and its differences",
    "model": "coefficients of the model",
    "shifts": "shifts of category",
    "missing": "patients without a pair, and why",
    "mde": "minimum detectable effects",
    "sensitivity": "other definitions and choices of pairs",
    "ranks": "how unusual each patient is",
    "shortlist": "the most unusual patients",
    "centres": "each centre's level against the others'",
    "assays": "tests of other assays",
    "joined": "scores and other assays, one row a patient",
    "km": "survival curves",
    "cox": "Cox models",
}
BOOKS = {
    "tables": "the tables of the analysis as sheets",
    "rank": "ranks, shortlist and centres as sheets",
    "assays": "the tables of the assays as sheets",
}
LIMITS_OF_CHANGE = (
    "A baseline core and a later resection of another site read differently without any treatment. What is adjusted "
    "for rests on the pairs at hand; what was not recorded (tumour content, fixation) is not.",
    "Pairs are not a random sample: who has a second biopsy has mostly progressed. See the section on missing pairs.",
)
LIMITS_OF_LEVELS = (
    "Sites and specimens differ in level without any treatment; what was not recorded (tumour content, fixation) is "
    "not allowed for.",
)
LIMITS = (
    "An interval of a biopsy holds the sampling within the tissue seen, not how a biopsy differs from the rest of the "
    "tumour, nor the error of the model that finds the cells.",
    "The scores were not validated for clinical use. A pathologist must look at the slides' reports first.",
)
_OF_VERBS = {"rank": ("ranks", "shortlist", "centres"), "assays": ("assays", "joined", "km", "cox")}
"""Tables of other verbs."""
N_ROWS = 25
"""Rows that a table of another verb shows before the rest is folded away."""


def write_page(out: Path, results: Path | None = None) -> Path:
    """Write `OUT/cohort.html` and `OUT/figures/*.svg` from what `cohort analyse` (and others) left in `out`.

    Parameters
    ----------
    out : the folder of `cohort analyse`. Where `cohort rank` and the assays wrote their JSON there too, and `cohort
        agree` its files there or in `OUT/agreement`, they get sections of their own.
    results : the run's folder (or its `scores.csv`), to link the report of each slide; None: no links.

    Returns
    -------
    Path of the page.

    Raises
    ------
    DataError : there is no analysis in `out`. OutputError : nothing can be written.
    """
    found = read_results(Path(out))
    path = Path(out) / "cohort.html"
    write_text(path, render(found, draw_figures(found), reports(found, results)))
    return path


def render(found: CohortResults, drawn: list[Drawn], links: Mapping[str, str]) -> str:
    """The page as HTML.

    Parameters
    ----------
    drawn : the figures. links : address of the report of each slide that has one, relative to the page.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(loader=PackageLoader("tilscore"), autoescape=True, undefined=StrictUndefined)
    env.trim_blocks = env.lstrip_blocks = True
    env.filters.update(
        number=number, p=p_text, ratio=ratio_text, estimate=estimate_text, time=time_name, reason=reason_words,
        factors=factors, several=several, value=_value, prose=prose, items=items,
        word=lambda text: printable(text).replace("_", " "),
        why=lambda codes: "; ".join(in_words(code) for code in codes.split(";") if code),
    )  # fmt: skip
    paragraphs, references = methods(found)
    return env.get_template("cohort.html.j2").render(
        note=tilscore.NOTE,
        version=found.analysis["versions"]["tilscore"],
        analysis=found.analysis,
        flow=found.analysis["flow"],
        headlines=headlines(found),
        paired=bool(found.later),
        notes=notes(found),
        results=_results(found),
        by_group=group_tables(found),
        figures={figure.name: _shown(figure) for figure in drawn},
        agreement=found.agreement,
        agreed=agreement_tables(found.agreed or {}),
        of_agreement=agreement_text(found.agreed) if found.agreed else "",
        agreement_notes=[str(n) for n in (found.agreed or {}).get("notes") or []],
        patients=_patients(found, links),
        alone=_alone(found, links),
        left_out=[(row, links.get(row["slide_id"])) for row in found.analysis["flow"]["left_out"]],
        missing=_missing(found),
        tests_names=TESTS,
        measures=MEASURES,
        definition=definition_name,
        rank=found.rank,
        of_rank=score_text(found.rank),
        of_assays=score_text(found.assays),
        assays=None if found.assays is None else assay_tables(found.assays),
        assay_notes=[] if found.assays is None else [str(n) for n in found.assays.get("notes") or []],
        n_rows=N_ROWS,
        tables=_tables(found),
        books=_books(found),
        methods=paragraphs,
        references=references,
        limits=(*(LIMITS_OF_CHANGE if found.later else LIMITS_OF_LEVELS), *LIMITS),
    )


def _tables(found: CohortResults) -> dict[str, str]:
    """The tables that are there, each with what it holds, but for those of stale results."""
    stale = {table for verb in found.stale for table in _OF_VERBS[verb]}
    return {t: what for t, what in TABLES.items() if t not in stale and (found.out / f"{t}.csv").is_file()}


def _books(found: CohortResults) -> dict[str, str]:
    """The workbooks that are there, each with what it holds, but for those of stale results."""
    return {b: what for b, what in BOOKS.items() if b not in found.stale and (found.out / f"{b}.xlsx").is_file()}


def reports(found: CohortResults, results: Path | None) -> dict[str, str]:
    """Slide to the address of its report as seen from the page; slides without a report are left out."""
    if results is None:
        return {}
    folder = Path(results) if Path(results).is_dir() else Path(results).parent
    links = {}
    for slide in found.slides["slide_id"]:
        report = folder / slide / "report.html"
        if Path(slide).name == slide and report.is_file():
            links[slide] = quote(Path(os.path.relpath(report.resolve(), found.out.resolve())).as_posix())
    return links


def _shown(figure: Drawn) -> dict[str, Any]:
    """A figure for the template: our own SVG becomes part of the page, one of another verb stays a picture."""
    from markupsafe import Markup

    shown: dict[str, Any] = {"name": figure.name, "title": figure.title, "caption": figure.caption}
    if figure.name.startswith("bland_altman"):
        data = base64.b64encode(figure.svg.encode()).decode()
        return shown | {"svg": None, "uri": f"data:image/svg+xml;base64,{data}"}
    return shown | {"svg": Markup(inline(figure.svg, figure.name, figure.title)), "uri": None}


def _results(found: CohortResults) -> list[dict[str, Any]]:
    """The primary test of every measure and time point."""
    return [
        row | {"text": ratio_text(row) if row["measure"] == "density" else estimate_text(row)}
        for timepoint in found.later
        for row in rows(found, "tests", timepoint=timepoint, role="primary")
    ]


def _slides(found: CohortResults, links: Mapping[str, str]) -> dict[tuple[str, str], list[tuple[str, str | None]]]:
    """The scored slides of each biopsy with their reports."""
    slides: dict[tuple[str, str], list[tuple[str, str | None]]] = {}
    scored = found.slides[found.slides["status"] == "ok"]
    for slide, patient, time in zip(scored["slide_id"], scored["patient_id"], scored["timepoint"], strict=True):
        slides.setdefault((patient, time), []).append((slide, links.get(slide)))
    return slides


def _patients(found: CohortResults, links: Mapping[str, str]) -> list[dict[str, Any]]:
    """The pairs with the reports of both biopsies' slides."""
    slides = _slides(found, links)
    return [
        row
        | {"slides_before": slides.get((row["patient_id"], "baseline"), [])}
        | {"slides_after": slides.get((row["patient_id"], row["timepoint"]), [])}
        for row in found.analysis["pairs"]
    ]


def _alone(found: CohortResults, links: Mapping[str, str]) -> list[dict[str, Any]]:
    """The scored biopsies that are in no pair, with the reports of their slides."""
    slides = _slides(found, links)
    paired = {(row["patient_id"], time) for row in found.analysis["pairs"] for time in ("baseline", row["timepoint"])}
    listed = found.biopsies[found.biopsies["til_density_per_mm2"].notna()]
    return [
        {name: row[name] for name in ("patient_id", "timepoint", "specimen", "site", "til_density_per_mm2")}
        | {"response": row.get("response", ""), "slides": slides.get((row["patient_id"], row["timepoint"]), [])}
        for row in listed.to_dict("records")
        if (row["patient_id"], row["timepoint"]) not in paired
    ]


def _missing(found: CohortResults) -> list[dict[str, Any]]:
    """For each time point: patients without a pair by reason, and the tests of dependence on the baseline."""
    out = []
    for timepoint in found.later:
        counts: dict[str, int] = {}
        for row in rows(found, "missing", timepoint=timepoint):
            why = _why(row)
            counts[why] = counts.get(why, 0) + 1
        tests = {row["test"]: row for row in rows(found, "tests", timepoint=timepoint, measure="missingness")}
        listed = sorted(counts.items(), key=lambda c: -c[1])
        out.append({"time": time_name(timepoint), "counts": listed, "tests": tests})
    return out


def _why(row: Mapping[str, str]) -> str:
    if row["later"] == "no_slide":
        return "not sampled at this time"
    sides = [(name, row[name]) for name in ("baseline", "later") if row[name] != "ok"]
    return " and ".join(f"{name} {'not sampled' if state == 'no_slide' else printable(state)}" for name, state in sides)


def _value(value: Any) -> str:
    """Any value of a table as short text."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value}"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return printable(value, 400)
