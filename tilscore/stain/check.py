"""The stain of a slide held against its model: what was measured, what is out of range, what is done about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilscore.errors import DataError
from tilscore.network.config import StainRange
from tilscore.raster import Raster
from tilscore.slide import Slide
from tilscore.stain.limits import Finding, out_of_range
from tilscore.stain.measure import StainConfig, StainStats, measure_stain
from tilscore.stain.normalise import Normalisation, plan_normalisation
from tilscore.stain.white import Colour


@dataclass(frozen=True)
class StainCheck:
    """Stain and focus of a slide beside those of training."""

    stats: StainStats
    findings: tuple[Finding, ...]
    normalisation: Normalisation
    n_images: int
    """Training pictures that the range comes from; 0 where the model states none, and nothing was held against it."""

    def as_values(self) -> dict[str, Any]:
        """What `stain.json` and the block `stain` of `score.json` hold."""
        return {
            "statistics": self.stats.as_values(),
            "findings": [f.as_values() for f in self.findings],
            "reasons": list(dict.fromkeys(f.code for f in self.findings)),
            "normalisation": self.normalisation.as_values(),
            "n_training_images": self.n_images,
        }


def check_stain(
    slide: Slide, tissue: Raster, limits: StainRange, cfg: StainConfig, *, glass: Colour | None, normalise: bool = False
) -> StainCheck:
    """Measure a slide and hold it against `limits`; parameters and errors as for `measure_stain`."""
    stats = measure_stain(slide, tissue, cfg, glass=glass)
    plan = plan_normalisation(stats, limits, on=normalise)
    return StainCheck(stats, tuple(out_of_range(stats, limits)), plan, limits.n_images)


def read_stain(path: Path) -> dict[str, Any]:
    """What `stain.json` holds; empty where there is none, as in results of earlier versions.

    Raises
    ------
    DataError : it is damaged.
    """
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        codes = values["reasons"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError("is damaged", where=path, found=err, do="run `tilscore infer` again") from err
    if not isinstance(codes, list):
        raise DataError("is damaged", where=path, found=codes, do="run `tilscore infer` again")
    return dict(values)
