"""The report of one slide: one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from tilscore import NOTE
from tilscore.errors import printable
from tilscore.files import write_text
from tilscore.labels import CELL_COLOURS
from tilscore.overlay.account import REGIONS
from tilscore.overlay.compose import Title, headline, interval_text
from tilscore.overlay.draw import Picture
from tilscore.overlay.page import NO_DENSITY, count, field_text, number
from tilscore.overlay.panels import CELL_NAMES, Panels
from tilscore.overlay.slidepanel import area_text
from tilscore.score import Score
from tilscore.score.reasons import in_words

LIMITS = (
    "Cell classes were learned on few fields of breast and of colon. Lymphocytes and stromal cells are those most "
    "often taken for each other.",
    "Inflammatory cells are lymphocytes and plasma cells, with some granulocytes, which the guideline leaves out.",
    "Tumour means epithelium. Invasive and in situ carcinoma and benign glands are not told apart, so stroma around "
    "ducts and normal lobules may be counted.",
    "In a lymph node only what lies between the nests of the deposit is scored. The node's own lymphocytes cannot be "
    "told from infiltrate there: compare such a score with care.",
    "The score was not validated for clinical use. A pathologist must look at the pictures before a number is used.",
)

STAIN_NAMES = {
    "od_p90": "Density of the darker tissue (OD, 90th percentile)",
    "saturation_frac": "Saturation",
    "h_red_deg": "Haematoxylin, red against green (degrees)",
    "h_blue_deg": "Haematoxylin, blue against green (degrees)",
    "e_red_deg": "Eosin, red against green (degrees)",
    "e_blue_deg": "Eosin, blue against green (degrees)",
    "between_deg": "Angle between the stains (degrees)",
    "h_p99_od": "Haematoxylin (OD, 99th percentile)",
    "e_p99_od": "Eosin (OD, 99th percentile)",
    "sharpness_median": "Sharpness (fine over coarse structure)",
}
"""The statistics of `tilscore.stain` that have limits."""

DRAWN = {"excluded": "not to be scored", "crush": "crushed", "benign": "benign or in situ (with the stroma around it)"}
"""Parts of the account that only a drawing makes."""


@dataclass(frozen=True)
class Definition:
    """A number with what it means."""

    name: str
    value: str
    unit: str
    meaning: str
    interval: str = ""
    """95 % interval of a number that has one."""
    card: bool = True
    """Whether it is among the large numbers on top."""


def definitions(score: Score) -> list[Definition]:
    """Each number of a score in plain words; without the scores themselves where there are none."""
    size = score.constants.get("area_per_til_um2")
    bed = score.constants.get("bed")
    where = "the given area" if bed == "given" else "the tumour bed"
    if isinstance(bed, Mapping) and bed.get("inside_only"):
        where += " (what lies between the nests of tumour, nothing around them)"
    elif isinstance(bed, Mapping) and "radius_um" in bed:
        where += f" (within {bed['radius_um']:g} µm of tumour{', less around specks' * ('full_reach_um2' in bed)})"
    inside = "Inflammatory cells whose centre lies in"
    share = "The share of evaluable stroma that these cells cover if each takes "
    share += "a fixed area" if size is None else f"{size:g} µm²"
    share += ". Lower than what a pathologist states, who includes the gaps between cells in an infiltrate."
    density = f"{inside} evaluable stroma, divided by the area of that stroma."
    itils = f"{inside} tumour, divided by the area of that tumour. Dying tumour cells can look like them."
    stroma = f"Stroma inside {where}, on tissue that is in focus and free of pen and folds{_without(score)}."
    tumour = f"Epithelium inside {where}{_without(score)}; invasive and benign are not told apart."
    tissue = "All tissue of the slide that is in focus and free of pen and folds."
    scores = [
        Definition(
            "TIL density",
            number(score.til_density_per_mm2),
            "per mm² of stroma",
            density,
            interval_text(score, "til_density_per_mm2"),
        ),
        Definition(
            "sTIL area", number(score.stil_area_pct), "% of stroma", share, interval_text(score, "stil_area_pct")
        ),
        *_share_of_stroma(score),
        Definition("iTIL density", number(score.itil_density_per_mm2), "per mm² of tumour", itils),
        _contact(score),
        Definition("TILs counted", count(score.n_tils), "cells", f"{inside} evaluable stroma."),
    ]
    areas = [
        Definition("Evaluable stroma", area_text(score.stroma_mm2), "mm²", stroma),
        Definition("Tumour in bed", area_text(score.tumour_mm2), "mm²", tumour),
        Definition("Tissue", area_text(score.tissue_mm2), "mm²", tissue),
    ]
    return scores + areas if score.status == "ok" else areas


def _share_of_stroma(score: Score) -> list[Definition]:
    """The numbers that include the gaps between cells."""
    around = score.constants.get("infiltrated")
    radius = f"{around['radius_um']:g} µm" if isinstance(around, Mapping) else "a declared distance"
    near = f"The share of evaluable stroma within {radius} of a TIL, small gaps between TILs closed."
    unit = "% of stroma"
    sure = interval_text(score, "infiltrated_area_pct")
    out = [Definition("Infiltrated area", number(score.infiltrated_area_pct), unit, near, sure)]
    if score.calibrated_stil_pct is not None:
        curve = f"What pathologists state for such a slide, by calibration {score.constants.get('calibration_ident')}."
        sure = interval_text(score, "calibrated_stil_pct")
        out.append(Definition("Calibrated sTIL", number(score.calibrated_stil_pct), unit, curve, sure))
    return out


def _contact(score: Score) -> Definition:
    meaning = "Inflammatory cells in tumour or in stroma that touches it, divided by the area of both."
    value = number(score.contact_itil_density_per_mm2)
    return Definition("iTILs with contact", value, "per mm² of tumour and contact", meaning, card=False)


def _without(score: Score) -> str:
    """What was drawn on this slide and left out, for the end of a sentence."""
    left_out = [row["part"] for row in score.account if row["part"] in DRAWN and row["mm2"] > 0]
    return ", without what was drawn as " + " or ".join(DRAWN[part] for part in left_out) if left_out else ""


def write_report(path: Path, panels: Panels, score: Score, title: Title, notes: Mapping[str, Any]) -> None:
    """Write `report.html`; parameters as for `render_report`.

    Raises
    ------
    OutputError : the folder cannot be written.
    """
    write_text(path, render_report(panels, score, title, notes))


def render_report(panels: Panels, score: Score, title: Title, notes: Mapping[str, Any]) -> str:
    """The report as HTML.

    Parameters
    ----------
    panels : the pictures and accounts of the slide.
    notes : provenance, nested as wanted. `seconds` (stage to seconds) and `config` get tables of their own. Of paths
        (`path` of `slide`, and those of settings) the name of the file is shown.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(loader=PackageLoader("tilscore"), autoescape=True, undefined=StrictUndefined)
    env.trim_blocks = env.lstrip_blocks = True
    env.filters.update(jpeg=jpeg_uri, png=png_uri, rgb=_rgb, area=area_text, count=count, words=in_words, number=number)
    seconds = notes.get("seconds")
    return env.get_template("report.html.j2").render(
        title=Title(printable(title.slide_id), printable(title.model), title.mpp_um, printable(title.mpp_source)),
        panels=panels,
        letters=list(zip("ABC", (panels.overview, panels.regions, panels.heat), strict=True)),
        scored=score.status == "ok",
        state=headline(score),
        reasons=list(score.reasons),
        definitions=definitions(score),
        exclusions=[row for row in score.account if row["mm2"] > 0],
        stain=score.stain.get("findings", []),
        stain_names=STAIN_NAMES,
        cores=[core for core in score.cores if core["core"] or core["stroma_mm2"] > 0],
        regions=REGIONS,
        cells=[(CELL_COLOURS[row.cell], CELL_NAMES[row.cell].split(",")[0], row) for row in panels.cell_rows],
        fields=[(p, field_text(p, score.status == "ok")) for p in panels.fields],
        ticks=[(100 * float(panels.scale.place(np.array(t))), t) for t in panels.scale.ticks],
        bar=panels.scale.bar(600, 24),
        provenance=list(flatten(_provenance(notes))),
        seconds=list(flatten(seconds)) if isinstance(seconds, Mapping) else [],
        config=[(name, PurePath(value).name or value) for name, value in flatten(notes.get("config", {}))],
        limits=LIMITS,
        disclaimer=NOTE,
        no_density=NO_DENSITY,
    )


def _provenance(notes: Mapping[str, Any]) -> dict[str, Any]:
    """The notes without times and settings, which have tables of their own; of the slide's path the file name alone.

    A page is handed on: names of folders, which can be those of patients and users, stay in `provenance.json`.
    """
    rest = {k: v for k, v in notes.items() if k not in ("seconds", "config")}
    if isinstance(slide := rest.get("slide"), Mapping) and "path" in slide:
        named = {"file": PurePath(str(slide["path"])).name}
        rest["slide"] = named | {k: v for k, v in slide.items() if k != "path"}
    if isinstance(made := rest.get("made_with"), Mapping):
        settings = notes.get("config", {})
        rest["made_with"] = {s: {k: v for k, v in what.items() if k not in (s, *settings)} for s, what in made.items()}
    return rest


def flatten(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings and lists as lines of a dotted name and a printable value."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from flatten(part, f"{name}.{printable(key)}" if name else printable(key))
    elif isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
        for i, part in enumerate(value):
            yield from flatten(part, f"{name}[{i}]")
    elif isinstance(value, list | tuple):
        yield name, printable(", ".join(str(part) for part in value) or "none", 500)
    else:
        yield name, printable("none" if value is None or value == "" else value, 500)


def _rgb(colour: tuple[int, int, int]) -> str:
    return f"rgb({int(colour[0])}, {int(colour[1])}, {int(colour[2])})"


def _uri(picture: Picture, kind: str, **options: Any) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def jpeg_uri(picture: Picture) -> str:
    """The picture as a data address; colours are not subsampled, so that thin lines stay sharp."""
    return _uri(picture, "JPEG", quality=88, subsampling=0)


def png_uri(picture: Picture) -> str:
    """The picture as a data address, without loss."""
    return _uri(picture, "PNG")
