"""The names of what is seen: cell classes, tissue regions and slide-area classes, with their colours."""

from __future__ import annotations

from enum import IntEnum


class Cell(IntEnum):
    """Class of a nucleus; the value is the channel of the network's type head."""

    INFLAMMATORY = 0
    """Lymphocytes and plasma cells (the training sets also put some granulocytes here)."""
    EPITHELIAL = 1
    """Healthy and malignant epithelium."""
    STROMAL = 2
    """Fibroblasts, muscle, endothelium."""
    OTHER = 3


class Region(IntEnum):
    """Class of a piece of tissue; the value is the pixel value of `regions.tif`."""

    OTHER = 0
    """Background, lumen, and whatever is none of the others."""
    TUMOUR = 1
    """Epithelium. The network cannot tell invasive from benign epithelium."""
    STROMA = 2
    NECROSIS = 3
    """Necrosis or debris."""
    FAT = 4


class Area(IntEnum):
    """What a piece of the slide is fit for; the value is the pixel value of `tissue.tif`."""

    GLASS = 0
    TISSUE = 1
    PEN = 2
    BLUR = 3
    FOLD = 4


UNKNOWN = 255
"""Pixel value of a training mask where nothing is known."""

RGB = tuple[int, int, int]

CELL_COLOURS: dict[Cell, RGB] = {
    Cell.INFLAMMATORY: (0, 215, 140),
    Cell.EPITHELIAL: (175, 0, 30),
    Cell.STROMAL: (31, 90, 210),
    Cell.OTHER: (130, 130, 130),
}
"""Green and red that differ in lightness too, for eyes that do not tell green from red."""
REGION_COLOURS: dict[Region, RGB] = {
    Region.OTHER: (235, 235, 235),
    Region.TUMOUR: (200, 60, 70),
    Region.STROMA: (90, 130, 220),
    Region.NECROSIS: (60, 60, 60),
    Region.FAT: (240, 210, 90),
}
AREA_COLOURS: dict[Area, RGB] = {
    Area.GLASS: (255, 255, 255),
    Area.TISSUE: (225, 160, 190),
    Area.PEN: (40, 180, 60),
    Area.BLUR: (150, 150, 150),
    Area.FOLD: (120, 60, 160),
}
