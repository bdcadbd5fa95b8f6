"""Which models scored a cohort: scores of two models differ by themselves, so they are never mixed unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

NOT_STATED = "not stated"
"""Model of biopsies whose table names none, as those of older versions do."""


def models_of(biopsies: pd.DataFrame) -> dict[str, int]:
    """Models (`name@hash`) that scored the biopsies, each with the number of its biopsies, the most frequent first.

    A biopsy whose slides were scored by several counts for each of them; one that names none is `not stated`.

    Parameters
    ----------
    biopsies : as from `pool_biopsies`; tables of older versions have no `model`.
    """
    if "model" not in biopsies:
        return {NOT_STATED: len(biopsies)} if len(biopsies) else {}
    scored = biopsies[biopsies["status"] == "ok"] if "status" in biopsies else biopsies
    named = scored["model"].str.split(";").explode().replace("", NOT_STATED)
    return {str(name): int(n) for name, n in named.value_counts().items()}


def model_notes(biopsies: pd.DataFrame) -> list[str]:
    """A note where more than one model scored the biopsies (see `models_of`)."""
    found = models_of(biopsies)
    if len(found) < 2:
        return []
    told = ", ".join(f"{name} ({n} biopsies)" for name, n in found.items())
    return [f"Several models scored these biopsies: {told}. Their scores cannot be compared: score all with one."]


def pair_notes(pairs: pd.DataFrame) -> list[str]:
    """A note where not one and the same model scored both biopsies of a pair: the change is then the model's too.

    Parameters
    ----------
    pairs : with `model_before`, `model_after`, as from `build_pairs`.
    """
    apart = (pairs["model_before"] != pairs["model_after"]) | pairs["model_before"].str.contains(";", regex=False)
    if not apart.any():
        return []
    told = f"{int(apart.sum())} of {len(pairs)} pairs were not scored by one model"
    return [f"{told}: their change is a change of model too. Score all slides with one model and analyse again."]
