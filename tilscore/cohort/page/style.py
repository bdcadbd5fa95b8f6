"""The look of a cohort's figures, and how they become SVG: one for the paper, one for the page."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#181c24", "#626a78", "#dde1e7"
UP, DOWN, FLAT = "#0072b2", "#d55e00", "#b8bec8"
"""Increase, decrease, none: apart for every kind of colour vision (Okabe & Ito), and by lightness in print."""
SPECIMENS = {
    "core": ("o", "#0072b2"),
    "resection": ("s", "#d55e00"),
    "excision": ("^", "#009e73"),
    "cytology_block": ("D", "#cc79a7"),
    "other or mixed": ("X", "#626a78"),
}
"""Marker and colour of each specimen."""
PX_PER_PT = 1.4
"""Widest that a figure is shown on the page, so that the text of all figures has one size (12.6 px)."""
MANY = 600
"""Marks from which a layer is kept as pixels: an SVG of more is slow to open."""
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "savefig.dpi": 200,
}
_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def make_svg(name: str, draw: Callable[[], Figure]) -> str:
    """The figure as an SVG file: text stays text, and the same figure gives the same bytes."""
    import matplotlib as mpl

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        stream = io.StringIO()
        draw().savefig(stream, format="svg", metadata={"Date": None, "Creator": "tilscore"})
    return stream.getvalue()


def inline(svg: str, name: str, label: str) -> str:
    """The SVG as a part of a page: no prolog and no metadata, ids that are unique there, a label for readers.

    Parameters
    ----------
    svg : of `make_svg`. name : prefix of its ids. label : what a screen reader says.
    """
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(svg)
    for meta in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(meta)
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif value.startswith("#") and key.endswith("href"):
                element.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    width_pt = float(root.attrib.pop("width").removesuffix("pt"))
    root.attrib.pop("height")
    root.set("style", f"max-width: {PX_PER_PT * width_pt:.0f}px")
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure; its axes keep out of each other's way."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def in_rows(n: int, most: int) -> tuple[int, int]:
    """Rows and columns for `n` panels, at most `most` in a row: more would be too small to read on the page."""
    n_rows = -(-n // most)
    return n_rows, -(-n // n_rows)


def lowest(grid: NDArray[Any], n: int) -> list[Axes]:
    """Of a grid whose first `n` panels are used, the lowest of each column; the others are taken off the figure."""
    panels = grid.ravel()
    for axes in panels[n:]:
        axes.set_axis_off()
    return list(panels[max(n - grid.shape[1], 0) : n])


def log_axis(axis: Any, low: float, high: float, shown: Callable[[float], str] = "{:g}".format) -> None:
    """A logarithmic axis from `low` to `high` with plain numbers at 1, 2, 5 (1 where there are many decades)."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    steps = (1.0,) if high / low > 3000 else (1.0, 3.0) if high / low > 300 else (1.0, 2.0, 5.0)
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = [s * d for d in decades for s in steps if low <= s * d <= high]
    axis.set_ticks(ticks, [shown(t) for t in ticks])
    axis.set_minor_locator(_none())


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def span(values: Iterable[float], least: float = 2.0) -> tuple[float, float]:
    """Limits of a logarithmic axis around positive values, at least the factor `least` apart."""
    known = np.array([v for v in values if np.isfinite(v) and v > 0])
    if not known.size:
        return 1 / least, least
    low, high = known.min() / 1.15, known.max() * 1.15
    room = max(least / (high / low), 1.0) ** 0.5
    return float(low / room), float(high * room)


def specimen_key(specimen: object) -> str:
    """The specimen as the legend has it."""
    return str(specimen) if specimen in SPECIMENS else "other or mixed"


def empty(axes: Axes, text: str) -> None:
    """Say in the middle of a panel why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED, wrap=True)
