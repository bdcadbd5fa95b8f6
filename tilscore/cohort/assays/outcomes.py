"""Columns of what became of patients: times and events by name, read as numbers, with their unit."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import pandas as pd

from tilscore.errors import UsageError

NO_UNIT = "time units, as given,"
_TIME = re.compile(r"(?P<stem>.+)_(?P<unit>months|days|weeks|years|time)$")
_OUTCOMES = {"os", "pfs", "dfs", "rfs", "efs", "idfs", "ddfs", "dmfs", "drfs", "bcss", "dss", "ttp", "ttf", "survival"}
_EVENTS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "no": 0.0, "yes": 1.0, "false": 0.0, "true": 1.0}


def survival_columns(names: Sequence[str], given: Sequence[str] = ()) -> list[tuple[str, str, str]]:
    """(outcome, time, event) columns: as given (`TIME:EVENT`), else by name: `os_months` goes with `os_event`.

    An outcome of two time columns is two, each named as its column.

    Raises
    ------
    UsageError : a given column is not there.
    """
    found = []
    for text in given:
        time, _, event = text.partition(":")
        if time not in names or event not in names:
            do = "write TIME:EVENT with columns of the table of assays: " + ", ".join(names)
            raise UsageError("no such columns", where="--survival", found=text, do=do)
        found.append((outcome_of(time), time, event))
    for name in names if not given else ():
        stem = outcome_of(name)
        theirs = [stem + end for end in ("_event", "_status") if stem + end in names]
        if stem != name and theirs:
            found.append((stem, name, theirs[0]))
    stems = [stem for stem, _, _ in found]
    return [(time if stems.count(stem) > 1 else stem, time, event) for stem, time, event in found]


def outcome_of(time: str) -> str:
    """`os` of `os_months`."""
    match = _TIME.match(time)
    return match["stem"] if match else time


def unit_of(time: str) -> str:
    """`months` of `os_months`; `NO_UNIT` where the name tells none."""
    match = _TIME.match(time)
    return match["unit"] if match and match["unit"] != "time" else NO_UNIT


def other_outcomes(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """Times and events by their names that are not among the outcomes taken: no assays, as they need each other."""
    return [c for _, *both in survival_columns(names) for c in both if c not in taken]


def outcome_notes(names: Sequence[str], taken: Collection[str], apart: Sequence[str]) -> list[str]:
    """What is said of times and events that are in no survival test.

    Parameters
    ----------
    names : all columns. taken : those in survival tests, and flags. apart : `other_outcomes`, which are in no test.
    """
    said = f"Not tested, as times and events of outcomes that were not asked for: {', '.join(apart)}."
    lone = [n for n in names if n not in {*taken, *apart} and outcome_of(n) in _OUTCOMES and n != outcome_of(n)]
    events = ", ".join(f"{outcome_of(name)}_event" for name in lone)
    plain = f"{', '.join(lone)}: a plain number here, nobody is censored; without {events} there is no survival test."
    return [text for text, told in ((said, apart), (plain, lone)) if told]


def check_outcomes(table: pd.DataFrame, outcomes: Sequence[tuple[str, str, str]]) -> None:
    """Read all times and events once, so that what is wrong is told with its line (column `line`).

    Raises
    ------
    UsageError : as `times` and `events`.
    """
    for _, time, event in outcomes:
        times(table[time], time, table["line"])
        events(table[event], event, table["line"])


def times(values: pd.Series, where: str, lines: pd.Series | None = None) -> pd.Series:
    """Times as float, NaN where nothing is stated.

    Parameters
    ----------
    where : name of the column. lines : of the values in their file.

    Raises
    ------
    UsageError : a text that is no number, such as `> 60`.
    """
    found = pd.to_numeric(values, errors="coerce").astype(float)
    if (wrong := found.isna() & values.notna() & (values != "")).any():
        do = "write numbers, with a decimal point, and censored times as such"
        raise UsageError("is no time", where=_at(where, lines, wrong), found=values[wrong].iloc[0], do=do)
    return found


def _at(column: str, lines: pd.Series | None, wrong: pd.Series) -> str:
    return f"column {column!r}" if lines is None else f"line {lines[wrong].iloc[0]} column {column!r}"


def events(values: pd.Series, where: str, lines: pd.Series | None = None) -> pd.Series:
    """Events as 0 and 1, NaN where nothing is stated.

    Parameters
    ----------
    where, lines : as for `times`.

    Raises
    ------
    UsageError : any other value, such as 1 and 2 for censored and dead.
    """
    texts = values.map(lambda v: "" if pd.isna(v) else str(v).casefold())
    if (wrong := ~texts.isin(["", *_EVENTS])).any():
        do = "write 1 (event) or 0 (censored)"
        raise UsageError("is no event", where=_at(where, lines, wrong), found=texts[wrong].iloc[0], do=do)
    return texts.map(_EVENTS).astype(float)
