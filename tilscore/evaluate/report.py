"""What an evaluation leaves behind: one JSON file, and one HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import DataError, printable
from tilscore.evaluate.plots import froc_plot, reliability_plot
from tilscore.evaluate.predict import FieldResult, by_set
from tilscore.evaluate.tables import CELLS, REGIONS, evaluate_fields
from tilscore.evaluate.worst import KINDS, Mistake, picture, worst
from tilscore.files import write_json, write_text
from tilscore.labels import CELL_COLOURS, Cell

N_WORST = 12
KIND_TITLES = {
    "spurious": "Spurious: cells where the annotation has no nucleus",
    "mistyped": "Misnamed: nuclei of another class",
    "missed": "Missed: nuclei that were not found",
}
CLASS_ROWS = {
    "class/f_c": "F_c (HoVer-Net)",
    "class/f1_joint": "F1 joint",
    "class/precision": "Precision",
    "class/recall": "Recall",
    "class/f1_given_nucleus": "F1 given the nucleus",
    "class/auroc_given_nucleus": "AUROC given the nucleus",
}
ECE_NAMES = {
    "detection": "nucleus",
    "inflammatory": "inflammatory nucleus",
    "inflammatory_given_nucleus": "inflammatory, given the nucleus",
}


def report(
    fields: list[FieldResult],
    *,
    out_json: Path | None = None,
    html: Path | None = None,
    title: str = "Evaluation",
    n_bootstrap: int = 1000,
    seed: int = 1,
    n_worst: int = N_WORST,
) -> dict[str, Any]:
    """Evaluate fields and write what is asked for; the same for one model and for pooled folds.

    Parameters
    ----------
    fields : of `predict_all`, at their operating points.
    out_json : where the values of `tables.evaluate_fields` go.
    html : where the page goes; with the `n_worst` worst errors of each kind and set.
    title : what was evaluated, for both.

    Returns
    -------
    The values that the JSON file holds.

    Raises
    ------
    DataError : no field.
    OutputError : a file cannot be written.
    """
    if not fields:
        raise DataError("no field to evaluate", do="give sets that hold fields, and folds that hold some out")
    values = {"title": printable(title), **evaluate_fields(fields, n_bootstrap=n_bootstrap, seed=seed)}
    if out_json is not None:
        write_json(out_json, values)
    if html is not None:
        write_text(html, render(values, fields, n_worst=n_worst))
    return values


def render(values: dict[str, Any], fields: list[FieldResult], *, n_worst: int = N_WORST) -> str:
    """The page as HTML from the values of `report` and the fields behind them."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(loader=PackageLoader("tilscore"), autoescape=True, undefined=StrictUndefined)
    env.trim_blocks = env.lstrip_blocks = True
    env.filters.update(figure=figure_text, share=_share)
    pools = [
        {**p, "reliability_svg": reliability_plot(p["reliability"]), "froc_svg": froc_plot(p["froc"])}
        for p in values["pools"]
    ]
    errors = [
        (printable(name), [(KIND_TITLES[kind], list(_cards(worst(own, kind, n_worst)))) for kind in KINDS])
        for name, own in by_set(fields).items()
    ]
    return env.get_template("evaluate.html.j2").render(
        values=values,
        pools=pools,
        cells=CELLS,
        regions=REGIONS,
        class_rows=CLASS_ROWS,
        ece_names=ECE_NAMES,
        rates=values["settings"]["froc_rates_per_mm2"],
        colours=[(c.name.lower(), "rgb({}, {}, {})".format(*CELL_COLOURS[c])) for c in Cell],
        errors=errors,
    )


def figure_text(figure: dict[str, Any]) -> str:
    """`0.812 (0.790 to 0.834)`; without the interval, or a dash, where there is none."""
    if figure["value"] is None:
        return "-"
    interval = "" if figure["low"] is None else f" ({figure['low']:.3f} to {figure['high']:.3f})"
    return f"{figure['value']:.3f}{interval}"


def _share(counts: list[int], i: int) -> float:
    """Share of a row's count, 0..1, for the shade of its cell."""
    return counts[i] / max(sum(counts), 1)


def _cards(mistakes: list[Mistake]) -> Iterator[dict[str, str]]:
    for m in mistakes:
        plain, drawn = picture(m)
        x, y = m.at_px
        yield {
            "picture": _jpeg(np.hstack([plain, np.full((len(plain), 4, 3), 255, np.uint8), drawn])),
            "certainty": f"{m.certainty:.3f}",
            "text": f"annotated: {m.true}; model: {m.found}",
            "where": f"{printable(m.field.sample.name)}, pixel ({x:.0f}, {y:.0f})",
        }


def _jpeg(image: NDArray[np.uint8]) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
