"""MoNuSeg and MoNuSAC, each on a tiny sample made in the published layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_sets import EPI, INF, OTH, nuclei, picture, text

from tilscore.datasets import UNTYPED, read_set
from tilscore.errors import DataError


def imagescope(path: Path, outlines: dict[str, list[list[tuple[float, float]]]], mpp: str = "0.252000") -> Path:
    """An annotation file as ImageScope writes it: an annotation a class."""
    parts = []
    for k, (name, shapes) in enumerate(outlines.items()):
        regions = "".join(
            f'<Region Id="{i}" Type="0" Zoom="1"><Attributes/><Vertices>'
            + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in shape)
            + "</Vertices></Region>"
            for i, shape in enumerate(shapes)
        )
        attributes = f'<Attributes><Attribute Name="{name}" Id="0" Value=""/></Attributes>'
        parts.append(
            f'<Annotation Id="{k}" Name="" Type="4" LineColor="255">{attributes}<Regions><RegionAttributeHeaders>'
            f'<AttributeHeader Id="9999" Name="Region" ColumnWidth="-1"/></RegionAttributeHeaders>{regions}'
            f"</Regions><Plots/></Annotation>"
        )
    return text(path, f'<?xml version="1.0"?>\n<Annotations MicronsPerPixel="{mpp}">{"".join(parts)}</Annotations>\n')


def box(x: float, y: float, w: float, h: float) -> list[tuple[float, float]]:
    return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]


def test_monuseg(tmp_path: Path) -> None:
    name = "TCGA-A7-A13E-01Z-00-DX1"
    triangle = [(20.0, 6.0), (26.0, 6.0), (20.0, 12.0)]
    imagescope(tmp_path / "Annotations" / f"{name}.xml", {"Description": [box(1, 2, 5, 4), triangle]})
    pixels = picture(tmp_path / "Tissue Images" / f"{name}.tif")
    (got,) = read_set("monuseg", tmp_path)
    assert nuclei(got) == [(3.5, 4.0, UNTYPED), (22.0, 8.0, UNTYPED)]
    assert (got.mpp, got.patient, got.centre) == (0.252, "TCGA-A7-A13E", "TCGA-A7")
    assert got.known is None
    np.testing.assert_array_equal(got.image, pixels)
    (tmp_path / "Tissue Images" / f"{name}.tif").unlink()
    with pytest.raises(DataError, match="its picture is missing"):
        read_set("monuseg", tmp_path)


def test_monusac(tmp_path: Path) -> None:
    slide = "TCGA-55-1594-01Z-00-DX1"
    path = tmp_path / "MoNuSAC_images_and_annotations" / slide / f"{slide}_001.xml"
    shapes = {"Epithelial": [box(4, 4, 6, 6)], "Lymphocyte": [box(20, 10, 4, 4)], "Neutrophil": [box(30, 20, 2, 2)]}
    imagescope(path, shapes, mpp="1.000000")
    picture(path.with_suffix(".tif"))
    (got,) = read_set("monusac", tmp_path)
    assert nuclei(got) == [(7.0, 7.0, EPI), (22.0, 12.0, INF), (31.0, 21.0, OTH)]
    assert (got.mpp, got.patient) == (0.25, "TCGA-55-1594"), "an editor's default resolution is not the scanner's"
    assert got.known is not None
    assert got.known[7, 7]
    assert not got.known[28, 5], "stromal nuclei are not outlined"
    assert got.complete == (EPI,)


def test_monusac_ambiguous_ground_is_unknown(tmp_path: Path) -> None:
    slide = "TCGA-55-1594-01Z-00-DX1"
    path = imagescope(
        tmp_path / slide / f"{slide}_2.xml", {"Epithelial": [box(4, 4, 6, 6)], "Ambiguous": [box(5, 5, 9, 9)]}
    )
    picture(path.with_suffix(".tif"))
    (got,) = read_set("monusac", tmp_path)
    assert nuclei(got) == [(7.0, 7.0, EPI)]
    assert got.known is not None
    assert not got.known[6:13, 6:13].any()
    assert got.complete == ()
    imagescope(path, {"Epitelial": [box(4, 4, 6, 6)]})
    with pytest.raises(DataError, match=r"Epitelial.*nearest known class: Epithelial"):
        read_set("monusac", tmp_path)
    path.write_text(path.read_text()[:300])
    with pytest.raises(DataError, match="is not an ImageScope annotation"):
        read_set("monusac", tmp_path)
