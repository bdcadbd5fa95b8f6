"""Agreement of readers, and of a machine beside them: `agree` (long table) and `agree_wide` (two columns)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilscore.cohort.agreement.figures import every_pair, flat_all, others_mean, spread_by_category, two_figures
from tilscore.cohort.agreement.readings import (
    Readings,
    need,
    numbers,
    outside,
    own_scale,
    read_long,
    read_names,
    read_table,
    read_wide,
)
from tilscore.cohort.agreement.text import write_pairs
from tilscore.errors import UsageError
from tilscore.stats.agreement import CATEGORY_CUTS
from tilscore.stats.icc import icc
from tilscore.stats.pairfigures import pooled_difference, pooled_pairs, resampled_icc1

if TYPE_CHECKING:
    import pandas as pd

MIN_READERS = 4
"""Fewest readers of a case for leave-one-reader-out: the mean of three others is the least steady yardstick used."""
FORMAT = "tilscore-agreement-1"


def agree(
    table: Path,
    *,
    case: str,
    reader: str,
    score: str,
    where: str | None = None,
    last: str | None = None,
    min_readers: int = MIN_READERS,
    machine: str | None = None,
    scale: float | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Agreement of readers from a long table (one row a reading).

    Parameters
    ----------
    table : CSV. case, reader, score : its columns.
    where : pandas query that rows must meet; `.str` methods work.
    last : column that orders a reader's repeated scores of a case, of which the last counts; by default a column with a
        usual name for a date (createDate, timestamp, ...), else the order of the file.
    min_readers : fewest readers of a case for leave-one-reader-out.
    machine : the machine's score of each case: the name of a reader, a column, or `FILE.csv` / `FILE.csv:COLUMN` with
        the column `case`.
    scale : multiplies scores into percent; by default scores all within 0..1 are multiplied by 100, and it is said.
    out : folder for Bland-Altman figures (SVG, PNG) and tables (CSV).

    Returns
    -------
    JSON-ready; an interval of `x` is `x_low`, `x_high`. Missing figures are None.

    Raises
    ------
    UsageError : file, columns, condition or options are unusable.
    """
    if min_readers < 2:
        raise UsageError("must be 2 or more", where="--min-readers", found=min_readers)
    readings = read_long(table, case=case, reader=reader, score=score, where=where, last=last, scale=scale)
    frame, machine_scores, notes = _split_machine(readings, table, machine, case, score, scale)
    result = _figures(frame, readings, min_readers, notes)
    if machine_scores is not None:
        result["machine"] = _machine(frame, machine_scores, min_readers, str(machine))
    if out is not None:
        write_pairs(result, frame, machine_scores, out, str(machine), min_readers)
    return result


def agree_wide(
    tables: Sequence[Path],
    *,
    pred: str,
    truth: str,
    where: str | None = None,
    scale: float | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Agreement of two columns, `pred` - `truth`; several tables (such as folds) are read as one.

    Parameters, result and errors as for `agree`.
    """
    readings = read_wide(tables, pred=pred, truth=truth, where=where, scale=scale)
    result = _figures(readings.frame, readings, MIN_READERS, list(readings.notes))
    if out is not None:
        write_pairs(result, readings.frame, None, out, "", MIN_READERS)
    return result


def _figures(frame: pd.DataFrame, readings: Readings, min_readers: int, notes: list[str]) -> dict[str, Any]:
    classes = icc(frame["case"], frame["reader"], frame["score"])
    result: dict[str, Any] = {
        "format": FORMAT,
        "n_cases": classes.n_cases,
        "n_readers": classes.n_readers,
        "n_scores": classes.n_scores,
        **flat_all({"icc1": classes.icc1, "icc2": classes.icc2, "icc3": classes.icc3}),
        **resampled_icc1(frame["case"], frame["score"]),
        "within_sd": classes.within_sd,
        "reader_sd": classes.reader_sd,
        "error_sd": classes.error_sd,
    }
    if not classes.complete:
        notes.append("not every reader scored every case: ICC(2,1) and ICC(3,1) from variances by least squares")
    names = list(dict.fromkeys(frame["reader"]))
    x, y, case = every_pair(frame)
    between = pooled_pairs(x, y, case)
    between.pop("bias")  # 0: each pair counts in both orders
    result |= flat_all(between, "pairwise_") | {"pairwise_n": len(x) // 2}
    result["pairwise_sd_by_category"] = spread_by_category(x, y)
    if len(names) == 2:
        result |= _two_readers(frame, names, notes)
    else:
        result |= _leave_one_out(frame, min_readers, notes)
    result["settings"] = {
        "min_readers": min_readers,
        "scale": readings.scale,
        "category_cuts": list(CATEGORY_CUTS),
        "n_rows": readings.n_rows,
        "n_left_out_by_where": readings.n_where,
        "n_not_numeric": readings.n_not_numeric,
        "n_without_name": readings.n_without_name,
        "n_earlier_scores": readings.n_repeated,
    }
    result["notes"] = notes
    return result


def _two_readers(frame: pd.DataFrame, names: list[str], notes: list[str]) -> dict[str, Any]:
    both = frame.pivot(index="case", columns="reader", values="score")[names].dropna()
    first, second = (both[name].to_numpy(float) for name in names)
    figures = two_figures(first, second)
    notes.append(f"two readers: differences are {names[0]} - {names[1]}; leave-one-out is this pair")
    loo = {
        f"loo_{name}{end}": figures[name + end]
        for name in ("pearson", "ccc", "mae", "kappa_quadratic")
        for end in ("", "_low", "_high")
    }
    return {
        **{k: v for k, v in figures.items() if k != "n_cases"},
        **loo,
        "loo_n_cases": len(both),
        "loo_n_scores": len(both),
        "by_reader": [],
    }


def _leave_one_out(frame: pd.DataFrame, min_readers: int, notes: list[str]) -> dict[str, Any]:
    left = others_mean(frame, min_readers)
    pooled = pooled_pairs(left["score"], left["others"], left["case"])
    pooled.pop("bias")  # 0: over the readers of a case the differences cancel
    if left.empty:
        notes.append(f"no case has {min_readers} readers: no leave-one-reader-out (see --min-readers)")
    by_reader = []
    for name, mine in left.groupby("reader", sort=True):
        figures = two_figures(mine["score"].to_numpy(float), mine["others"].to_numpy(float))
        by_reader.append({"reader": str(name), **figures})
    return {
        **flat_all(pooled, "loo_"),
        "loo_n_cases": int(left["case"].nunique()),
        "loo_n_scores": len(left),
        "by_reader": by_reader,
    }


def _split_machine(
    readings: Readings, table: Path, machine: str | None, case: str, score: str, scale: float | None
) -> tuple[pd.DataFrame, pd.Series | None, list[str]]:
    """Human readings; the machine's score of each case (index = case) or None; notes."""
    frame, notes = readings.frame, list(readings.notes)
    if machine is None:
        return frame, None, notes
    mine = frame["reader"] == machine
    if mine.any():
        machine_scores = frame[mine].set_index("case")["score"]
        frame = frame[~mine]
    elif machine in readings.raw.columns:
        machine_scores = _one_each(frame["case"], numbers(readings.raw[machine]), table, machine)
        machine_scores, said = _in_percent(machine_scores, scale, readings.scale)
        notes += [f"{machine}: {text}" for text in said]
    else:
        path, _, column = machine.partition(".csv")
        found = Path(path + ".csv")
        if ".csv" not in machine or not found.is_file():
            do = "give a reader's name, a column, or FILE.csv[:COLUMN]"
            raise UsageError("no such machine scores", where="--machine", found=machine, do=do)
        column = column.removeprefix(":") or score
        other = read_table(found)
        need(other, [case, column], found)
        machine_scores = _one_each(read_names(found, [case])[case], numbers(other[column]), found, column)
        machine_scores, said = _in_percent(machine_scores, scale, readings.scale)
        notes += [f"{found.name}: {text}" for text in said]
    if frame.empty:
        raise UsageError("no human reader is left beside the machine", where=table, found=machine)
    missing = frame["case"].nunique() - int(frame["case"].drop_duplicates().isin(machine_scores.index).sum())
    notes += [f"{missing} cases have no machine score"] if missing else []
    return frame, machine_scores, notes


def _in_percent(machine_scores: pd.Series, scale: float | None, beside: float) -> tuple[pd.Series, list[str]]:
    """The machine's scores in percent by their own scale, and what was done to them."""
    factor, said = own_scale(machine_scores.to_numpy(float), scale, beside)
    return machine_scores * factor, [*said, *outside((machine_scores * factor).to_numpy(float))]


def _one_each(case: pd.Series, value: pd.Series, where: Path, column: str) -> pd.Series:
    import pandas as pd

    pairs = pd.DataFrame({"case": case, "value": value}).dropna().drop_duplicates()
    twice = pairs["case"].duplicated()
    if twice.any():
        raise UsageError(
            "several machine scores of one case", where=f"{where}, column {column}", found=pairs["case"][twice].iloc[0]
        )
    return pairs.set_index("case")["value"]


def _machine(frame: pd.DataFrame, machine_scores: pd.Series, min_readers: int, name: str) -> dict[str, Any]:
    """The machine against the readers' mean, and in each reader's stead against the mean of the others."""
    known = frame[frame["case"].isin(machine_scores.index)]
    mean = known.groupby("case")["score"].mean()
    left = others_mean(known, min_readers)
    score, stead, others = left["score"], left["case"].map(machine_scores), left["others"]
    return {
        "name": name,
        **two_figures(machine_scores.loc[mean.index].to_numpy(float), mean.to_numpy(float)),
        "in_stead": flat_all(pooled_pairs(stead, others, left["case"])),
        "reader": flat_all(pooled_pairs(score, others, left["case"])),
        "minus_reader": flat_all(pooled_difference(stead, score, others, left["case"])),
    }
