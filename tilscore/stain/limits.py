"""What a model was trained on, and whether a slide lies within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tilscore.network.config import StainLimit, StainRange
from tilscore.stain.measure import StainStats

COMPARED = (
    "od_p90",
    "saturation_frac",
    "h_red_deg",
    "h_blue_deg",
    "e_red_deg",
    "e_blue_deg",
    "between_deg",
    "h_p99_od",
    "e_p99_od",
    "sharpness_median",
)
"""The statistics that have limits. White is none of them, slides are balanced to the white of training; nor are the
median densities, which tell how many cells there are more than how they are stained."""
TAIL_PCT = 1.0
"""%, training pictures beyond each limit: one odd picture does not set it."""
_NEEDED = 5
"""Pictures from which there is a range."""


@dataclass(frozen=True)
class Finding:
    """A statistic of a slide beyond the limits of training."""

    name: str
    value: float
    low: float
    high: float

    @property
    def code(self) -> str:
        """The reason that it gives a score."""
        return "blurred" if self.name == "sharpness_median" else "stain_out_of_range"

    def as_values(self) -> dict[str, Any]:
        """For JSON."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def range_of(seen: Sequence[StainStats], plain: Sequence[StainStats] = ()) -> StainRange:
    """The range of statistics of training pictures, each statistic where at least five pictures tell it.

    Parameters
    ----------
    seen : the pictures as the network saw them: they set the limits.
    plain : the pictures as they are, without augmentation: with their median as `typical`. Default: `seen`.
    """
    limits = []
    for name in COMPARED:
        every, own = _told(seen, name), _told(plain or seen, name)
        if min(len(every), len(own)) < _NEEDED:
            continue
        low, high = (float(v) for v in np.percentile(every, (TAIL_PCT, 100 - TAIL_PCT)))
        typical = float(np.clip(np.median(own), low, high))
        limits.append(StainLimit(name, *(round(v, 4) for v in (low, typical, high))))
    return StainRange(tuple(limits), len(plain or seen))


def out_of_range(stats: StainStats, limits: StainRange) -> list[Finding]:
    """The statistics beyond their limits; none where a statistic or its limit is not told. Sharper is never beyond."""
    found = []
    for limit in limits.limits:
        value = getattr(stats, limit.name, None)
        if value is None:
            continue
        too_high = value > limit.high and limit.name != "sharpness_median"
        if value < limit.low or too_high:
            found.append(Finding(limit.name, float(value), limit.low, limit.high))
    return found


def _told(stats: Sequence[StainStats], name: str) -> list[float]:
    return [value for s in stats if (value := getattr(s, name)) is not None]
