"""What a model is: the shape of its network, its resolution, its classes and operating point (`config.json`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import isfinite

from tilscore.labels import Cell, Region

FORMAT = 1
MPP = 0.5
"""Resolution of the input, um/px."""
CELL_STRIDE = 2
"""Input pixels per pixel of the cell maps."""
REGION_STRIDE = 8
"""Input pixels per pixel of the region map."""
SIZE_MULTIPLE = 32
"""Height and width of the input must be multiples of this."""
DETECTION_THRESHOLD = 0.3
"""Of a model that was not given its own: before calibration, the best mean F1 of the two sets in cross-validation."""
HASH_DIGITS = 12
"""Hexadecimal digits of the hash of a field's pixels: among 10,000 fields two have one hash once in 5 million times."""
CELL_CLASSES = tuple(c.name.lower() for c in Cell)
REGION_CLASSES = tuple(r.name.lower() for r in Region)


@dataclass(frozen=True)
class NetConfig:
    """Shape of the network."""

    encoder: str = "efficientnet_lite0"
    """A timm encoder with features at strides 2, 4, 8, 16 and 32; this one has no squeeze-excite: fast on CPUs."""
    width: int = 64
    """Channels of the pyramid."""
    zoom: int = 1
    """1, or 2: the input is magnified first, every level of the pyramid is twice as fine, and the work four times."""

    def __post_init__(self) -> None:
        if self.zoom not in (1, CELL_STRIDE):
            raise ValueError(f"zoom is 1 or {CELL_STRIDE}")


@dataclass(frozen=True)
class Calibration:
    """From logits to probabilities, and the operating point of each class; the default changes nothing.

    P(nucleus) = sigmoid(detection_slope * logit + detection_shift) (Platt 1999). P(class | nucleus) =
    softmax(type_slope * logits + inflammatory_shift where the class is inflammatory): temperature scaling (Guo et al.
    2017) with 1 / temperature, and the bias of the one class that the score counts (Alexandari et al. 2020, "Maximum
    likelihood with bias-corrected calibration", have one a class). One slope and shift a class were tried: in
    cross-validation they cost up to 0.09 of F_c.
    """

    detection_slope: float = 1.0
    """Above 0: more logit is never less probable."""
    detection_shift: float = 0.0
    type_slope: float = 1.0
    """Above 0; below 1 the network was too sure of its classes."""
    inflammatory_shift: float = 0.0
    """Below 0 the network called too many nuclei inflammatory."""
    class_thresholds: tuple[float, ...] = (0.0,) * len(Cell)
    """Lowest P(nucleus) of a cell of each class; the model's `detection_threshold` holds besides."""
    fitted_on: str = ""
    """The fields that it was fitted on, and the model where that is a parent of this one; empty where it never was."""

    def __post_init__(self) -> None:
        slopes = (self.detection_slope, self.type_slope)
        if not all(map(isfinite, (*slopes, self.detection_shift, self.inflammatory_shift))) or min(slopes) <= 0:
            raise ValueError("slopes are above 0, and slopes and shifts are finite")
        if len(self.class_thresholds) != len(Cell) or not all(0 <= t < 1 for t in self.class_thresholds):
            raise ValueError(f"class_thresholds: {len(Cell)} probabilities below 1, one a class")


@dataclass(frozen=True)
class StainLimit:
    """One statistic of stain or focus (a number of `stain.StainStats`) over the training pictures."""

    name: str
    low: float
    """1 % of the pictures, as augmented, lie below."""
    typical: float
    """Median of the pictures as they are."""
    high: float
    """1 % of the pictures, as augmented, lie above."""

    def __post_init__(self) -> None:
        if not (all(map(isfinite, (self.low, self.typical, self.high))) and self.low <= self.typical <= self.high):
            raise ValueError(f"{self.name}: low <= typical <= high, all finite")


@dataclass(frozen=True)
class StainRange:
    """The stain and focus that the model was trained on; without limits it is not known, and no slide is out of it."""

    limits: tuple[StainLimit, ...] = ()
    n_images: int = 0
    """Training pictures."""

    def limit(self, name: str) -> StainLimit | None:
        """The limits of one statistic."""
        return next((x for x in self.limits if x.name == name), None)


@dataclass(frozen=True)
class ModelConfig:
    """`config.json` of a model."""

    name: str
    net: NetConfig = field(default_factory=NetConfig)
    format: int = FORMAT
    """Version of this layout."""
    mpp: float = MPP
    """Resolution of the input, um/px."""
    cell_classes: tuple[str, ...] = CELL_CLASSES
    region_classes: tuple[str, ...] = REGION_CLASSES
    detection_threshold: float = DETECTION_THRESHOLD
    """Lowest probability of a nucleus, after calibration."""
    calibration: Calibration = field(default_factory=Calibration)
    stain_range: StainRange = field(default_factory=StainRange)
    """Slides beyond it are flagged."""
    learned_from: str = ""
    """Hashes of the pixels of the fields that it learned from, and those that it began with, as far as they are known:
    `HASH_DIGITS` each, sorted, joined by blanks. No name of a field or patient leaves with a model."""
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        if any(len(h) != HASH_DIGITS or set(h) - set("0123456789abcdef") for h in self.learned_from.split()):
            raise ValueError(f"learned_from: hashes of {HASH_DIGITS} hexadecimal digits, joined by blanks")

    @property
    def learned(self) -> frozenset[str]:
        """The hashes of `learned_from`."""
        return frozenset(self.learned_from.split())

    def having_learned(self, hashes: Iterable[str]) -> ModelConfig:
        """The config with further hashes of fields."""
        return replace(self, learned_from=" ".join(sorted(self.learned.union(hashes))))

    @property
    def til_threshold(self) -> float:
        """Lowest probability of a nucleus that is kept as an inflammatory cell."""
        return max(self.detection_threshold, self.calibration.class_thresholds[Cell.INFLAMMATORY])
