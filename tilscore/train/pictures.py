"""Pictures of a training run: its curves, and what the model finds beside what was annotated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.crops import Crop, plain_crop
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.evaluate import predict_crop
from tilscore.files import replacing
from tilscore.labels import CELL_COLOURS, REGION_COLOURS, Cell, Region
from tilscore.network.config import DETECTION_THRESHOLD, MPP, REGION_STRIDE, Calibration
from tilscore.network.nets import TilNet
from tilscore.network.peaks import IDENTITY, Peaks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILE_PX = 256
"""Side of an example at 0.5 um/px: 128 um, a crop of the training."""
BAR_UM = 25.0
_TITLE = 38
"""Letters that fit over a picture."""
_MEAN = "val/f_detection"
"""Of all sets, which is what `patience` follows; the other figures are `val/<set>/...`."""
_TERMS = {"loss": "in all", "detection": "nuclei", "types": "classes", "offset": "places", "regions": "regions"}


def draw_curves(run_folder: Path) -> Path:
    """Draw `curves.png`: the loss and its parts, and the figures on the held-out fields, over the steps.

    Parameters
    ----------
    run_folder : with `log/metrics.csv`, and `log-2`, ... after a resume.

    Raises
    ------
    DataError : the folder has no log of a training run.
    """
    return _save(_curves(_read_log(run_folder)), run_folder / "curves.png")


def _curves(log: pd.DataFrame) -> Figure:
    figure = _figure(12.0, 4.0)
    left, right = figure.subplots(1, 2)
    losses = {k: _TERMS.get(k.removeprefix("train/"), k.removeprefix("train/")) for k in log if k.startswith("train/")}
    _lines(left, log, dict(sorted(losses.items(), key=lambda kv: kv[0] != "train/loss")))
    left.set(title="loss on the training crops", xlabel="optimiser steps")
    if left.lines and min(np.nanmin(np.asarray(line.get_ydata(), float)) for line in left.lines) > 0:
        left.set_yscale("log")
        for ticks in (left.yaxis.set_major_formatter, left.yaxis.set_minor_formatter):
            ticks("{x:g}")
        left.tick_params(axis="y", which="both", labelsize=7)
    scores = _shown_scores(log)
    _lines(right, log, scores)
    right.set(title="figures on the held-out fields", xlabel="optimiser steps", ylabel="F, 0 to 1", ylim=(0, 1.03))
    if not scores:
        right.text(0.5, 0.5, "no field was held out\n(train with --fold)", ha="center", transform=right.transAxes)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def draw_examples(
    net: TilNet,
    samples: list[Sample],
    path: Path,
    *,
    threshold: float = DETECTION_THRESHOLD,
    calibration: Calibration = IDENTITY,
    n: int = 6,
) -> Path:
    """Draw annotated fields twice: as annotated, and as the network sees them.

    Parameters
    ----------
    net : left in the mode it was in.
    samples : of these, `n` spread over the list are shown: the middle 128 um of each, so that nobody chose them.
    path : PNG to write.
    threshold : lowest probability of a nucleus.
    calibration : the model's.

    Raises
    ------
    DataError : there is no field.
    """
    if not samples:
        raise DataError("no field to show", where=path)
    chosen = [samples[i] for i in np.unique(np.linspace(0, len(samples) - 1, n).round().astype(int))]
    was_training = net.training
    net.eval()
    n_columns = min(3, len(chosen))
    n_rows = -(-len(chosen) // n_columns)
    figure = _figure(5.2 * n_columns, 2.75 * n_rows + 0.5)
    axes = figure.subplots(n_rows, 2 * n_columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for i, sample in enumerate(chosen):
        row, column = divmod(i, n_columns)
        crop = _middle(sample)
        found, regions = predict_crop(net, crop, threshold, calibration)
        _draw_pair(axes[row, 2 * column], axes[row, 2 * column + 1], sample, crop, found, regions)
    net.train(was_training)
    _legend(figure)
    return _save(figure, path)


def _draw_pair(left: Axes, right: Axes, sample: Sample, crop: Crop, found: Peaks, small: NDArray[np.uint8]) -> None:
    regions = np.repeat(np.repeat(small, REGION_STRIDE, 0), REGION_STRIDE, 1)
    _draw(left, crop, crop.x_px, crop.y_px, crop.label, crop.regions)
    left.set_title(_title(sample), fontsize=8, loc="left")
    _draw(right, crop, found.x_px, found.y_px, found.types.argmax(axis=1).astype(np.int8), regions)
    right.set_title("found", fontsize=8, loc="left")


def _title(sample: Sample) -> str:
    """Which field it is, no longer than its picture is wide."""
    name, told = f"{sample.source}/{sample.name}", ", annotated" if sample.annotated else ", nothing annotated"
    room = _TITLE - len(told)
    return (name if len(name) <= room else f"{name[: room - 1]}…") + told


def _middle(sample: Sample) -> Crop:
    """The middle `TILE_PX` of a field at 0.5 um/px; all of a smaller one, white around it."""
    whole = plain_crop(sample)
    height, width = (round(v * sample.mpp / MPP) for v in sample.image.shape[:2])
    y, x = (max(0, (v - TILE_PX) // 2) for v in (height, width))
    rows, columns = slice(y, y + TILE_PX), slice(x, x + TILE_PX)
    image = whole.image[rows, columns]
    side = -(-max(image.shape[:2]) // 32) * 32
    pad = ((0, side - image.shape[0]), (0, side - image.shape[1]))
    padded = np.pad(image, (*pad, (0, 0)), constant_values=255)
    return Crop(
        padded,
        whole.x_px - np.float32(x),
        whole.y_px - np.float32(y),
        whole.label,
        np.pad(whole.known[rows, columns], pad),
        np.pad(whole.regions[rows, columns], pad, constant_values=255),
        padded,
    )


def _draw(
    ax: Axes, crop: Crop, x: NDArray[Any], y: NDArray[Any], label: NDArray[np.int8], regions: NDArray[np.uint8]
) -> None:
    picture = crop.image.astype(np.float32)
    for region in (Region.TUMOUR, Region.STROMA, Region.NECROSIS, Region.FAT):
        here = regions == region
        picture[here] += 0.16 * (np.array(REGION_COLOURS[region], np.float32) - picture[here])
    side = crop.image.shape[0]
    ax.imshow(np.round(picture).astype(np.uint8), extent=(0, side, side, 0), interpolation="nearest")
    inside = (x >= 0) & (y >= 0) & (x < side) & (y < side)
    for value in (*Cell, UNTYPED):
        own = inside & (label == value)
        colour = _rgb(CELL_COLOURS[Cell(value)]) if value != UNTYPED else (1.0, 0.85, 0.1)
        ax.scatter(x[own], y[own], s=15, facecolors="none", edgecolors=[colour], linewidths=1.1)
    ax.plot([8, 8 + BAR_UM / MPP], [side - 8, side - 8], color="black", linewidth=2.5, solid_capstyle="butt")
    ax.set(xlim=(0, side), ylim=(side, 0))


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [
        Line2D([], [], ls="", marker="o", mfc="none", color=_rgb(CELL_COLOURS[c]), label=c.name.lower()) for c in Cell
    ]
    entries.append(Line2D([], [], ls="", marker="o", mfc="none", color=(1.0, 0.85, 0.1), label="untyped"))
    shown = (Region.TUMOUR, Region.STROMA, Region.NECROSIS, Region.FAT)
    entries += [Patch(color=_rgb(REGION_COLOURS[r]), alpha=0.5, label=r.name.lower()) for r in shown]
    entries.append(Line2D([], [], color="black", lw=2.5, label=f"{BAR_UM:g} µm"))
    figure.legend(handles=entries, loc="lower center", ncols=len(entries), fontsize=8, frameon=False)
    figure.get_layout_engine().set(rect=(0, 0.06, 1, 0.94))  # type: ignore[union-attr,call-arg]


def _read_log(run_folder: Path) -> pd.DataFrame:
    """All logs of a run, one under the other; of a step that was taken twice, the later."""
    import pandas as pd

    number = {p: int(p.parent.name.partition("-")[2] or 1) for p in run_folder.glob("log*/metrics.csv")}
    tables = [pd.read_csv(p) for p in sorted(number, key=lambda p: number[p])]
    tables = [t for t in tables if "step" in t]
    if not tables:
        raise DataError("no log of a training run", where=run_folder, do="give the run folder of `tilscore train`")
    return pd.concat(tables).groupby("step").last().reset_index()


def _lines(ax: Axes, log: pd.DataFrame, columns: dict[str, str]) -> None:
    """One line a column; those of the whole are thick, classes have their colour, sets their dashes."""
    sets = list(dict.fromkeys(k.split("/")[1] for k in columns if k.startswith("val/") and k != _MEAN))
    colours = {c.name.lower(): _rgb(v) for c, v in CELL_COLOURS.items()} | {"f_detection": (0.0, 0.0, 0.0)}
    for key, name in columns.items():
        values = log[["step", key]].dropna()
        parts = key.split("/")
        look: dict[str, Any] = {"linewidth": 2.2 if parts[-1] in ("loss", "f_detection") else 1.2}
        if key == _MEAN:
            look = {"linewidth": 3.2, "color": "0.65", "zorder": 1.5}
        elif parts[0] == "val":
            look |= {"color": colours.get(parts[-1]), "linestyle": ("-", "--", ":", "-.")[sets.index(parts[1]) % 4]}
        ax.plot(values["step"] + 1, values[key], marker=".", markersize=4, label=name, **look)
    if columns:
        ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.grid(alpha=0.3)


def _shown_scores(log: pd.DataFrame) -> dict[str, str]:
    """The columns of figures on held-out fields that are drawn, and their names: the mean over sets first."""
    shown = [str(k) for k in log if str(k).startswith("val/") and (str(k).endswith("/f_detection") or "/f_class/" in k)]
    return {k: _score_name(k) for k in sorted(shown, key=lambda k: k != _MEAN)}


def _score_name(key: str) -> str:
    if key == _MEAN:
        return "mean detection F1"
    source, _, rest = key.removeprefix("val/").partition("/")
    return f"{source}: detection F1" if rest == "f_detection" else f"{source}: F_c {rest.rpartition('/')[2]}"


def _figure(width_in: float, height_in: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = (v / 255 for v in colour)
    return red, green, blue


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=130)
    return path
