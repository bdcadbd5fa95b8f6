"""How tests of assays are worded: of the level of the score, or of its change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilscore.cohort.page.text import time_name


@dataclass(frozen=True)
class Words:
    """What the score of tests of assays is called: a level, or its change from baseline.

    Attributes
    ----------
    time : the later time point of a change; "" of a level. is_ratio : the change is a ratio, not in points.
    """

    time: str = ""
    is_ratio: bool = False

    @property
    def score(self) -> str:
        """The score in a title."""
        return "change of the score" if self.time else "score"

    @property
    def given(self) -> str:
        """The head of what is adjusted."""
        return "given the sampling" if self.time else "adjusted"

    @property
    def median(self) -> str:
        """What the medians of groups are of."""
        if not self.time:
            return "of the score"
        return self.ratio if self.is_ratio else f"{self.less}, points"

    @property
    def ratio(self) -> str:
        """How a change of a density is read."""
        return f"ratio {self.time} / baseline"

    @property
    def less(self) -> str:
        """How any other change is read."""
        return f"{self.time} less baseline"

    @property
    def turn(self) -> str:
        """How a change of group is read."""
        return f"baseline to {self.time}"

    def taken(self, row: Mapping[str, Any]) -> str:
        """How the assay of a test is taken; "" where all are taken as they are."""
        how = {"log_ratio": self.ratio, "delta": self.less, "value": "as it is, no change", "transition": self.turn}
        return how.get(str(row.get("taken_as")), "") if self.time else ""


def words_of(found: Mapping[str, Any]) -> Words:
    """The words for `assays.json`."""
    s = found.get("settings") or {}
    return Words(time_name(str(s.get("timepoint"))), s.get("measure") == "density") if s.get("change") else Words()
