"""What `agree` shows: a compact table with intervals, and a folder of Bland-Altman figures and tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilscore.cohort.agreement.figures import others_mean
from tilscore.cohort.tables import write_table
from tilscore.files import replacing, write_json, write_text
from tilscore.stats.agreement import bland_altman
from tilscore.stats.pairfigures import pooled_pairs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FIGURES = (
    ("Pearson r", "pearson", 3),
    ("Spearman rho", "spearman", 3),
    ("CCC", "ccc", 3),
    ("MAE, points", "mae", 1),
    ("bias, points", "bias", 1),
    ("limit of agreement, low", "limit_low", 1),
    ("limit of agreement, high", "limit_high", 1),
    ("kappa, quadratic", "kappa_quadratic", 3),
)
"""Title, key and decimals of the figures shown."""


def show(found: dict[str, Any], key: str, digits: int) -> str:
    """`0.639 (0.612 to 0.667)`, or a dash where there is none."""
    value = found.get(key)
    if value is None:
        return "-"
    ends = ("from", "to") if "limit_" in key else ("low", "high")
    low, high = (found.get(f"{key}_{end}") for end in ends)
    text = f"{value:z.{digits}f}"
    return text if low is None or high is None else f"{text} ({low:z.{digits}f} to {high:z.{digits}f})"


def as_text(result: dict[str, Any]) -> str:
    """The result of `agree` for a terminal: figures with 95 % intervals, then the notes."""
    lines = [
        f"{result['n_cases']} cases, {result['n_readers']} readers, {result['n_scores']} scores (points = % sTIL)",
        "",
    ]
    width = 27
    for title, key in (("ICC(1)", "icc1"), ("ICC(2,1) agreement", "icc2"), ("ICC(3,1) consistency", "icc3")):
        lines.append(f"{title:<{width}}{show(result, key, 3)}")
    low, high = result["icc1_resampled_low"], result["icc1_resampled_high"]
    if low is not None:
        lines.append(f"{'  ICC(1), cases resampled':<{width}}({low:.3f} to {high:.3f})")
    sd = result["within_sd"]
    lines += [f"{'SD within a case, points':<{width}}{'-' if sd is None else f'{sd:.1f}'}", ""]
    shown = columns(result)
    lines.append((" " * width + "".join(f"{title:<28}" for title, _, _ in shown)).rstrip())
    for title, key, digits in FIGURES:
        cells = [show(found, prefix + key, digits) for _, found, prefix in shown]
        if any(cell != "-" for cell in cells):
            lines.append(f"{title:<{width}}" + "".join(f"{cell:<28}" for cell in cells).rstrip())
    lines += _by_reader(result)
    lines += ["", *(f"- {note}" for note in result["notes"])]
    return "\n".join(lines) + "\n"


def columns(result: dict[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    """Title, dictionary and prefix of each column of figures."""
    if "pearson" in result:
        shown = [("first - second", result, "")]
    else:
        shown = [("one reader, mean of others", result, "loo_"), ("two readers", result, "pairwise_")]
    if "machine" in result:
        machine = result["machine"]
        shown = [
            ("machine, mean of readers", machine, ""),
            ("machine in reader's stead", machine["in_stead"], ""),
            ("reader (yardstick)", machine["reader"], ""),
            ("machine less reader", machine["minus_reader"], ""),
            *shown,
        ]
    return shown


def _by_reader(result: dict[str, Any]) -> list[str]:
    if not result["by_reader"]:
        return []
    lines = ["", f"{'each reader, mean of others':<29}{'cases':>6}{'r':>8}{'CCC':>8}{'MAE':>7}{'bias':>7}{'kappa':>8}"]
    for row in result["by_reader"]:
        cells = [(row["pearson"], 8, 3), (row["ccc"], 8, 3), (row["mae"], 7, 1), (row["bias"], 7, 1)]
        cells.append((row["kappa_quadratic"], 8, 3))
        text = "".join(f"{'-':>{w}}" if v is None else f"{v:>z{w}.{d}f}" for v, w, d in cells)
        lines.append(f"{row['reader'][:28]:<29}{row['n_cases']:>6}{text}")
    return lines


def write_pairs(
    result: dict[str, Any],
    frame: pd.DataFrame,
    machine_scores: pd.Series | None,
    out: Path,
    machine: str,
    min_readers: int,
) -> None:
    """Write the folder of `agree`: of two readers their pairs, else each against the mean of the others."""
    pairs: dict[str, pd.DataFrame] = {}
    names = list(dict.fromkeys(frame["reader"]))
    if len(names) == 2:
        both = frame.pivot(index="case", columns="reader", values="score")[names].dropna().reset_index()
        pairs["pair"] = both.set_axis(["case", "x", "y"], axis=1)
    else:
        left = others_mean(frame, min_readers)
        pairs["leave_one_out"] = left.rename(columns={"score": "x", "others": "y"})
    if machine_scores is not None:
        mean = frame[frame["case"].isin(machine_scores.index)].groupby("case")["score"].mean().rename("y").reset_index()
        pairs["machine"] = mean.assign(x=mean["case"].map(machine_scores))
    titles = {
        "pair": tuple(names),
        "leave_one_out": ("a reader", "mean of the other readers"),
        "machine": (Path(machine).name, "mean of the readers"),
    }
    write_folder(out, result, {k: (*titles[k][:2], v) for k, v in pairs.items()})


def write_folder(out: Path, result: dict[str, Any], pairs: dict[str, tuple[str, str, pd.DataFrame]]) -> None:
    """`agreement.json`, `agreement.txt` and, for each set of pairs, `NAME.csv`, `.svg` and `.png`.

    Parameters
    ----------
    pairs : name -> what x is, what y is, table with columns case, x, y.
    """
    write_json(out / "agreement.json", result)
    write_text(out / "agreement.txt", as_text(result))
    for name, (x, y, table) in pairs.items():
        keep = [c for c in ("case", "reader", "x", "y") if c in table]
        sheet = table[keep].assign(mean=(table["x"] + table["y"]) / 2, difference=table["x"] - table["y"])
        write_table(out / f"{name}.csv", sheet)
        draw(out / f"bland_altman_{name}", x, y, sheet)


def draw(stem: Path, x: str, y: str, sheet: pd.DataFrame) -> None:
    """Bland-Altman plot of columns mean and difference as SVG and PNG, limits with their intervals shaded."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "tilscore", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _plot(axes, sheet)
        axes.set_xlabel(f"mean of the two, % sTIL (n = {len(sheet)})")
        axes.set_ylabel(f"{x} - {y}, points")
        for kind, options in ((".svg", {"metadata": {"Date": None}}), (".png", {"dpi": 150})):
            with replacing(stem.with_name(stem.name + kind)) as beside:
                figure.savefig(beside, format=kind[1:], **options)


def _plot(axes: Axes, sheet: pd.DataFrame) -> None:
    if sheet["case"].duplicated().any():  # several pairs of a case: they are not independent
        pooled = pooled_pairs(sheet["x"], sheet["y"], sheet["case"])
        bias, low_limit, high_limit = (pooled[name] for name in ("bias", "limit_low", "limit_high"))
    else:
        limits = bland_altman(sheet["x"], sheet["y"])
        bias, low_limit, high_limit = limits.bias, limits.low_limit, limits.high_limit
    axes.scatter(sheet["mean"], sheet["difference"], s=9, alpha=0.35, linewidths=0, color="#1f4e79", rasterized=True)
    axes.axhline(0, color="0.6", linewidth=0.8)
    parts = (
        (bias, "bias", "#1f4e79"),
        (low_limit, "limit", "#b03a2e"),
        (high_limit, "limit", "#b03a2e"),
    )
    for figure, title, colour in parts:
        if figure.value is None:
            continue
        axes.axhline(figure.value, color=colour, linewidth=1.2, linestyle="-" if title == "bias" else "--")
        if figure.low is not None and figure.high is not None:
            axes.axhspan(figure.low, figure.high, color=colour, alpha=0.12, linewidth=0)
        axes.annotate(
            f"{title} {figure.value:+z.1f}",
            (1, figure.value),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            color=colour,
        )
    axes.spines[["top", "right"]].set_visible(False)
