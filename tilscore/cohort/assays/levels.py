"""The score of one biopsy a patient beside the other assays of the same time point."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tilscore.cohort.assays.selection import Selection
from tilscore.cohort.assays.table import Assays, of_patients, origin_notes, same_blocks
from tilscore.cohort.assays.tests import agreement, correlations, groups
from tilscore.cohort.manifest.models import model_notes
from tilscore.cohort.manifest.pool import pool_biopsies
from tilscore.cohort.paired.pairs import MEASURES, AnalyseConfig, Measure, to_scale

CFG = AnalyseConfig()
OFFSET_PER_MM2 = CFG.density_offset_per_mm2
"""TILs/mm2 added before the logarithm, as in the paired analysis."""
VALUE = "value"
"""How an assay is taken: as it is."""
_OF_BIOPSY = ("specimen", "site", "centre", "arm", "response", "model", "n_slides", "stroma_mm2")


@dataclass(frozen=True)
class Levels:
    """What is tested: the score at one time point.

    Attributes
    ----------
    scores : as from `read_scores`. other, selected : the assays, and what of them is tested. timepoint : of the
    biopsies. what : the measure of the score.
    """

    scores: pd.DataFrame
    other: Assays
    selected: Selection
    timepoint: str
    what: Measure

    @cached_property
    def taken(self) -> dict[str, str]:
        """How each column that is tested is taken: here all as they are."""
        return dict.fromkeys(self.selected.kinds, VALUE)

    @cached_property
    def assayed(self) -> pd.DataFrame:
        """The assays of `of_patients`."""
        return of_patients(self.other, self.timepoint, self.selected.outcome_columns, self.selected.grouped)

    def join(self, slides: pd.DataFrame) -> pd.DataFrame:
        """One row a patient (its index) with a scored biopsy at the time point: `y` on the measure's scale, `shown` and
        `density` as they are, the sampling and the model, and the assays (NaN or "" where there are none).

        Parameters
        ----------
        slides : those that count, as from `read_manifest`.
        """
        biopsies = pool_biopsies(slides, self.scores)
        ok = (biopsies["timepoint"] == self.timepoint) & (biopsies["status"] == "ok")
        here = biopsies[ok].set_index("patient_id")
        kept = here[[c for c in _OF_BIOPSY if c in here]]
        shown = here.get(self.what.column, pd.Series(np.nan, index=here.index))
        scored = {"shown": shown, "y": to_scale(shown, self.what, CFG), "density": here["til_density_per_mm2"]}
        return kept.assign(**scored).join(self.assayed)

    def same_blocks(self, slides: pd.DataFrame, name: str) -> pd.DataFrame:
        """Slides of the blocks that an assay was made of."""
        return same_blocks(slides, self.other, name, self.timepoint)

    def of_number(self, frame: pd.DataFrame, name: str, compared: Collection[str]) -> list[dict[str, Any]]:
        """Correlations of the score with a number, and agreement with a density, if it is among the `compared`."""
        rows = [{"family": row["test"]} | row for row in correlations(frame, name)]
        if name in compared:
            rows += [{"family": "agreement"} | row for row in agreement(frame, name, OFFSET_PER_MM2)]
        return rows

    def of_group(self, frame: pd.DataFrame, name: str) -> list[dict[str, Any]]:
        """The score in groups."""
        return [{"family": "group"} | groups(frame, name, is_log=self.what.scale == "log")]

    def written(self, whole: pd.DataFrame) -> pd.DataFrame:
        """The joined table with the names that the scores have elsewhere."""
        names = {"density": MEASURES[0].column} | ({} if self.what is MEASURES[0] else {"shown": self.what.column})
        return whole.drop(columns=["y"] if "shown" in names else ["y", "shown"]).rename(columns=names)

    def model_notes(self, whole: pd.DataFrame) -> list[str]:
        """Which models and settings scored the biopsies, where there are several."""
        return model_notes(whole)

    def notes(self, whole: pd.DataFrame) -> list[str]:
        """Whose the values are."""
        return origin_notes(self.other, self.timepoint, self.selected.outcome_columns, self.selected.grouped)

    @property
    def lacking(self) -> str:
        """What is said of patients of the assays who are in no test."""
        return "have no score at this time point"

    @property
    def undated(self) -> str:
        """Which biopsy rows with a block but without a time point are taken to be of."""
        return f"the {self.timepoint} biopsy"
