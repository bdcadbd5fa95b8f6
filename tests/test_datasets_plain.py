"""What the project's own layout may hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_sets import mask, picture, text

from tilscore.datasets import read_plain
from tilscore.datasets.reading import read_mask
from tilscore.errors import DataError
from tilscore.labels import Region


def plain_field(folder: Path) -> None:
    picture(folder / "a.png")
    text(folder / "a_cells.csv", "x_px,y_px,label\n3.5,4.5,stromal\n")


@pytest.mark.parametrize(("value", "kind"), [(7, np.uint8), (256, np.uint16)])
def test_own_layout_has_no_other_regions(tmp_path: Path, value: int, kind: type) -> None:
    plain_field(tmp_path)
    regions = np.full((30, 40), Region.STROMA, kind)
    mask(tmp_path / "a_regions.png", regions)
    (got,) = read_plain(tmp_path, 0.5)
    assert got.regions is not None
    assert (got.regions == Region.STROMA).all()
    regions[3, 5] = value
    mask(tmp_path / "a_regions.png", regions)
    with pytest.raises(DataError, match=rf"no region \(found {value}\); use 0 other, .* or 255 unknown"):
        read_plain(tmp_path, 0.5)


def test_own_layout_in_16_bits(tmp_path: Path) -> None:
    plain_field(tmp_path)
    mask(tmp_path / "a_known.png", np.full((30, 40), 256, np.uint16))
    (got,) = read_plain(tmp_path, 0.5)
    assert got.known is not None
    assert got.known.all()
    mask(tmp_path / "wide.png", np.full((30, 40), 256, np.uint16))
    with pytest.raises(DataError, match="beyond 0 to 255"):
        read_mask(tmp_path / "wide.png", (30, 40))


def test_own_layout_needs_a_place_for_each_nucleus(tmp_path: Path) -> None:
    plain_field(tmp_path)
    for row in (",4.5,other", "3.5,inf,other"):
        text(tmp_path / "a_cells.csv", f"x_px,y_px,label\n3.5,4.5,stromal\n{row}\n")
        with pytest.raises(DataError, match=r"without a place \(found row 2\)"):
            read_plain(tmp_path, 0.5)


def test_own_layout_knows_its_fields(tmp_path: Path) -> None:
    """A name that no field has would leave that field a patient of its own, on any side of a fold."""
    plain_field(tmp_path)
    text(tmp_path / "fields.csv", "name,patient\na.png,P1\n")
    assert [s.group for s in read_plain(tmp_path, 0.5)] == ["P1"]
    text(tmp_path / "fields.csv", "name,patient\na,P1\nb,P1\n")
    with pytest.raises(DataError, match=r"not there \(found b\); give the names of the annotated images, e.g. a"):
        read_plain(tmp_path, 0.5)


@pytest.mark.parametrize("place", ["41.5,4", "3,31.2", "-1.5,4", "3,-300"])
def test_nuclei_off_the_image_are_of_another(tmp_path: Path, place: str) -> None:
    plain_field(tmp_path)
    text(tmp_path / "a_cells.csv", "x_px,y_px,label\n0,0,other\n40.5,30.5,stromal\n")
    assert len(read_plain(tmp_path, 0.5)[0].label) == 2
    text(tmp_path / "a_cells.csv", f"x_px,y_px,label\n0,0,other\n{place},stromal\n")
    with pytest.raises(DataError, match=r"nuclei off the image \(found row 2, 1 in all\); is it of a\.png"):
        read_plain(tmp_path, 0.5)


@pytest.mark.parametrize("name", ["b_regions.png", "b_known.png"])
def test_a_mask_without_a_table_of_nuclei_is_not_passed_over(tmp_path: Path, name: str) -> None:
    plain_field(tmp_path)
    picture(tmp_path / "b.png")
    assert len(read_plain(tmp_path, 0.5)) == 1
    mask(tmp_path / name, np.ones((30, 40), np.uint8))
    with pytest.raises(DataError, match=rf"{name}: a mask of a field without a table of nuclei; put b_cells\.csv"):
        read_plain(tmp_path, 0.5)
    text(tmp_path / "b_cells.csv", "x_px,y_px,label\n")
    assert len(read_plain(tmp_path, 0.5)) == 2


@pytest.mark.parametrize("row", ["3,5,4,5,stromal", "3,5,4,5", "7,3.5,4.5,stromal"])
def test_a_row_with_more_values_than_columns_is_an_error(tmp_path: Path, row: str) -> None:
    """Decimal commas between commas would be another place: 3,5 and 4,5 were read as 4 and 5."""
    plain_field(tmp_path)
    text(tmp_path / "a_cells.csv", f"x_px,y_px,label\n{row}\n")
    with pytest.raises(DataError, match=r"rows have more values than columns.*decimal points"):
        read_plain(tmp_path, 0.5)


def test_a_row_with_more_values_than_columns_tells_no_other_patient(tmp_path: Path) -> None:
    plain_field(tmp_path)
    text(tmp_path / "fields.csv", "name,patient\nP9,a,P1\n")
    with pytest.raises(DataError, match="rows have more values than columns"):
        read_plain(tmp_path, 0.5)


def test_a_table_of_other_columns_tells_those_that_it_has(tmp_path: Path) -> None:
    plain_field(tmp_path)
    text(tmp_path / "a_cells.csv", "x_px;y_px;label\n3;4;stromal\n")
    with pytest.raises(DataError, match=r"not a table of x_px, y_px, label \(found columns x_px;y_px;label\)"):
        read_plain(tmp_path, 0.5)


def test_a_mask_of_numbers_may_have_a_palette_and_no_colours(tmp_path: Path) -> None:
    plain_field(tmp_path)
    numbered = Image.fromarray(np.full((30, 40), Region.STROMA, np.uint8))
    numbered.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    numbered.save(tmp_path / "a_regions.png")
    (got,) = read_plain(tmp_path, 0.5)
    assert got.regions is not None
    assert (got.regions == Region.STROMA).all()
    numbered.convert("RGB").save(tmp_path / "a_regions.png")
    with pytest.raises(
        DataError, match=r"a_regions\.png: a mask in colours \(found \(30, 40, 3\)\); write one channel"
    ):
        read_plain(tmp_path, 0.5)
    mask(tmp_path / "a_regions.png", np.zeros((40, 30), np.uint8))
    with pytest.raises(DataError, match=r"size \(found \(40, 30\)\); its image is 30 high and 40 wide"):
        read_plain(tmp_path, 0.5)


def test_pictures_without_a_table_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain_field(tmp_path)
    mask(tmp_path / "a_inst.png", np.zeros((30, 40), np.uint8))
    read_plain(tmp_path, 0.5)
    assert capsys.readouterr().err == ""
    picture(tmp_path / "b.png")
    read_plain(tmp_path, 0.5)
    assert "1 picture left out, there is no b_cells.csv for b.png" in capsys.readouterr().err
