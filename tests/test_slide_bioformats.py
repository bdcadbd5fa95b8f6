"""OME-TIFF and OME-NGFF as Bio-Formats' tools write them: colours as planes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from badfiles import refused
from numpy.typing import NDArray
from tiffs import H, W, gradient, noise, reduced

from tilscore.info import describe
from tilscore.slide import open_slide

BIO_FORMATS = (255 << 24 | 255, 255 << 16 | 255, 255 << 8 | 255)
"""Red, green and blue as RGBA."""


def ome_xml(
    names: list[str] | None = None, *, colours: tuple[int, ...] = (), size: tuple[int, int, int] = (3, 1, 1),
    tiff_data: str = '<TiffData IFD="0" PlaneCount="3"><UUID FileName="old.ome.tiff">urn:uuid:1</UUID></TiffData>',
    marks: str = "", w: int = W, h: int = H,
) -> str:  # fmt: skip
    """The description that Bio-Formats gives an image of 0.25 um/px, and a label beside it."""
    signed = [c - (1 << 32) if c >> 31 else c for c in colours]
    channels = "".join(
        f'<Channel ID="Channel:0:{i}" SamplesPerPixel="1" {marks}'
        + (f' Name="{names[i]}"' if names else "")
        + (f' Color="{signed[i]}"' if colours else "")
        + "><LightPath/></Channel>"
        for i in range(size[0])
    )
    c, z, t = size
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" Creator="OME Bio-Formats 8.0.0">'
        f'<Image ID="Image:0" Name="a"><Pixels BigEndian="false" DimensionOrder="XYZCT" ID="Pixels:0" Type="uint8" '
        f'PhysicalSizeX="0.25" PhysicalSizeXUnit="&#181;m" PhysicalSizeY="0.25" PhysicalSizeYUnit="&#181;m" '
        f'SizeC="{c}" SizeT="{t}" SizeX="{w}" SizeY="{h}" SizeZ="{z}">{channels}{tiff_data}</Pixels></Image>'
        '<Image ID="Image:1" Name="label image"><Pixels ID="Pixels:1" SizeC="3" SizeT="1" SizeX="90" SizeY="64" '
        'SizeZ="1" Type="uint8"><Channel ID="Channel:1:0" Name="anything" SamplesPerPixel="3"/>'
        '<TiffData IFD="3" PlaneCount="3"/></Pixels></Image></OME>'
    )


def write_planes(
    path: Path, xml: str, pixels: NDArray[np.uint8], *, order: tuple[int, ...] = (0, 1, 2), **options: object
) -> Path:
    """As `raw2ometiff` without --rgb: each colour is a page, its levels are SubIFDs, and pages of a label follow."""
    told: dict[str, object] = {"photometric": "minisblack", "metadata": None, "tile": (128, 128), "compression": "lzw"}
    told |= options
    with tifffile.TiffWriter(path, bigtiff=True, byteorder=">") as file:
        for i, channel in enumerate(order):
            first = {"description": xml.encode()} if i == 0 else {}
            file.write(pixels[..., channel], subifds=2, subfiletype=2, **told, **first)
            for factor in (2, 4):
                file.write(reduced(pixels, factor)[..., channel], subfiletype=3, **told)
        for channel in range(3):
            file.write(np.full((64, 90), 50 + channel, np.uint8), subfiletype=2, **told)
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": None}, {"compression": "deflate", "predictor": True}, {"tile": None, "rowsperstrip": 33}],
    ids=["lzw", "plain", "predictor", "strips"],
)
@pytest.mark.parametrize("colours", [(), BIO_FORMATS, (0xFFFFFFFF,) * 3], ids=["unsaid", "rgb", "white"])
def test_colours_that_are_pages_are_read_at_every_level(
    tmp_path: Path, colours: tuple[int, ...], options: dict[str, object]
) -> None:
    with open_slide(write_planes(tmp_path / "p.ome.tiff", ome_xml(colours=colours), noise(), **options)) as slide:
        assert (slide.reader, slide.vendor, slide.mpp_source) == ("tiff", "ome-tiff", "ome-xml")
        assert [g.mpp for g in slide.levels] == [0.25, 0.5, 1.0]
        assert (slide.read(slide.level0.window) == noise()).all()
        assert (slide.read(slide.levels[1].window) == reduced(noise(), 2)).all()
        assert (slide.read(slide.levels[2].window) == reduced(noise(), 4)).all()
        assert not slide.unreadable
        assert describe(slide)["n_further_images"] == 1


@pytest.mark.parametrize("compression", ["jpeg", 33003, 33004, 34712])
def test_colours_that_are_pages_in_jpeg(tmp_path: Path, compression: object) -> None:
    """JPEG 2000 of one colour is the same under each of its numbers."""
    pixels = np.rint(gradient()).astype(np.uint8)
    written = "jpeg2000" if compression in (33003, 33004) else compression
    path = write_planes(tmp_path / "p.ome.tiff", ome_xml(), pixels, compression=written)
    if written != compression:
        with tifffile.TiffFile(path, mode="r+") as file:
            for page in file.pages[:3]:
                for level in (page, *page.pages):
                    level.tags["Compression"].overwrite(compression)
    with open_slide(path) as slide:
        assert len(slide.levels) == 3
        assert abs(slide.read(slide.level0.window).astype(int) - pixels)[:512, :512].max() <= 4
        assert not slide.unreadable


def test_planes_lie_where_the_xml_says(tmp_path: Path) -> None:
    places = "".join(f'<TiffData FirstC="{c}" FirstT="0" FirstZ="0" IFD="{2 - c}" PlaneCount="1"/>' for c in range(3))
    path = write_planes(tmp_path / "p.ome.tiff", ome_xml(tiff_data=places), noise(), order=(2, 1, 0))
    with open_slide(path) as slide:
        assert (slide.read(slide.level0.window) == noise()).all()
        assert (slide.read(slide.levels[1].window) == reduced(noise(), 2)).all()


def test_a_series_of_three_channels_as_tifffile_writes_it(tmp_path: Path) -> None:
    said = {"axes": "CYX", "PhysicalSizeX": 310.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 310.0}
    said |= {"PhysicalSizeYUnit": "nm", "Channel": {"Name": ["Red", "Green", "Blue"]}}
    path, planes = tmp_path / "c.ome.tif", noise().transpose(2, 0, 1)
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(planes, photometric="minisblack", tile=(128, 128), metadata=said, subifds=1)
        file.write(reduced(noise(), 2).transpose(2, 0, 1), photometric="minisblack", tile=(128, 128), subfiletype=1)
    with open_slide(path) as slide:
        assert (slide.mpp, slide.mpp_source) == (pytest.approx(0.31), "ome-xml")
        assert len(slide.levels) == 2
        assert (slide.read(slide.level0.window) == noise()).all()
        assert (slide.read(slide.levels[1].window) == reduced(noise(), 2)).all()


@pytest.mark.parametrize(
    "names", [["Channel:0:0", "Channel:0:1", "Channel:0:2"], ["R", "G", "B"], ["TL Brightfield"] * 3]
)
def test_names_that_do_not_contradict(tmp_path: Path, names: list[str]) -> None:
    with open_slide(write_planes(tmp_path / "p.ome.tiff", ome_xml(names), noise())) as slide:
        assert (slide.read(slide.level0.window) == noise()).all()


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"names": ["DAPI", "FITC", "Cy5"]}, "DAPI, FITC, Cy5"),
        ({"names": ["Channel 0", "Channel 1", "AF 647"]}, "AF 647"),
        ({"names": ["Blue", "Green", "Red"]}, "Blue, Red"),
        ({"names": ["525", "590", "700"]}, "525, 590, 700"),
        ({"marks": 'ContrastMethod="Fluorescence"'}, "Fluorescence"),
        ({"marks": 'Fluor="Alexa"', "colours": BIO_FORMATS}, "Alexa"),
        ({"colours": BIO_FORMATS[::-1]}, "colour 0000FF, colour FF0000"),
        ({"colours": (0xFFFF00FF, *BIO_FORMATS[1:])}, "colour FFFF00"),
        ({"size": (4, 1, 1)}, "SizeC 4, SizeZ 1, SizeT 1"),
        ({"size": (3, 2, 1)}, "SizeC 3, SizeZ 2, SizeT 1"),
        ({"size": (3, 1, 2)}, "SizeC 3, SizeZ 1, SizeT 2"),
        ({"size": (1, 1, 1)}, "SizeC 1"),
        ({"w": W + 1}, "no image of this size"),
        ({"tiff_data": '<TiffData IFD="0"/>'}, "1 of its planes"),
        ({"tiff_data": '<TiffData IFD="4" PlaneCount="3"/>'}, "2 of its planes"),
        (
            {"tiff_data": "".join(f'<TiffData IFD="{i}"><UUID FileName="{i}.tif">x</UUID></TiffData>' for i in "012")},
            "planes in 3 files",
        ),
    ],
)  # fmt: skip
def test_planes_that_are_not_red_green_and_blue(tmp_path: Path, said: dict[str, object], found: str) -> None:
    line = refused(write_planes(tmp_path / "p.ome.tiff", ome_xml(**said), noise()))
    assert f"(found {found}" in line
    assert "raw2ometiff --rgb" in line


def test_planes_that_are_not_alike(tmp_path: Path) -> None:
    """A level that one colour lacks is none; a colour that is stored otherwise is told."""
    path = write_planes(tmp_path / "p.ome.tiff", ome_xml(), noise())
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[1].pages[0].tags["ImageWidth"].overwrite(300)
    with open_slide(path) as slide:
        assert [g.mpp for g in slide.levels] == [0.25, 1.0]
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[2].tags["PhotometricInterpretation"].overwrite(0)
    assert "not stored alike" in refused(path)
    path = write_planes(tmp_path / "q.ome.tiff", ome_xml(), noise())
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[1].tags["Compression"].overwrite(8)
    assert "not stored alike" in refused(path)


def test_one_colour_of_a_tile_that_is_lost_costs_that_tile(tmp_path: Path) -> None:
    path = write_planes(tmp_path / "p.ome.tiff", ome_xml(), noise())
    with tifffile.TiffFile(path) as file:
        at, n = file.pages[2].dataoffsets[1], file.pages[2].databytecounts[1]
    with open(path, "r+b") as raw:
        raw.seek(at)
        raw.write(b"\xff" * n)
    with open_slide(path) as slide:
        read = slide.read(slide.level0.window)
        assert (read[:128, 128:256] == 255).all()
        read[:128, 128:256] = noise()[:128, 128:256]
        assert (read == noise()).all()
        assert slide.n_unreadable_px == 128 * 128
