"""Readers' scores from tables: one row a reading (long), or one row a case with two columns (wide).

Nothing is left out or rescaled without a note that says how many and why.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilscore.errors import UsageError
from tilscore.inputs.words import bare, split_hint

if TYPE_CHECKING:
    import pandas as pd


FRACTION_RANGE = (-0.5, 1.5)
"""Where predictions of fractions lie that are not held within 0..1."""


@dataclass(frozen=True)
class Readings:
    """Scores in percent.

    Parameters
    ----------
    frame : columns case, reader (text), score (float), in the order of the file.
    raw : the rows of the table that `frame` comes from, index shared.
    notes : what was left out, chosen or rescaled.
    n_rows, n_where, n_not_numeric, n_without_name, n_repeated : rows read; left out by the condition, for a score that
        is no number, for no case or reader, and as earlier scores of the same reader and case.
    scale : what scores were multiplied by; of two columns that differ in scale, the second one (`truth`).
    """

    frame: pd.DataFrame
    raw: pd.DataFrame
    notes: tuple[str, ...]
    n_rows: int
    n_where: int
    n_not_numeric: int
    n_without_name: int
    n_repeated: int
    scale: float


def read_table(path: Path, **options: Any) -> pd.DataFrame:
    """A CSV as pandas reads it, separated by commas, semicolons or tabs: by what splits its first line most.

    Parameters
    ----------
    options : for `pandas.read_csv`.

    Raises
    ------
    UsageError : it is missing, empty, not UTF-8 or no CSV.
    """
    import pandas as pd

    try:
        with open(path, encoding="utf-8-sig") as file:
            said, first = split_hint(file.readline())
            first = first or file.readline()
        counts = {mark: len(next(csv.reader([first], delimiter=mark), [])) for mark in said or ",;\t"}
        separator = max(counts, key=lambda mark: counts[mark])
        return pd.read_csv(path, low_memory=False, sep=separator, skiprows=1 if said else 0, **options)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as err:
        what = err.strerror if isinstance(err, OSError) else str(err)
        raise UsageError("cannot be read as CSV", where=path, found=what, do="give a UTF-8 CSV with a header") from err


def need(table: pd.DataFrame, columns: Sequence[str], where: object) -> None:
    """Raise UsageError naming the first of `columns` that the table has not."""
    for column in columns:
        if column not in table.columns:
            has = ", ".join(map(str, table.columns[:30]))
            raise UsageError("has no such column", where=where, found=column, do=f"its columns are: {has}")


def choose(table: pd.DataFrame, where: str, path: object) -> pd.DataFrame:
    """Rows that meet a pandas query; `.str` methods work, a missing text counts as empty where they meet it.

    Raises
    ------
    UsageError : the query cannot be evaluated.
    """
    import pandas as pd

    error: Exception | None = None
    for frame in (table, table.fillna({c: "" for c in table.columns if table[c].dtype == object})):
        try:
            kept: Any = frame.eval(where, engine="python")
        except Exception as err:  # a query can fail in as many ways as Python can
            error = error or err
            continue
        if isinstance(kept, pd.Series) and kept.dtype == bool:
            return table[kept]
    found = f"{where}: {error}" if error else f"{where}: gives no yes or no for each row"
    columns = ", ".join(map(str, table.columns[:30]))
    raise UsageError("the condition cannot be used", where=path, found=found, do=f"use the columns {columns}")


def numbers(column: pd.Series) -> pd.Series:
    """As float; what is no finite number becomes NaN.

    Raises
    ------
    UsageError : a decimal comma: the value would be left out, and the scores without a fraction would stay.
    """
    import pandas as pd

    found = pd.to_numeric(column, errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
    texts = column[found.isna() & column.notna()].astype(str)
    commas = texts[texts.str.fullmatch(r"\s*[-+]?\d+,\d+\s*")]
    if len(commas):
        where = f"row {int(commas.index[0]) + 1} under the header, column {column.name!r}"
        do = f"write {commas.iloc[0].strip().replace(',', '.')}, and all numbers with a decimal point"
        raise UsageError(f"{len(commas)} values have a decimal comma", where=where, found=commas.iloc[0], do=do)
    return found


def percent_scale(values: np.ndarray, scale: float | None) -> tuple[float, str | None]:
    """What turns `values` into percent, and a note where it was worked out from the values.

    All values within 0..1, not all of them 0 or 1: fractions. Otherwise percent.
    """
    if scale is not None:
        if not (np.isfinite(scale) and scale > 0):
            raise UsageError("must be a number above 0", where="--scale", found=scale)
        return scale, None
    inside = len(values) > 0 and values.min() >= 0 and values.max() <= 1
    if inside and bool(((values > 0) & (values < 1)).any()):
        return 100.0, "all scores lie within 0..1: read as fractions and multiplied by 100 (--scale 1 keeps them)"
    return 1.0, None


def own_scale(values: np.ndarray, scale: float | None, beside: float) -> tuple[float, list[str]]:
    """As `percent_scale` for a column that stands beside others, of which it may differ in scale.

    Parameters
    ----------
    beside : factor of the scores beside. Where these are fractions, predictions may leave 0..1 somewhat and are
        fractions still.
    """
    factor, note = percent_scale(values, scale)
    if scale is not None:
        return factor, [f"all scores multiplied by {factor:g} (--scale)"] if factor != 1 else []
    low, high = FRACTION_RANGE
    if factor < beside and len(values) and low <= values.min() and values.max() <= high:
        about = f"all scores lie within {low:g}..{high:g}, as fractions do, and those beside are fractions"
        return beside, [f"{about}: multiplied by {beside:g} (--scale 1 keeps them)"]
    return factor, [note] if note else []


def _order(table: pd.DataFrame, last: str | None, path: Path) -> tuple[pd.Series | None, str]:
    """Sort key of the readings and its name; None = order of the file."""
    import pandas as pd

    if last is None:
        return None, "the order of the file"
    need(table, [last], path)
    key = numbers(table[last])
    if key.isna().any():
        key = pd.to_datetime(table[last], errors="coerce", format="mixed", utc=True)
    if key.isna().any():
        bad = table[last][key.isna()].iloc[0]
        raise UsageError("is neither a date nor a number", where=f"{path}, column {last}", found=bad)
    return key, last


def read_long(
    path: Path,
    *,
    case: str,
    reader: str,
    score: str,
    where: str | None = None,
    last: str | None = None,
    scale: float | None = None,
) -> Readings:
    """Readings from a long table: a reader's last numeric score of each case, by the column `last` or as the file lies.

    Raises
    ------
    UsageError : the file, a column or the condition is unusable, or no score is left.
    """
    table = read_table(path)
    need(table, [case, reader, score], path)
    names = read_names(path, [case, reader])
    chosen = choose(table, where, path) if where else table
    named = names.loc[chosen.index].notna().all(axis=1)
    values = numbers(chosen[score])
    good = chosen[named & values.notna()]
    key, by = _order(good, last, path)
    ordered = good if key is None else good.loc[key.sort_values(kind="stable").index]
    frame = names.loc[ordered.index].set_axis(["case", "reader"], axis=1).assign(score=values.loc[ordered.index])
    frame = frame[~frame.duplicated(["case", "reader"], keep="last")].sort_index()
    if frame.empty:
        raise UsageError("no score is left", where=path, found=f"{len(table)} rows", do="see --where and --score")
    factor, note = percent_scale(frame["score"].to_numpy(), scale)
    frame["score"] *= factor
    n_where, n_no_name, n_text = len(table) - len(chosen), int((~named).sum()), int((named & values.isna()).sum())
    notes = []
    if where:
        notes.append(f"{n_where} of {len(table)} rows left out by --where" + ("" if n_where else " (none met it)"))
    notes += [f"{n_text} rows left out: {score} is empty or no number"] if n_text else []
    notes += [f"{n_no_name} rows left out: no {case} or no {reader}"] if n_no_name else []
    repeated = len(good) - len(frame)
    notes += [f"{repeated} earlier scores of the same reader and case left out (last by {by})"] if repeated else []
    notes += [note] if note else []
    notes += [*spellings(frame["case"], case), *spellings(frame["reader"], reader)]
    notes += outside(frame["score"].to_numpy())
    return Readings(
        frame, table.loc[frame.index], tuple(notes), len(table), n_where, n_text, n_no_name, repeated, factor
    )


def outside(values: np.ndarray) -> list[str]:
    """A note on scores that are no percentage, if there are any."""
    n = int(((values < 0) | (values > 100)).sum())
    return [f"{n} scores are below 0 or above 100 %; they were used as they are"] if n else []


def read_names(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of names as text as written (`007` stays) but for spaces around them, missing where empty."""
    text = read_table(path, usecols=list(dict.fromkeys(columns)), dtype=str)
    stripped = text.apply(lambda column: column.str.strip())
    return stripped.where(stripped != "")[list(columns)]


def spellings(names: pd.Series, what: str) -> list[str]:
    """A note on names that differ in case or spaces only, and so count as several; none where there are none."""
    known = names.drop_duplicates()
    alike = known.groupby(known.map(bare))
    apart = [", ".join(map(repr, group)) for _, group in alike if len(group) > 1]
    more = f" and {len(apart) - 3} more" if len(apart) > 3 else ""
    return [f"{what}: {'; '.join(apart[:3])}{more} differ in spelling only and count as several"] if apart else []


def read_wide(
    paths: Sequence[Path], *, pred: str, truth: str, where: str | None = None, scale: float | None = None
) -> Readings:
    """Two columns of one or several tables as two readers named after the columns; every row is a case.

    Each column has a scale of its own: one may hold fractions and the other percentages.

    Raises
    ------
    UsageError : a file or column is unusable, or no row has both numbers.
    """
    import pandas as pd

    if not paths:
        raise UsageError("no table is given")
    tables = [read_table(p) for p in paths]
    for path, table in zip(paths, tables, strict=True):
        need(table, [pred, truth], path)
    table = pd.concat(tables, ignore_index=True)
    chosen = choose(table, where, paths[0]) if where else table
    both = pd.DataFrame({"pred": numbers(chosen[pred]), "truth": numbers(chosen[truth])}).dropna()
    if both.empty:
        raise UsageError("no row has both numbers", where=paths[0], found=f"{len(table)} rows")
    named = (("pred", pred), ("truth", truth if truth != pred else f"{truth} (truth)"))
    beside = {key: percent_scale(both[key].to_numpy(), scale)[0] for key in both}
    scales = {
        "pred": own_scale(both["pred"].to_numpy(), scale, beside["truth"]),
        "truth": own_scale(both["truth"].to_numpy(), scale, beside["pred"]),
    }
    case = both.index.astype(str)
    frame = pd.concat(
        [
            pd.DataFrame({"case": case, "reader": name, "score": both[key].to_numpy() * scales[key][0]})
            for key, name in named
        ],
        ignore_index=True,
    )
    n_where, n_text = len(table) - len(chosen), len(chosen) - len(both)
    notes = [f"{n_where} of {len(table)} rows left out by --where"] if where else []
    notes += [f"{n_text} rows left out: {pred} or {truth} is empty or no number"] if n_text else []
    for key, name in named:
        told = [*scales[key][1], *outside(both[key].to_numpy() * scales[key][0])]
        notes += [f"{name}: {text}" for text in told]
    return Readings(frame, both, tuple(notes), len(table), n_where, n_text, 0, 0, scales["truth"][0])
