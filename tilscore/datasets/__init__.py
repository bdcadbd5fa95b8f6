"""Annotated fields for training and evaluation: one small file per layout, one `Sample` for all."""

from tilscore.datasets.derive import with_derived_regions
from tilscore.datasets.plain import read_plain
from tilscore.datasets.sample import UNTYPED, Sample

__all__ = ["UNTYPED", "Sample", "read_plain", "with_derived_regions"]
