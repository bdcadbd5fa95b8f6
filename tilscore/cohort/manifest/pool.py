"""Slides to biopsies: the slides and blocks of one patient at one time point, pooled by area."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.manifest.sheet import read_sheet
from tilscore.errors import DataError, UsageError
from tilscore.inputs import LIST_SUFFIXES
from tilscore.inputs.words import COLUMNS, canonical, is_scored, order

if TYPE_CHECKING:
    import pandas as pd

KEY = ["patient_id", "timepoint"]
INTERVALS = {
    "til_density_per_mm2": ("til_density_low", "til_density_high"),
    "stil_area_pct": ("stil_area_low", "stil_area_high"),
    "infiltrated_area_pct": ("infiltrated_area_low", "infiltrated_area_high"),
    "calibrated_stil_pct": ("calibrated_stil_low", "calibrated_stil_high"),
    "itil_density_per_mm2": ("itil_density_low", "itil_density_high"),
}
"""Estimates of `scores.csv` and the columns of their 95 % intervals."""
_ALWAYS = (
    "til_density_per_mm2",
    "stil_area_pct",
    "infiltrated_area_pct",
    "calibrated_stil_pct",
    "itil_density_per_mm2",
)
_SUMS = ("n_tils", "stroma_mm2", "tumour_mm2", "tissue_mm2")
MADE_WITH = ("model", "settings", "version")
"""Columns of `scores.csv` that tell what a score was made with."""
_NOT_POOLED = {"mpp_um", "seconds"}
_STATES = ("not_evaluable", "failed", "unscored")
_NOT_SAID = (*KEY, "slide_id", "path", "roi", "mpp", "line", "stain")
"""Columns of a manifest that are no part of a biopsy, or its key."""
MIXED = "mixed"
"""Specimen or site of a biopsy whose slides state several."""


def scores_file(results: Path | str) -> Path:
    """The table of scores of a run's folder, or the file itself."""
    path = Path(results)
    return path / "scores.csv" if path.is_dir() else path


def read_scores(results: Path | str) -> pd.DataFrame:
    """The table of a run, `OUT/scores.csv` or its folder: numbers as float (NaN where empty), the rest as strings.

    Columns that an older version did not write are NaN.

    Raises
    ------
    DataError : no such file, or not a table of scores.
    """
    import pandas as pd

    path = scores_file(results)
    do = "give the folder of a run, or its scores.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as err:  # pandas' own errors and UnicodeDecodeError are ValueErrors
        raise DataError("cannot be read", where=path, found=err, do=do) from err
    missing = {"slide_id", "status", "til_density_per_mm2", "n_tils", "stroma_mm2"} - set(table.columns)
    if missing:
        raise DataError(f"no column {sorted(missing)[0]!r}", where=path, do=saved_anew(table) or do)
    table["slide_id"] = table["slide_id"].str.replace(r"^'(?=[=+\-@])", "", regex=True)
    if (twice := table["slide_id"][table["slide_id"].duplicated()]).size:
        raise DataError("a slide is there twice", where=path, found=twice.iloc[0], do=do)
    for name in table.columns:
        if _is_number(name):
            table[name] = as_numbers(table[name], path)
        if name in (*_ALWAYS, *_SUMS) and (below := table[name] < 0).any():
            line, found = int(np.flatnonzero(below)[0]) + 2, table.loc[below, name].iloc[0]
            raise DataError("is below 0", where=f"{path} line {line} column {name!r}", found=found, do=do)
    for name in (*_ALWAYS, *_SUMS, "n_cores", "til_density_low", "til_density_high", "stil_area_low", "stil_area_high"):
        if name not in table:
            table[name] = np.nan
    return table if "reasons" in table else table.assign(reasons="")


def saved_anew(table: pd.DataFrame) -> str:
    """What to do about a table of tilscore that a spreadsheet saved with other separators, "" where none did."""
    again = ";" in str(table.columns[0]) or "\t" in str(table.columns[0])
    return "a spreadsheet saved it with other separators: give it as tilscore wrote it" if again else ""


def _is_number(name: str) -> bool:
    return name.startswith("n_") or name in _NOT_POOLED or name.endswith(("_pct", "_mm2", "_frac", "_low", "_high"))


def as_numbers(column: pd.Series, path: Path) -> pd.Series:
    """A column of texts as float, NaN where empty.

    Raises
    ------
    DataError : a text is no finite number.
    """
    import pandas as pd

    numbers = pd.to_numeric(column.where(column != "", other=np.nan), errors="coerce").astype("float64")
    wrong = (numbers.isna() & (column != "")) | np.isinf(numbers)
    if wrong.any():
        line, found = int(np.flatnonzero(wrong)[0]) + 2, column[wrong].iloc[0]
        raise DataError("is no number", where=f"{path} line {line} column {column.name!r}", found=found)
    return numbers


def pool_biopsies(manifest: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Pool the slides of each biopsy (a patient at a time point) by area; one row a biopsy, in the patients' order.

    Slides whose status is not `ok` are left out and counted, and so are listed slides without a score (`n_unscored`);
    slides of other stains are no part of it. Sums: TILs and areas. The density is TILs over stroma, the shares are
    means weighted by stroma, the density in tumour weighted by tumour; a mean is NaN where a slide lacks the value.
    `n_cores` is the sum over blocks of the most cores on one of its slides, as the slides of a block show the same.
    `specimen` and `site` are `mixed` where the slides differ. `model`, `settings` and `version` name all that scored
    the pooled slides; `reasons` holds the codes of these slides, or where none has a score of those that tell why.

    Intervals (95 %): with weights w (share of the area), estimates t and limits l, u of the slides,
    low = T - sqrt(sum over blocks (sum over slides of the block w (t - l))^2) and likewise for high, T = sum w t. This
    is the method of variance estimates recovery (Zou and Donner 2008, Stat Med 27:1693) for independent blocks; the
    slides of one block, which show the same tissue, count as fully dependent, and so do slides whose block is not
    stated. One slide keeps its own interval.

    Parameters
    ----------
    manifest : as from `read_manifest`. scores : as from `read_scores`.
    """
    import pandas as pd

    listed = manifest[manifest["stain"].map(is_scored)]
    slides = with_scores(listed, scores)
    slides["status"] = slides["status"].fillna("unscored").where(lambda s: s.isin(["ok", *_STATES]), "failed")
    groups = slides.groupby(KEY, sort=False)
    said = _said(groups, [n for n in listed.columns if n not in _NOT_SAID])
    said["slide_ids"] = groups["slide_id"].agg(";".join)
    for state in ("ok", *_STATES):
        said["n_slides" if state == "ok" else f"n_{state}"] = (
            (slides["status"] == state).groupby([slides[k] for k in KEY], sort=False).sum()
        )
    state_of = [(said[f"n_{s}"] > 0).to_numpy() for s in _STATES]
    said["status"] = np.select([(said["n_slides"] > 0).to_numpy(), *state_of], ["ok", *_STATES], "unscored")
    ok = slides[slides["status"] == "ok"]
    for name in MADE_WITH:
        said[name] = _said(ok.groupby(KEY, sort=False), [name])[name] if name in ok else ""
        said[name] = said[name].fillna("")
    said["reasons"] = _reasons(slides.merge(said["status"].rename("of_biopsy"), left_on=KEY, right_index=True))
    pooled = _numbers_of(ok, scores)
    table = said.join(pooled).reset_index()
    first = [c for c in ("patient_id", "timepoint", "status", *COLUMNS[4:], *MADE_WITH, *_STATE_COLUMNS) if c in table]
    measured = list(pooled.columns)
    rest = [c for c in table.columns if c not in (*first, *measured)]
    return _in_order(pd.DataFrame(table[[*first, *measured, *rest]]))


def with_scores(listed: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Each listed slide with its score; specimen and site that the list leaves empty as the run was told them."""
    table = listed.copy()
    for name in ("specimen", "site"):
        if name in table and name in scores:
            told = table["slide_id"].map(scores.set_index("slide_id")[name]).fillna("").astype(str)
            table[name] = table[name].where(
                table[name] != "", told.map(lambda word, of=name: canonical(of, word) or "")
            )
    clash = [name for name in scores.columns if name in listed.columns and name != "slide_id"]
    return table.merge(scores.drop(columns=clash), on="slide_id", how="left", validate="one_to_one")


def _reasons(slides: pd.DataFrame) -> pd.Series:
    """For each biopsy the codes of the slides that its status is about, each once, in the order in which they come."""
    about = slides[slides["status"] == slides["of_biopsy"]]
    codes = (about["reasons"] if "reasons" in about else about["status"].map(lambda _: "")).fillna("").astype(str)
    return codes.groupby([about[k] for k in KEY], sort=False).agg(
        lambda texts: ";".join(dict.fromkeys(code for text in texts for code in text.split(";") if code))
    )


_STATE_COLUMNS = ("reasons", "n_slides", "n_not_evaluable", "n_failed", "n_unscored", "n_blocks")


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Patients as in the manifest, each from the baseline on."""
    who = {name: i for i, name in enumerate(dict.fromkeys(table["patient_id"]))}
    by = np.lexsort((table["timepoint"].map(order).to_numpy(), table["patient_id"].map(who).to_numpy()))
    return table.iloc[by].reset_index(drop=True)


def _said(groups: pd.core.groupby.DataFrameGroupBy, names: Iterable[str]) -> pd.DataFrame:
    """What the manifest says of a biopsy: the one value, or all of them."""
    import pandas as pd

    said = {}
    for name in names:
        stated = groups.obj[name].where(groups.obj[name] != "", other=None)
        by = stated.groupby([groups.obj[k] for k in KEY], sort=False)
        one, n = by.first(), by.nunique()
        if stated.dtype.kind == "f":
            said[name] = one.where(n <= 1, np.nan)
            continue
        one = one.astype(object).where(n > 0, "")
        if name in ("specimen", "site"):
            one = one.where(n <= 1, MIXED)
        for key in n.index[n > 1] if name not in ("specimen", "site") else ():
            one[key] = ";".join(dict.fromkeys(by.get_group(key).dropna()))
        said[name] = one
        if name == "block":
            said["n_blocks"] = n
    return pd.DataFrame(said)


def _numbers_of(slides: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Sums, means and intervals of the slides with a score."""
    import pandas as pd

    by = [slides[k] for k in KEY]
    blocks = [*by, slides["block"]]
    out = pd.DataFrame({"n_cores": _sum(slides.groupby([*KEY, "block"])["n_cores"].max().groupby(KEY))})
    for name in _SUMS:
        out[name] = _sum(slides[name].groupby(by))
    others = [c for c in scores.columns if c.endswith(("_pct", "_per_mm2", "_frac")) and c not in _ALWAYS]
    for name in (*_ALWAYS, *others):
        value = slides[name]
        area = slides["tumour_mm2" if "itil_" in name else "stroma_mm2"]
        weight = (area / area.groupby(by).transform("sum")).where(lambda w: w > 0)
        lacking = (value.isna() & weight.notna()).groupby(by).any()
        mean = (weight * value).groupby(by).sum(min_count=1).mask(lacking)
        if name == "til_density_per_mm2":
            mean = (out["n_tils"] / out["stroma_mm2"]).where(out["stroma_mm2"] > 0)
        out[name] = mean
        for sign, limit in zip((-1, 1), INTERVALS.get(name, ()), strict=False):
            if limit not in slides:
                continue
            off = weight * sign * (slides[limit] - value)
            unknown = (off.isna() & weight.notna()).groupby(by).any()
            squares = off.groupby(blocks).sum() ** 2
            spread = np.sqrt(squares.groupby(KEY).sum())
            out[limit] = (mean + sign * spread).mask(unknown | mean.isna())
            if sign < 0:
                out[limit] = out[limit].clip(lower=0)
    return out


def _sum(groups: pd.core.groupby.SeriesGroupBy) -> pd.Series:
    """Sums that are NaN where a value is missing."""
    return groups.sum(min_count=1).mask(groups.count() < groups.size())


def scored(biopsies: pd.DataFrame) -> pd.DataFrame:
    """The biopsies that have a density."""
    import pandas as pd

    return biopsies[pd.to_numeric(biopsies["til_density_per_mm2"], errors="coerce").notna()]


def later_timepoints(biopsies: pd.DataFrame) -> list[str]:
    """Time points after baseline, in order."""
    return sorted(set(biopsies["timepoint"]) - {"baseline"}, key=order)


def write_biopsies(inputs: Sequence[Path | str], out: Path, say: Callable[[str], object] = print) -> Path | None:
    """Pool the slides of a run and write `OUT/biopsies.csv`, if a manifest with `patient_id` is among its inputs.

    A manifest with errors, or none, leaves no `biopsies.csv` behind; the reason is said.

    Returns
    -------
    The file, or None.
    """
    target = Path(out) / "biopsies.csv"
    lists = [Path(item) for item in inputs if Path(item).suffix.lower() in LIST_SUFFIXES]
    try:
        manifests = [path for path in lists if "patient_id" in read_sheet(path).columns]
        if not manifests:
            return None
        import pandas as pd

        from tilscore.cohort.tables import write_table

        manifest = pd.concat([read_manifest(path) for path in manifests], ignore_index=True)
        table = pool_biopsies(manifest, read_scores(out))
    except (UsageError, DataError) as err:
        target.unlink(missing_ok=True)
        say(f"tilscore: biopsies are not pooled: {err}")
        return None
    write_table(target, table)
    n_ok = int((table["status"] == "ok").sum())
    say(f"{n_ok} of {len(table)} biopsies have a score: {target}")
    return target
