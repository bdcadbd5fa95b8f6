"""Other measurements of the same patients, and what became of them."""

from tilscore.cohort.assays.run import assays

__all__ = ["assays"]
