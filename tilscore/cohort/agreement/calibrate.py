"""From a score to what pathologists would have said: fit, check and store a calibration to sTIL %.

`tilscore.score.calibration` reads and applies it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.cohort.agreement.figures import flat_all
from tilscore.cohort.agreement.readings import choose, need, numbers, percent_scale, read_names, read_table, spellings
from tilscore.errors import UsageError
from tilscore.files import sha256, write_json
from tilscore.stats.agreement import Estimate, Floats
from tilscore.stats.monotone import SEED, HeldOut, fit, nested
from tilscore.stats.pairfigures import interval_of, pooled_pairs, resampled

FORMAT = "tilscore-calibration-1"
LEVEL = 0.95
LEAST_GROUPS = 20
FEW_GROUPS = 60
_FLAT = 1e-6
"""Percent; a map that rises by less is flat."""


def calibrate(
    table: Path,
    *,
    score: str = "til_density_per_mm2",
    truth: str = "stil_pct",
    group: str = "patient_id",
    out: Path | None = None,
    where: str | None = None,
    scale: float | None = None,
) -> dict[str, Any]:
    """Fit the monotone map from `score` to pathologists' sTIL %, with nested cross-validation by patient.

    Parameters
    ----------
    table : CSV, one row a slide or biopsy. score, truth, group : its columns.
    out : where to write the calibration (JSON). where : pandas query that rows must meet.
    scale : multiplies `truth` into percent; by default truths all within 0..1 are multiplied by 100, and it is said.

    Returns
    -------
    What is written: `format, input, knots_x, knots_y, low_y, high_y, level, n, n_groups, cv, notes, fit`. Between knots
    the map and the limits are linear; beyond the first and last knot they stay level.

    Raises
    ------
    UsageError : the table, a column or the condition is unusable; fewer than 20 patients; a truth is not in 0..100 %,
        or does not rise with the score.
    """
    rows = read_table(table)
    need(rows, [score, truth, group], table)
    names = read_names(table, [group])[group]
    chosen = choose(rows, where, table) if where else rows
    x, y = numbers(chosen[score]), numbers(chosen[truth])
    good = x.notna() & y.notna() & names.loc[chosen.index].notna()
    notes = [f"{len(rows) - len(chosen)} of {len(rows)} rows left out by --where"] if where else []
    left = int((~good).sum())
    notes += [f"{left} rows left out: no number in {score} or {truth}, or no {group}"] if left else []
    notes += spellings(names.loc[chosen.index][good], group)
    xs, ys = x[good].to_numpy(float), y[good].to_numpy(float)
    factor, note = percent_scale(ys, scale)
    notes += [note] if note else []
    notes += _not_for_slides(score)
    groups = np.unique(names.loc[chosen.index][good].to_numpy(str), return_inverse=True)[1].astype(np.intp)
    result = fitted(xs, ys * factor, groups, score, notes, table)
    result["fit"] |= {"table": table.name, "sha256": sha256(table), "truth": truth, "group": group, "where": where}
    result["fit"]["scale"] = factor
    if out is not None:
        write_json(out, result)
    return result


def _not_for_slides(score: str) -> list[str]:
    """What to say of a score that a slide does not have."""
    from tilscore.score.calibration import INPUTS

    return [] if score in INPUTS else [f"`tilscore score` takes calibrations of {', '.join(INPUTS)}, not of {score}"]


def fitted(
    x: Floats, y: Floats, group: NDArray[np.intp], score: str, notes: list[str], where: object
) -> dict[str, Any]:
    """The calibration of arrays: `x` score, `y` percent, `group` number of the patient.

    Raises
    ------
    UsageError : fewer than 20 patients, a score that does not vary, a truth outside 0..100 or that does not rise.
    """
    import scipy.stats

    n_groups = len(np.unique(group))
    if n_groups < LEAST_GROUPS:
        raise UsageError("too few patients", where=where, found=n_groups, do=f"give {LEAST_GROUPS} or more")
    if y.min() < 0 or y.max() > 100:
        bad = float(y.min() if y.min() < 0 else y.max())
        raise UsageError("a truth is not within 0..100 %", where=where, found=bad, do="check the column, or --scale")
    if np.ptp(x) == 0:
        raise UsageError("the score does not vary", where=where, found=float(x[0]))
    if n_groups < FEW_GROUPS:
        notes.append(f"only {n_groups} patients: the interval is wide and its coverage uncertain")
    final = fit(x, y, group, LEVEL)
    if np.ptp(final.y) < _FLAT:
        found = f"{y[0]:g} % throughout" if np.ptp(y) < _FLAT else f"Spearman {scipy.stats.spearmanr(x, y)[0]:.2f}"
        raise UsageError("the truth does not rise with the score", where=where, found=found, do="check both columns")
    held = nested(x, y, group, LEVEL)
    return {
        "format": FORMAT,
        "input": score,
        "knots_x": final.x.tolist(),
        "knots_y": final.y.tolist(),
        "low_y": final.low.tolist(),
        "high_y": final.high.tolist(),
        "level": LEVEL,
        "n": len(x),
        "n_groups": n_groups,
        "cv": cv_figures(held, y, group),
        "notes": notes,
        "fit": {**final.shape._asdict(), "seed": SEED, "numpy": np.__version__, "scipy": scipy.__version__},
    }


def cv_figures(held: HeldOut, y: Floats, group: NDArray[np.intp]) -> dict[str, Any]:
    """Figures of held-out predictions against the truth, intervals by resampling patients.

    `slope` and `intercept`: regression of the truth on the prediction (1 and 0 = calibrated); `coverage`: share of
    truths inside the prediction interval; `mae_constant`: MAE of always saying the mean.
    """
    pooled = pooled_pairs(held.predicted, y, group)
    inside = (y >= held.low) & (y <= held.high)
    covered = pooled_pairs(inside.astype(float), np.zeros(len(y)), group)["bias"]
    slope, intercept = _line(held.predicted, y, group)
    names = ("mae", "ccc", "pearson", "kappa_quadratic", "bias")
    return {
        **flat_all({name: pooled[name] for name in names}),
        **flat_all({"slope": slope, "intercept": intercept, "coverage": covered}),
        "interval_width_mean": float((held.high - held.low).mean()),
        "mae_constant": float(np.abs(held.constant - y).mean()),
        "n_folds": len(held.shapes),
        "n_bins_of_folds": [shape.n_bins for shape in held.shapes],
    }


def _line(x: Floats, y: Floats, group: NDArray[np.intp]) -> tuple[Estimate, Estimate]:
    """Slope and intercept of y on x with intervals from resampled groups."""
    n = int(group.max()) + 1
    sums = np.stack([np.bincount(group, v, n).astype(float) for v in (np.ones(len(x)), x, y, x * x, x * y)], 1)

    def line(s: Floats) -> tuple[Floats, Floats]:
        count, sx, sy, sxx, sxy = np.moveaxis(s, -1, 0)
        spread = sxx - sx**2 / count
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = np.where(spread > 1e-9 * (1 + sxx), (sxy - sx * sy / count) / spread, np.nan)
        return slope, (sy - slope * sx) / count

    values, draws = line(sums.sum(0)), line(resampled(sums))
    slope, intercept = (interval_of(float(v), d, n) for v, d in zip(values, draws, strict=True))
    return slope, intercept


def as_text(result: dict[str, Any]) -> str:
    """The result of `calibrate` for a terminal."""
    from tilscore.cohort.agreement.text import show

    cv, x, y = result["cv"], result["knots_x"], result["knots_y"]
    lines = [
        f"{result['input']} -> sTIL %: {result['n']} scores of {result['n_groups']} patients",
        f"range {x[0]:.4g} to {x[-1]:.4g} -> {y[0]:.1f} to {y[-1]:.1f} %, {result['fit']['n_bins']} bins",
        "",
        f"held out (nested cross-validation by patient, {cv['n_folds']} folds), 95 % intervals:",
    ]
    rows = (
        ("MAE, points", "mae", 1),
        ("CCC", "ccc", 3),
        ("Pearson r", "pearson", 3),
        ("kappa, quadratic", "kappa_quadratic", 3),
        ("bias, points", "bias", 1),
        ("calibration slope", "slope", 2),
        ("coverage of 95 % interval", "coverage", 3),
    )
    lines += [f"  {title:<27}{show(cv, key, digits)}" for title, key, digits in rows]
    lines.append(f"  {'MAE of the mean alone':<27}{cv['mae_constant']:.1f}")
    lines += ["", *(f"- {note}" for note in result["notes"])] if result["notes"] else []
    return "\n".join(lines) + "\n"
