"""All figures of a cohort: which can be drawn, what they are called, and what must be said below them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tilscore.cohort.page.figassays import N_PANELS, change_panels, draw_changes
from tilscore.cohort.page.figchange import FLOOR_PER_MM2, N_SITES, sites, spaghetti, waterfall
from tilscore.cohort.page.figlevels import baselines, levels
from tilscore.cohort.page.figsurvival import kaplan_meier_figure
from tilscore.cohort.page.figtests import (
    draw_flow,
    draw_forest,
    draw_shifts,
    sensitivity_forest,
    tests_forest,
)
from tilscore.cohort.page.groups import groups_forest
from tilscore.cohort.page.results import PAIRS, CohortResults, rows
from tilscore.cohort.page.style import make_svg
from tilscore.cohort.page.text import BY_ERROR_ALONE, NO_INDEX, reason_words, time_name
from tilscore.cohort.paired.pairs import MEASURES
from tilscore.errors import OutputError
from tilscore.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {"density": "TIL density", "stil": "sTIL area", "calibrated": "calibrated sTIL"}
NAMES = frozenset(
    ["flow", "levels", "sites", "survival", "spaghetti", "by_group", "sensitivity_density", "sensitivity_percent"]
    + ["shifts"]
    + [f"{kind}_{measure.name}" for kind in ("waterfall", "tests") for measure in MEASURES]
    + [f"bland_altman_{name}" for name in PAIRS]
    + ["assay_changes"]
)
"""All figures that a page can have."""


@dataclass(frozen=True)
class Drawn:
    """A figure: its name (and file `figures/<name>.svg`), title, caption and SVG."""

    name: str
    title: str
    caption: str
    svg: str


def draw_figures(found: CohortResults) -> list[Drawn]:
    """Draw every figure that the cohort has data for, and write each to `OUT/figures/<name>.svg`; those of an earlier
    page that are not drawn this time are removed.

    Raises
    ------
    OutputError : the folder cannot be written.
    """
    drawn = [Drawn(name, title, caption, make_svg(name, draw)) for name, title, caption, draw in _wanted(found)]
    for name, svg in found.bland_altman.items():
        caption = "Difference against the mean of each case; bias and limits of agreement with 95 % intervals (shaded)."
        drawn.append(Drawn(f"bland_altman_{name}", f"Agreement: {name.replace('_', ' ')}", caption, svg))
    for figure in drawn:
        write_text(found.out / "figures" / f"{figure.name}.svg", figure.svg)
    for name in NAMES - {figure.name for figure in drawn}:
        path = found.out / "figures" / f"{name}.svg"
        try:
            path.unlink(missing_ok=True)
        except OSError as err:
            raise OutputError("an earlier figure cannot be removed", where=path, found=err.strerror or err) from err
    return drawn


def _wanted(found: CohortResults) -> list[tuple[str, str, str, Callable[[], Figure]]]:
    """Name, title, caption and how to draw, of each figure there is something to show for."""
    wanted: list[tuple[str, str, str, Callable[[], Figure]]] = [
        ("flow", "From slides to pairs" if found.later else "From slides to biopsies", "", partial(draw_flow, found))
    ]
    if not found.later and len(baselines(found)):
        wanted.append(("levels", "Level of each patient", _LEVELS, partial(levels, found)))
    if found.biopsies["til_density_per_mm2"].notna().any():
        wanted.append(("sites", "By site and specimen", _SITES, partial(sites, found)))
    if found.assays is not None and found.km is not None:
        wanted.append(("survival", "Survival by score", _SURVIVAL, partial(kaplan_meier_figure, found.km)))
    if change_panels(found):
        wanted.append(("assay_changes", "Change of the score and other assays", _CHANGES, partial(draw_changes, found)))
    if found.pairs.empty:
        return wanted
    wanted.append(("spaghetti", "Patients over time", _SPAGHETTI, partial(spaghetti, found)))
    for measure in (m for m in MEASURES if m.delta in found.pairs and found.pairs[m.delta].notna().any()):
        title = f"Change of each patient: {TITLES[measure.name]}"
        caption = waterfall_caption(found, measure.name)
        wanted.append((f"waterfall_{measure.name}", title, caption, partial(waterfall, found, measure)))
    if (forest := groups_forest(found)).lines:
        wanted.append(("by_group", "Change of TIL density in groups", _BY_GROUP, partial(draw_forest, forest)))
    for measure in (m for m in MEASURES if rows(found, "tests", measure=m.name)):
        forest = tests_forest(found, measure.name)
        title = f"Tests of change: {TITLES[measure.name]}"
        level = f"{100 * found.analysis['settings']['level']:g} %"
        wanted.append((f"tests_{measure.name}", title, _TESTS.format(level=level), partial(draw_forest, forest)))
    for unit, name in (("log ratio", "density"), ("points", "percent")):
        forest = sensitivity_forest(found, unit)
        if forest.lines:
            what = "densities" if name == "density" else "percentages"
            title = f"Does it hold? Other definitions and choices of pairs: {what}"
            wanted.append((f"sensitivity_{name}", title, _SENSITIVITY, partial(draw_forest, forest)))
    if found.analysis["shifts"]:
        low, high = found.analysis["settings"]["categories_pct"]
        caption = _SHIFTS.format(low=f"{low:g}", high=f"{high:g}")
        wanted.append(("shifts", "Shifts of category", caption, partial(draw_shifts, found)))
    return wanted


def waterfall_caption(found: CohortResults, measure: str) -> str:
    """What the bars of a measure are at each time point, and what marks a patient."""
    said: dict[str, list[str]] = {}
    lacks = set()
    for timepoint in found.later:
        pairs = [r for r in rows(found, "pairs", timepoint=timepoint) if r.get(f"{measure}_rci_basis")]
        lacks |= {r[f"{measure}_rci_reason"] for r in pairs} - {None}
        for basis in sorted({r[f"{measure}_rci_basis"] for r in pairs}):
            tests = rows(found, "tests", timepoint=timepoint, measure=measure, test="wilcoxon_adjusted")
            said.setdefault(_bar(basis, tests), []).append(time_name(timepoint))
    bars = [f"Bar ({', '.join(times)}): {what}." for what, times in said.items()]
    if len(bars) == 1:
        bars = [f"Bar: {what}." for what in said]
    whys = [words for reason, words in NO_INDEX.items() if reason in lacks]
    grey = [f"Not judged, and never in colour: patients where {', or '.join(whys)}."] if whys else []
    return " ".join([*bars, _WATERFALL, *grey])


def _bar(basis: str, tests: list[dict[str, Any]]) -> str:
    if basis == "adjusted":
        return "change without the part that the sampling explains, as the other pairs tell it"
    if tests and tests[0]["status"] != "ok":
        return f"change as measured, not adjusted: {reason_words(tests[0]['reason']).rstrip('.')}"
    return "change as measured, as nothing differs in the sampling that is known"


_SURVIVAL = (
    "Kaplan-Meier curves of patients in groups by their score, with 95 % intervals; a tick where patients are "
    "censored. Groups are not adjusted."
)
_CHANGES = (
    "Each mark is a patient; the lines are no change. Above each panel: Spearman's correlation. Scores are those of "
    "whole biopsies, also where the tests take the block that an assay was made of. Of more than "
    f"{N_PANELS} assays, those with the smallest p are shown: the table holds all."
)
_LEVELS = (
    "Each mark is a patient's biopsy, the line its 95 % interval, the dashed line the median of all. Patients of the "
    "shortlist, where there is one, have their names: a high or low level may be that of the site or specimen."
)
_SITES = (
    "Each mark is a biopsy, the bar the median of at least 3. Levels differ by site and specimen without any "
    f"treatment. At most {N_SITES} sites are shown, those with the most biopsies."
)
_SPAGHETTI = (
    "A line is a patient. Solid: both biopsies are of one specimen type. Dashed: the type changed, and with it the "
    f"level that is read. Medians are of the pairs shown. Densities below {FLOOR_PER_MM2:g} per mm² are drawn there."
)
_WATERFALL = (
    "Line: 95 % interval of the measurement alone, from both biopsies' areas and counts, cut where it leaves the "
    "figure. Open circle: the change as measured. Blue with a triangle up, orange with a triangle down: beyond 1.96 "
    f"standard errors of measurement and adjustment; about 1 patient in 20 gets there {BY_ERROR_ALONE}."
)
_TESTS = (
    "Estimates with {level} intervals, not corrected for the number of time points. The open circle ignores the "
    "sampling: where later biopsies were sampled in another way it is confounded, and must not be reported alone."
)
_BY_GROUP = (
    "Mean change of each group where the sampling is equal, with its interval: least squares, adjusted for what "
    "differs within pairs. Whether two groups differ is told by the table, not by whether their intervals overlap."
)
_SENSITIVITY = (
    "Adjusted Hodges-Lehmann change. Diamond: all pairs. The rows show whether the result depends on the definition or "
    "on the pairs; they are no further tests."
)
_SHIFTS = (
    "Patients; in brackets those with one specimen type at both times. Outlined: same category. {low} and {high} % "
    "belong to the lower category."
)
