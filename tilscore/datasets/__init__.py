"""Annotated fields for training and evaluation: one small file per layout, one `Sample` for all."""

from tilscore.datasets.classes import IGNORED, ClassMap
from tilscore.datasets.derive import with_derived_regions
from tilscore.datasets.describe import describe_sets
from tilscore.datasets.plain import read_plain
from tilscore.datasets.registry import FORMATS, class_map, read_set
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.datasets.splits import folds_of

__all__ = [
    "FORMATS",
    "IGNORED",
    "UNTYPED",
    "ClassMap",
    "Sample",
    "class_map",
    "describe_sets",
    "folds_of",
    "read_plain",
    "read_set",
    "with_derived_regions",
]
