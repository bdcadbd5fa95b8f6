"""What OME-XML states of its images. It is read as text, so that no entity of the XML is ever expanded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

from tilscore.slide.mpp import Found, in_um

_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b")
_AXES = ("SizeC", "SizeZ", "SizeT")


@dataclass(frozen=True)
class OmeImage:
    """One image: the attributes of its `Pixels`, of its channels, and of the elements that place its planes in files.

    Parameters
    ----------
    files : names or identities of the files that hold its planes, where stated.
    """

    pixels: dict[str, str]
    channels: list[dict[str, str]]
    tiff_data: list[dict[str, str]]
    files: frozenset[str]

    @property
    def size(self) -> tuple[str | None, str | None]:
        return self.pixels.get("SizeX"), self.pixels.get("SizeY")

    @property
    def is_three_planes(self) -> bool:
        """Whether it has three channels, and one plane of each."""
        return [self.pixels.get(axis) for axis in _AXES] == ["3", "1", "1"]

    @property
    def axes(self) -> str:
        return ", ".join(f"{axis} {self.pixels.get(axis, 'not stated')}" for axis in _AXES)

    def channel_words(self) -> list[list[str]]:
        """What is said of each channel: its name, dye, contrast and wavelengths."""
        keys = ("Name", "Fluor", "ContrastMethod", "EmissionWavelength", "ExcitationWavelength")
        return [[unescape(stated[key]) for key in keys if stated.get(key)] for stated in self.channels]

    def channel_colours(self) -> list[str]:
        """The colour of each channel as six hexadecimal digits, empty where none is stated (stored as signed RGBA)."""
        colours = [stated.get("Color", "") for stated in self.channels]
        return [f"{int(c) >> 8 & 0xFFFFFF:06X}" if re.fullmatch(r"-?\d{1,10}", c) else "" for c in colours]

    def planes(self) -> list[int | None]:
        """Which directory of the file holds each of three channels; None where this is not said."""
        at: dict[int, int] = {}
        for stated in self.tiff_data or [{}]:
            first, ifd = int(stated.get("FirstC", 0)), int(stated.get("IFD", 0))
            n = int(stated.get("PlaneCount", 1 if "IFD" in stated else 3))
            at.update({first + i: ifd + i for i in range(min(n, 3))})
        return [at.get(channel) for channel in range(3)]


def is_ome(description: str) -> bool:
    return "<OME" in description[:2000]


def ome_images(description: str) -> list[OmeImage]:
    """The images of OME-XML, in order; none in other descriptions."""
    starts = [match.start() for match in _PIXELS.finditer(description)] if is_ome(description) else []
    parts = [description[a:b] for a, b in zip(starts, [*starts[1:], None], strict=False)]
    return [_image(re.split(r"</(?:\w+:)?Pixels>", part, maxsplit=1)[0]) for part in parts]


def _image(xml: str) -> OmeImage:
    named = {stated.get("FileName", "") for stated in _elements("UUID", xml)}
    pixels = _elements("Pixels", xml)
    return OmeImage(
        pixels[0] if pixels else {}, _elements("Channel", xml), _elements("TiffData", xml), frozenset(named - {""})
    )


def _elements(name: str, xml: str) -> list[dict[str, str]]:
    """Attributes of the elements of a name."""
    elements = re.findall(rf"<(?:\w+:)?{name}\b([^>]*)>", xml)
    return [dict(re.findall(r"""([\w:]+)\s*=\s*["']([^"']*)["']""", element)) for element in elements]


def from_ome(images: list[OmeImage], width: int, height: int) -> Found | None:
    """PhysicalSizeX and Y of the image with the size of the base page."""
    for image in images:
        if image.size == (str(width), str(height)) and "PhysicalSizeX" in image.pixels:
            sizes = [_length(image.pixels, axis) for axis in "XY"]
            return Found(sizes[0], sizes[1], "ome-xml")
    return None


def _length(stated: dict[str, str], axis: str) -> float | str | None:
    text, unit = stated.get(f"PhysicalSize{axis}"), stated.get(f"PhysicalSize{axis}Unit", "µm")
    length = in_um(text, unit.replace("&#181;", "µ").replace("&#xB5;", "µ"))
    return length if length is not None or text is None else f"{text} {unit}"
