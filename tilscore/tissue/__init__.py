"""Tissue as a stage: a slide in, a map of tissue, glass, pen marks, folds and blur out."""

from tilscore.tissue.config import TissueConfig
from tilscore.tissue.density import glass_colour, measured_glass
from tilscore.tissue.find import find_tissue, segment
from tilscore.tissue.focus import FocusConfig

__all__ = ["FocusConfig", "TissueConfig", "find_tissue", "glass_colour", "measured_glass", "segment"]
