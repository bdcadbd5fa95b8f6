"""Options of readers say what they mean, and every field of a set has a name of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_sets import mask, picture, text

from tilscore.datasets import read_set
from tilscore.errors import ConfigError, DataError
from tilscore.train import SetConfig, TrainConfig, read_sets

# Words


@pytest.fixture
def conic(tmp_path: Path) -> Path:
    names = ["consep_1-0000", "crag_2-0000", "glas_3-0000", "dpath_4-0000", "pannuke_5-0000", "tcga_6-0000"]
    np.save(tmp_path / "labels.npy", np.zeros((6, 32, 32, 2), np.uint16))
    np.save(tmp_path / "images.npy", np.full((6, 32, 32, 3), 200, np.uint8))
    pd.DataFrame({"patch_info": names}).to_csv(tmp_path / "patch_info.csv", index=False)
    return tmp_path


@pytest.fixture
def pannuke(tmp_path: Path) -> Path:
    organs = np.array(["Breast", "Adrenal_gland", "Bile-duct"])
    for part, name, array in (
        ("images", "images", np.zeros((3, 32, 32, 3))),
        ("images", "types", organs),
        ("masks", "masks", np.zeros((3, 32, 32, 6))),
    ):
        folder = tmp_path / "Fold 1" / part / "fold1"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", array)
    return tmp_path


@pytest.mark.parametrize("skip", ["consep", "CoNSeP", ["CONSEP"], ("consep", "Consep")])
def test_what_is_to_be_left_out_is_left_out_however_it_is_written(conic: Path, skip: Any) -> None:
    got = read_set("conic", conic, skip=skip)
    assert [s.name.split("_")[0] for s in got] == ["crag", "glas", "dpath", "pannuke", "tcga"]
    assert len(read_set("conic", conic, skip=None)) == 6


def test_a_word_that_leaves_nothing_out_is_an_error(conic: Path) -> None:
    """A slip would test a model on fields that it was trained on."""
    with pytest.raises(ConfigError, match=r"option skip \(found consp\); use consep, crag, dpath, glas, pannuke, tcga"):
        read_set("conic", conic, skip=["consp"])
    table = conic / "patch_info.csv"
    table.write_text(table.read_text().replace("consep", "glas"))
    assert len(read_set("conic", conic, skip=["consep"])) == 6, "a part of the set without it may be told so"


@pytest.mark.parametrize(
    ("organs", "kept"),
    [
        ("breast", [0]),
        (["BREAST"], [0]),
        ("Adrenal gland", [1]),
        (["adrenal_gland", "bile duct"], [1, 2]),
        ((), [0, 1, 2]),
    ],
)
def test_organs_are_compared_without_case_and_underscores(pannuke: Path, organs: Any, kept: list[int]) -> None:
    assert [s.name for s in read_set("pannuke", pannuke, organs=organs)] == [f"fold1-000{i}" for i in kept]


def test_an_organ_that_is_not_there_is_an_error(pannuke: Path) -> None:
    with pytest.raises(ConfigError, match=r"option organs \(found Brest\); use Adrenal_gland, Bile-duct, Breast"):
        read_set("pannuke", pannuke, organs=["Brest", "Bile-duct"])


def test_a_set_without_a_field_is_an_error(conic: Path) -> None:
    with pytest.raises(DataError, match="the set holds no field"):
        read_set("conic", conic, skip=["consep", "crag", "glas", "dpath", "pannuke", "tcga"])


def test_images_of_one_hospital_are_of_one_centre(conic: Path) -> None:
    """By centre, CoNSeP's own hospital is on one side, whatever set its images come in."""
    centres = [s.centre for s in read_set("conic", conic)]
    assert centres == ["UHCW", "UHCW", "UHCW", "dpath", "pannuke", "tcga"]


@pytest.mark.parametrize(
    ("option", "key"), [("mpp", "mpp"), ("organ", "organ"), ("name", "name"), ("root", "folder"), ("source", "name")]
)
def test_an_option_that_is_a_key_of_the_set_is_an_error(tmp_path: Path, option: str, key: str) -> None:
    cfg = TrainConfig("m", (SetConfig("fields", format="coco", options={option: 0.5}),))
    with pytest.raises(ConfigError, match=rf"fields: an option that is a key .*found {option}\); give `{key}` beside"):
        read_sets(cfg, tmp_path)
    with pytest.raises(ConfigError, match="use annotations, bgr, coarsen_to_mpp"):
        read_set("coco", tmp_path, rgb=True)


@pytest.mark.parametrize(
    ("layout", "option", "value"),
    [
        ("coco", "coarsen_to_mpp", "fine"),
        ("coco", "coarsen_to_mpp", -1),
        ("coco", "coarsen_to_mpp", 500),
        ("coco", "bgr", "maybe"),
        ("coco", "annotations", 5),
        ("conic", "skip", 5),
    ],
)
def test_an_option_of_another_kind_is_an_error(tmp_path: Path, layout: str, option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{option}: .*\(found {value}\)"):
        read_set(layout, tmp_path, **{option: value})


def test_a_field_smaller_than_a_coarse_pixel_is_one_pixel(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 4, 3)
    text(tmp_path / "a_cells.csv", "x_px,y_px,label\n1.5,1.5,stromal\n")
    (got,) = read_set("plain", tmp_path, mpp=0.5, coarsen_to_mpp=5)
    assert (got.image.shape, got.mpp) == ((1, 1, 3), 1.5)


# Names


def test_both_parts_of_panoptils_have_names_of_their_own(tmp_path: Path) -> None:
    parts = ("ManualNucleiManualRegions", "BootstrapNucleiManualRegions_TCGA/tcga")
    for part in parts:
        picture(tmp_path / part / "rgbs" / "TCGA-A1-A0SP_xmin1.png")
        mask(tmp_path / part / "masks" / "TCGA-A1-A0SP_xmin1.png", np.full((30, 40, 3), 2, np.uint8))
        text(tmp_path / part / "csv" / "TCGA-A1-A0SP_xmin1.csv", "group,coords_x,coords_y\n")
    both = read_set("panoptils", tmp_path)
    assert [s.name for s in both] == [f"{p.split('/')[0]}/TCGA-A1-A0SP_xmin1" for p in sorted(parts)]
    assert {s.group for s in both} == {"TCGA-A1-A0SP"}
    (one,) = read_set("panoptils", tmp_path / parts[0])
    assert one.name == "TCGA-A1-A0SP_xmin1"


def drawing(path: Path, *kinds: str | None, n: int = 1) -> None:
    """`n` small annotated areas, and a large unclassed object of each kind."""

    def square(x: int, size: int) -> dict[str, object]:
        return {
            "type": "Polygon",
            "coordinates": [[[x, x], [x + size, x], [x + size, x + size], [x, x + size], [x, x]]],
        }

    areas = [{"geometry": square(60 + 80 * i, 60), "properties": {"name": "ROI"}} for i in range(n)]
    others = [{"geometry": square(10, 280), "properties": {"objectType": kind} if kind else {}} for kind in kinds]
    features = [{"type": "Feature", **one} for one in (*areas, *others)]
    text(path, json.dumps({"type": "FeatureCollection", "features": features}))


@pytest.mark.parametrize("kind", ["tmaCore", "tma_core", "TMACore", "PathTMACoreObject", "tile", "root", "unknown"])
def test_what_nobody_drew_is_no_annotated_area(tmp_path: Path, kind: str) -> None:
    """A core of a TMA without a class would have made background of every nucleus in it that is not marked."""
    picture(tmp_path / "a.png", 300, 300)
    drawing(tmp_path / "a.geojson", kind)
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert got.image.shape == (60, 60, 3)
    held = json.loads((tmp_path / "a.geojson").read_text())
    held["features"][1] |= {"id": "PathTMACoreObject", "properties": {}}
    text(tmp_path / "a.geojson", json.dumps(held))
    assert [s.image.shape for s in read_set("qupath", tmp_path, mpp=0.5)] == [(60, 60, 3)], "as QuPath 0.2 tells it"


@pytest.mark.parametrize("kind", ["annotation", "Annotation", "PathAnnotationObject", None])
def test_annotations_are_annotated_areas(tmp_path: Path, kind: str | None) -> None:
    picture(tmp_path / "a.png", 300, 300)
    drawing(tmp_path / "a.geojson", kind, n=0)
    (got,) = read_set("qupath", tmp_path, mpp=0.5)
    assert got.image.shape == (280, 280, 3)


def test_areas_of_a_slide_are_told_from_slides_of_that_name(tmp_path: Path) -> None:
    for name, n in (("S1", 2), ("S1-1", 1), ("S2", 2)):
        picture(tmp_path / f"{name}.png", 300, 300)
        drawing(tmp_path / f"{name}.geojson", n=n)
    got = read_set("qupath", tmp_path, mpp=0.5)
    assert sorted(s.name for s in got) == ["S1-1", "S1/1", "S1/2", "S2-1", "S2-2"]
    assert sorted({s.group for s in got}) == ["S1", "S1-1", "S2"]


def test_two_fields_of_one_name_are_an_error(tmp_path: Path) -> None:
    """A drawing exported twice, plain and packed, would be trained on and tested at once."""
    picture(tmp_path / "a.png", 300, 300)
    for name in ("a.geojson", "a.geojson.json"):
        drawing(tmp_path / name)
    with pytest.raises(DataError, match=r"two drawings of one image \(found a\.geojson and a\.geojson\.json"):
        read_set("qupath", tmp_path, mpp=0.5)


@pytest.mark.parametrize(
    ("x", "message"),
    [("NaN", "a nucleus without a place"), (70, "nuclei off the image"), (-30, "nuclei off the image")],
)
def test_a_nucleus_has_its_place_on_the_image_in_every_layout(tmp_path: Path, x: Any, message: str) -> None:
    picture(tmp_path / "a.png", 40, 30)

    def held(x: Any) -> str:
        one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [float(x) - 2, 4, 4, 4]}
        image, kind = {"id": 1, "file_name": "a.png"}, {"id": 1, "name": "Epithelial"}
        return json.dumps({"images": [image], "annotations": [one], "categories": [kind]})

    text(tmp_path / "set.json", held(x))
    with pytest.raises(DataError, match=rf"{message} \(found field a of mine, 1 in all\)"):
        read_set("coco", tmp_path, annotations="set.json", mpp=0.5, source="mine")
    for near, on in ((45, 40), (-15, 0)):
        text(tmp_path / "set.json", held(near))
        (got,) = read_set("coco", tmp_path, annotations="set.json", mpp=0.5)
        assert got.x_px[0] == pytest.approx(on, abs=1e-4)
        assert 0 <= got.x_px[0] < 40
