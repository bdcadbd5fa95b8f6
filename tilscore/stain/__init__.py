"""How a slide is stained and how sharp it is, whether its model knows such slides, and normalisation on request."""

from __future__ import annotations

from tilscore.stain.check import StainCheck, check_stain, read_stain
from tilscore.stain.limits import Finding, out_of_range, range_of
from tilscore.stain.measure import StainConfig, StainStats, measure_stain, stain_of_image
from tilscore.stain.normalise import Normalisation, normalised, plan_normalisation
from tilscore.stain.vectors import Stains, find_stains, optical_density, unmix
from tilscore.stain.white import GLASS_LEVEL, GLASS_MPP, glass_of, white_table

__all__ = [
    "GLASS_LEVEL",
    "GLASS_MPP",
    "Finding",
    "Normalisation",
    "StainCheck",
    "StainConfig",
    "StainStats",
    "Stains",
    "check_stain",
    "find_stains",
    "glass_of",
    "measure_stain",
    "normalised",
    "optical_density",
    "out_of_range",
    "plan_normalisation",
    "range_of",
    "read_stain",
    "stain_of_image",
    "unmix",
    "white_table",
]
