"""What a model is: the shape of its network, its resolution, its classes and operating point (`config.json`)."""

from __future__ import annotations

from dataclasses import dataclass, field

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
"""The best compromise between CoNSeP and CRCHistoPhenotypes in cross-validation."""
CELL_CLASSES = tuple(c.name.lower() for c in Cell)
REGION_CLASSES = tuple(r.name.lower() for r in Region)


@dataclass(frozen=True)
class NetConfig:
    """Shape of the network."""

    encoder: str = "efficientnet_lite0"
    """A timm encoder with features at strides 2, 4, 8, 16 and 32; this one has no squeeze-excite: fast on CPUs."""
    width: int = 64
    """Channels of the pyramid."""


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
    """Lowest probability of a nucleus."""
    weights_sha256: str = ""
