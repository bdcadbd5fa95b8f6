"""What scored a cohort: scores of two models, settings or versions differ by themselves, so none are mixed unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilscore.inputs.words import several

if TYPE_CHECKING:
    import pandas as pd

NOT_STATED = "not stated"
"""Model of biopsies whose table names none, as those of older versions do."""


def models_of(biopsies: pd.DataFrame, column: str = "model") -> dict[str, int]:
    """Models (`name@hash`) that scored the biopsies, each with the number of its biopsies, the most frequent first.

    A biopsy whose slides were scored by several counts for each of them; one that names none is `not stated`.

    Parameters
    ----------
    biopsies : as from `pool_biopsies`; tables of older versions have no `model`.
    column : `settings` or `version`, to count these instead.
    """
    scored = biopsies[biopsies["status"] == "ok"] if "status" in biopsies else biopsies
    if column not in biopsies:
        return {NOT_STATED: len(scored)} if len(scored) else {}
    named = scored[column].fillna("").astype(str).str.split(";").explode().replace("", NOT_STATED)
    return {str(name): int(n) for name, n in named.value_counts().items()}


def model_notes(biopsies: pd.DataFrame) -> list[str]:
    """A note each where more than one model, setting or version scored the biopsies (see `models_of`)."""
    notes = []
    if len(found := models_of(biopsies)) > 1:
        notes.append(f"Several models scored these biopsies: {_told(found)}. {_APART}: score all with one.")
    for column, what, do in _OTHERS:
        found = models_of(biopsies, column)
        if len({*found} - {NOT_STATED}) > 1:
            notes.append(f"Several {what} scored these biopsies: {_told(found)}. {do}.")
    return notes


_APART = "Their scores cannot be compared"
_OTHERS = (
    ("settings", "settings", f"{_APART} before provenance.json of their slides tells what differs: score all with one"),
    ("version", "versions of tilscore", "Read in its changes whether scores differ, or score all with one"),
)


def _told(found: dict[str, int]) -> str:
    return ", ".join(f"{name} ({several(n, 'biopsy')})" for name, n in found.items())


def pair_notes(pairs: pd.DataFrame) -> list[str]:
    """Notes where not one and the same model, or other settings, scored both biopsies of a pair.

    The change is then a change of model or settings too. Settings that one side does not state may be the same.

    Parameters
    ----------
    pairs : with `model_before`, `model_after`, `settings_before`, `settings_after`, as from `build_pairs`.
    """
    apart = (pairs["model_before"] != pairs["model_after"]) | pairs["model_before"].str.contains(";", regex=False)
    before, after = pairs["settings_before"], pairs["settings_after"]
    unlike = (before != after) & (before != "") & (after != "") | before.str.contains(";", regex=False)
    notes = []
    for those, what, also in ((apart, "by one model", "model"), (unlike & ~apart, "with one setting", "settings")):
        if those.any():
            told = f"{int(those.sum())} of {len(pairs)} pairs were not scored {what}"
            do = f"Score all slides {what.replace('by', 'with')} and analyse again"
            notes.append(f"{told}: their change is a change of {also} too. {do}.")
    return notes
