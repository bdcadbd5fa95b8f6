"""Why a patient is on the shortlist, in words."""

from __future__ import annotations

import pandas as pd

from tilscore.cohort.rank.cautions import SEPARATOR
from tilscore.cohort.rank.cautions import number as _number

EXTREME_PCT = 10.0
"""Within so many percent of either end, what else was measured of the patient is told too."""


def reasons(row: pd.Series, of_patient: pd.DataFrame) -> str:
    """What puts the row of `ranks.csv` on the list, what else is unusual of the patient, and what speaks for caution.

    Parameters
    ----------
    row : one row of the table of ranks. of_patient : all rows of the patient.
    """
    said = [*_place(row), *_outlier(row)]
    for _, other in of_patient[(of_patient["kind"] != row["kind"]) & (of_patient["status"] == "ok")].iterrows():
        said += _place(other)[:1] if _is_extreme(other) else []
    return "; ".join([*said, *(f"caution: {text}" for text in row["cautions"].split(SEPARATOR) if text)])


def _is_extreme(row: pd.Series) -> bool:
    at = row["percentile_adjusted"] if pd.notna(row["percentile_adjusted"]) else row["percentile"]
    return bool(at >= 100 - EXTREME_PCT or at <= EXTREME_PCT)


def _place(row: pd.Series) -> list[str]:
    adjusted = pd.notna(row["percentile_adjusted"])
    name, n = ("percentile_adjusted", "n_reference_adjusted") if adjusted else ("percentile", "n_reference")
    given = f", allowing for {_listed(row['adjusted_for'].split('+'))}" if adjusted else ""
    people = "changes" if row["kind"] == "change" else "reference patients"
    said = [f"{_what(row)} {_share(row, name)} of {row[n]:.0f} {people}{given}"]
    if adjusted:
        of = f" of {row['n_reference']:.0f}" if row["n_reference"] != row[n] else ""
        said[0] += f" ({_share(row, 'percentile', short=True, of=of)} without adjustment)"
    if row["kind"] == "level" and pd.notna(row["percentile_alike"]):
        alike = f"{row['site']} {row['specimen']}".replace("_", " ")
        said.append(f"{_share(row, 'percentile_alike')} of the {row['n_alike']:.0f} with a {alike}")
    return said


def _what(row: pd.Series) -> str:
    if row["kind"] == "level":
        return f"{row['timepoint']} {_number(row['value'])} {row['unit']}:"
    if row["unit"] == "ratio":
        return f"baseline to {row['timepoint']} {_number(row['value'])}-fold:"
    return f"baseline to {row['timepoint']} {'+' if row['value'] > 0 else ''}{_number(row['value'])} points:"


def _share(row: pd.Series, name: str, *, short: bool = False, of: str = "") -> str:
    """`higher than 97 % (91-99)`, or from the other end where that is nearer."""
    at, low, high = (float(row[name + end]) for end in ("", "_low", "_high"))
    if at < 50:
        at, low, high = 100 - at, 100 - high, 100 - low
        side = "lower"
    else:
        side = "higher"
    text = f"{_percent(at)} % ({_percent(low)}-{_percent(high)})"
    return f"{text}{of} {side}" if short else f"{side} than {text}"


def _percent(value: float) -> str:
    return f"{value:.0f}" if value <= 99 or value == 100 else f"{value:.1f}".removesuffix(".0")


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _outlier(row: pd.Series) -> list[str]:
    if row["outlier"] not in ("high", "low"):
        return []
    sure = ", also at the nearer end of its interval" if row["outlier_sure"] else ", not at the nearer end"
    sure = "" if pd.isna(row["robust_z_sure"]) else sure
    side = "above" if row["robust_z"] > 0 else "below"
    return [f"outlier: {abs(row['robust_z']):.1f} robust SDs {side} the median{sure}"]
