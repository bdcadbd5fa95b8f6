"""Curves of an evaluation as SVG."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "detection": "#181c24",
    "nuclei": "#181c24",
    "inflammatory": "#00a06a",
    "inflammatory_given_nucleus": "#1f5ac8",
}
NAMES = {
    "detection": "nucleus",
    "nuclei": "all nuclei",
    "inflammatory": "inflammatory nucleus",
    "inflammatory_given_nucleus": "inflammatory, given the nucleus",
}


def reliability_plot(curves: dict[str, list[dict[str, float]]]) -> str:
    """Share that was right against the probability stated, one line a probability; dots grow with the cases."""
    figure, axes = _axes()
    axes.plot([0, 1], [0, 1], color="#b8bec8", linewidth=1)
    for name, bins in curves.items():
        if bins:
            x, y, n = ([b[k] for b in bins] for k in ("mean_probability", "share_right", "n"))
            sizes = [6 + 60 * v / max(n) for v in n]
            axes.plot(x, y, color=COLOURS[name], linewidth=1.2, label=NAMES[name])
            axes.scatter(x, y, sizes, color=COLOURS[name], linewidths=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability stated", ylabel="share that was right")
    return _uri(figure)


def froc_plot(curves: dict[str, dict[str, list[float]]]) -> str:
    """Sensitivity against false positives per mm2, from 1 to 300."""
    figure, axes = _axes()
    for name, curve in curves.items():
        if curve["sensitivity"]:
            axes.plot(curve["false_per_mm2"], curve["sensitivity"], color=COLOURS[name], label=NAMES[name])
    ticks = [1, 5, 10, 20, 50, 100, 200, 300]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set(xlim=(1, 300), ylim=(0, 1), xlabel="false positives per mm²", ylabel="sensitivity")
    return _uri(figure)


def _axes() -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color="#eceff3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _uri(figure: Figure) -> str:
    """The figure as a data address of an SVG whose bytes depend on its content alone."""
    import matplotlib

    if figure.axes[0].get_legend_handles_labels()[0]:
        figure.axes[0].legend(frameon=False, fontsize=9)
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tilscore", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()
