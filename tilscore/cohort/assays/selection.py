"""What of the assays is tested, and as what: outcomes, numbers or groups."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import pandas as pd

from tilscore.cohort.assays.outcomes import check_outcomes, other_outcomes, outcome_notes, survival_columns
from tilscore.cohort.assays.table import MOST_GROUPS, Assays, stray_texts
from tilscore.errors import UsageError


class Selection(NamedTuple):
    """What is tested of the assays: the outcomes (name, time, event) with their columns, the kind of each other column
    (`number`, `group`), which numbers are densities, and notes on columns that are not tested."""

    outcomes: list[tuple[str, str, str]]
    outcome_columns: set[str]
    kinds: dict[str, str]
    densities: set[str]
    notes: list[str]

    @property
    def numbers(self) -> list[str]:
        """Columns that are tested as numbers."""
        return [name for name, kind in self.kinds.items() if kind == "number"]

    @property
    def grouped(self) -> list[str]:
        """Columns that are compared as groups."""
        return [name for name, kind in self.kinds.items() if kind == "group"]


def select_tests(other: Assays, densities: Sequence[str], flags: Sequence[str], survival: Sequence[str]) -> Selection:
    """What is tested, by the columns' values and names, or as the user says.

    Raises
    ------
    UsageError : a column that is not there, or does not hold what it is taken for.
    """
    _known(other, flags, densities)
    outcomes = survival_columns(other.columns, survival)
    check_outcomes(other.table, outcomes)
    theirs = {column for _, *both in outcomes for column in both}
    apart = other_outcomes(other.columns, {*theirs, *flags})
    kinds, notes = kinds_of(other, {*theirs, *apart}, flags, densities)
    per_mm2 = {name for name, kind in kinds.items() if kind == "number" and is_density(name, densities)}
    notes += outcome_notes(other.columns, {*theirs, *flags}, apart)
    return Selection(outcomes, theirs, kinds, per_mm2, notes)


def is_density(name: str, densities: Sequence[str]) -> bool:
    """Whether a column counts per mm2, as given or by its name."""
    return name in densities or name.endswith("_per_mm2")


def _known(other: Assays, flags: Sequence[str], densities: Sequence[str]) -> None:
    for name in (*flags, *densities):
        if name not in other.columns and (name in densities or name not in ("response", "arm")):
            raise UsageError("the assays have no such column", found=name, do="they are: " + ", ".join(other.columns))
    for name in densities:
        if name not in flags and not pd.api.types.is_numeric_dtype(other.table[name]):
            raise UsageError("the column does not hold numbers", where="--densities", found=name)


def kinds_of(
    other: Assays, taken: Collection[str], flags: Sequence[str], densities: Sequence[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """What is tested of each column (`number` or `group`) but those taken as outcomes, and notes on those that are
    not. Densities (`densities`, and names that end in `_per_mm2`) are numbers however few values they have."""
    kinds: dict[str, str] = {}
    notes = []
    for name in other.columns:
        values = other.table[name]
        is_number = pd.api.types.is_numeric_dtype(values)
        known = values.dropna() if is_number else values[values != ""]
        n, whole = known.nunique(), is_number and bool((known == known.round()).all())
        if name in taken:
            continue
        per_mm2 = is_number and is_density(name, densities)
        strays = stray_texts(other, name)
        few = 2 <= n <= MOST_GROUPS and (n == 2 or not is_number or whole)
        if name in flags or (few and not per_mm2 and not strays):
            kinds[name] = "group"
        elif is_number and n > 1:
            kinds[name] = "number"
        else:
            many = f"it has {n} different texts, and at most {MOST_GROUPS} make groups"
            why = "it is empty" if n == 0 else "all its values are equal" if n == 1 else many
            notes.append(f"Column {name!r} was not tested: {strays or why}.")
    return kinds | {"response": "group"} | dict.fromkeys(flags, "group"), notes
