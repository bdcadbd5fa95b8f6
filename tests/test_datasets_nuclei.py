"""Readers of published sets of nuclei, each on a tiny sample that is made here in the published layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from tiny_sets import EPI, INF, OTH, SLIDE, STR, mask, nuclei, picture, squares, text

from tilscore.datasets import UNTYPED, read_set
from tilscore.errors import ConfigError, DataError

NUCLS_COLUMNS = (
    ",raw_classification,main_classification,super_classification,type,xmin,ymin,xmax,ymax,coords_x,coords_y"
)


def make_nucls(root: Path, *classes: str) -> str:
    fov = f"{SLIDE}_id-5ea4095addda5f8398977ebc_left-7053_top-53967_bottom-54231_right-7311"
    rows = [
        f'0,{classes[0]},x,y,rectangle,2,4,12,10,"2,12,12,2,2","4,4,10,10,4"',
        # A right-angled triangle: its centre of mass is a third of the way, not the middle of its box.
        f'1,{classes[1]},x,y,polyline,20,6,26,12,"20,26,20,20","6,6,12,6"',
        f'2,{classes[2]},x,y,rectangle,30,20,37,29,"30,37,37,30,30","20,20,29,29,20"',
    ]
    text(root / "csv" / f"{fov}.csv", "\n".join([NUCLS_COLUMNS, *rows]) + "\n")
    codes = np.zeros((30, 40, 3), np.uint8)
    codes[:, 5:, 0] = 253
    codes[4:10, 2:12] = (3, 1, 1)
    mask(root / "mask" / f"{fov}.png", codes)
    picture(root / "rgb" / f"{fov}.png")
    return fov


def test_nucls(tmp_path: Path) -> None:
    fov = make_nucls(tmp_path, "lymphocyte", "correction_tumor", "unlabeled")
    (got,) = read_set("nucls", tmp_path, source="nucls")
    assert nuclei(got) == [(7.0, 7.0, INF), (22.0, 8.0, EPI), (33.5, 24.5, UNTYPED)]
    assert (got.mpp, got.patient, got.group, got.centre, got.organ) == (
        0.2,
        "TCGA-A1-A0SP",
        "TCGA-A1-A0SP",
        "TCGA-A1",
        "breast",
    )
    np.testing.assert_array_equal(got.image, picture(tmp_path / "again.png"), err_msg="red comes first")
    assert got.known is not None
    assert not got.known[0, :5].any()
    assert got.known[0, 5:].all()
    assert got.known[4:10, 2:12].all()
    assert got.regions is None
    assert got.name == fov


def test_nucls_outlines_need_not_be_closed(tmp_path: Path) -> None:
    fov = make_nucls(tmp_path, "lymphocyte", "tumor", "unlabeled")
    table = tmp_path / "csv" / f"{fov}.csv"
    square = '"20,26,26,20","6,6,12,12"'
    text(table, table.read_text().replace('"20,26,20,20","6,6,12,6"', square))
    (got,) = read_set("nucls", tmp_path)
    assert nuclei(got)[1] == (23.0, 9.0, EPI)


def test_nucls_granulocytes_are_no_tils(tmp_path: Path) -> None:
    make_nucls(tmp_path, "neutrophil", "macrophage", "plasma_cell")
    (got,) = read_set("nucls", tmp_path)
    assert got.label.tolist() == [OTH, OTH, INF]


def test_nucls_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    make_nucls(tmp_path, "lymphocite", "tumor", "tumor")
    with pytest.raises(DataError, match=r"lymphocite.*known are tumor, .*nearest known class: lymphocyte"):
        read_set("nucls", tmp_path)
    (got,) = read_set("nucls", tmp_path, classes={"lymphocite": "inflammatory"})
    assert got.label[0] == INF


@pytest.mark.parametrize("part", ["rgb", "mask"])
def test_nucls_missing_and_truncated_partners(tmp_path: Path, part: str) -> None:
    fov = make_nucls(tmp_path, "tumor", "tumor", "tumor")
    partner = tmp_path / part / f"{fov}.png"
    partner.write_bytes(partner.read_bytes()[:30])
    with pytest.raises(DataError, match="missing or damaged"):
        read_set("nucls", tmp_path)
    partner.unlink()
    with pytest.raises(DataError, match="missing or damaged"):
        read_set("nucls", tmp_path)


def make_pannuke(root: Path, fold: int, organs: list[str]) -> None:
    images = np.random.default_rng(fold).integers(0, 255, (len(organs), 256, 256, 3)).astype(np.float64)
    masks = np.zeros((len(organs), 256, 256, 6))
    masks[..., 5] = 1
    for channel, number in ((0, 1), (1, 4), (2, 5), (3, 6), (4, 9)):
        at = 20 * channel + 10
        masks[0, at : at + 4, 100:106, channel] = number
    for part, name, array in (
        ("images", "images", images),
        ("images", "types", np.array(organs)),
        ("masks", "masks", masks),
    ):
        folder = root / f"Fold {fold}" / part / f"fold{fold}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", array)


def make_brca_m2c(root: Path, **parts: list[str]) -> None:
    for split, rows in parts.items():
        name = f"TCGA-A7-A0D{split[-1].upper()}-01Z-00-DX2_18001_13001_1000_1000_0.9824"
        picture(root / "images" / f"{name}.png")
        text(root / "labels" / f"{name}_gt_class_coords.txt", "\n".join(rows) + "\n")
        text(root / f"brca_ds_{split}.txt", f"{name}.png\n")


def test_brca_m2c(tmp_path: Path) -> None:
    make_brca_m2c(tmp_path, train=["7 30 1", "12 4 2", "20 9 3"], val=[""], test=["1 2 1"])
    first, second, third = sorted(read_set("brca_m2c", tmp_path), key=lambda s: -len(s.label))
    assert nuclei(first) == [(4.5, 12.5, EPI), (9.5, 20.5, STR), (30.5, 7.5, INF)], "y comes first"
    assert (first.mpp, first.organ, first.centre, first.known) == (0.5, "breast", "TCGA-A7", None)
    assert first.patient == first.group == "TCGA-A7-A0DN"
    np.testing.assert_array_equal(first.image, picture(tmp_path / "again.png"), err_msg="red comes first")
    assert (len(second.label), len(third.label)) == (1, 0)
    parts = {s: [f.name for f in read_set("brca_m2c", tmp_path, splits=s)] for s in ("train", "val", "test")}
    assert parts == {"train": [first.name], "val": [third.name], "test": [second.name]}
    assert {f.name for f in read_set("brca_m2c", tmp_path, splits=["train", "val"])} == {first.name, third.name}


def test_brca_m2c_reads_every_listed_field_or_says_which_is_missing(tmp_path: Path) -> None:
    make_brca_m2c(tmp_path, train=["7 30 1"], val=["7 30 2"], test=["7 30 3"])
    listed = tmp_path / "brca_ds_train.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes())
    assert len(read_set("brca_m2c", tmp_path)) == 3
    next(tmp_path.glob("labels/*A0DN*")).unlink()
    with pytest.raises(DataError, match=r"labels of a listed field are missing \(found .*A0DN"):
        read_set("brca_m2c", tmp_path)
    assert len(read_set("brca_m2c", tmp_path, splits=["val", "test"])) == 2


def test_brca_m2c_bad_files(tmp_path: Path) -> None:
    make_brca_m2c(tmp_path, train=["7 30 1"], val=["7 30 4"])
    with pytest.raises(DataError, match=r"brca_ds_test\.txt: list is missing"):
        read_set("brca_m2c", tmp_path)
    with pytest.raises(DataError, match=r"unknown class code \(found 4\).*3 stromal cell"):
        read_set("brca_m2c", tmp_path, splits="val")
    with pytest.raises(ConfigError, match=r"found valid.*use test, train, val"):
        read_set("brca_m2c", tmp_path, splits=["valid"])
    for damaged in ("7 30", "7 x 1"):
        make_brca_m2c(tmp_path, train=[damaged])
        with pytest.raises(DataError, match="is not a table of y, x, class"):
            read_set("brca_m2c", tmp_path, splits="train")


def test_pannuke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pannuke(tmp_path, 1, ["Breast", "Bile-duct"])
    make_pannuke(tmp_path, 2, ["Breast"])
    got = read_set("pannuke", tmp_path)
    assert [(s.name, s.group, s.organ) for s in got] == [
        ("fold1-0000", "fold1", "breast"),
        ("fold1-0001", "fold1", "bile-duct"),
        ("fold2-0000", "fold2", "breast"),
    ]
    ys = [12.0, 32.0, 52.0, 72.0, 92.0]
    assert nuclei(got[0]) == sorted(zip([103.0] * 5, ys, [EPI, INF, STR, OTH, EPI], strict=True))
    assert (len(got[1].label), got[1].known) == (0, None), "no nucleus: a negative, not unknown"
    assert got[0].mpp == 0.25
    assert got[0].image.dtype == np.uint8
    images = np.load(tmp_path / "Fold 1/images/fold1/images.npy")
    np.testing.assert_array_equal(got[1].image, images[1])
    assert [s.organ for s in read_set("pannuke", tmp_path, organs=["Breast"])] == ["breast", "breast"]
    assert [s.unit for s in got] == [s.name for s in got], "intervals draw patches, folds keep the published parts"
    monkeypatch.chdir(tmp_path / "Fold 1" / "images" / "fold1")
    (tmp_path / "Fold 1/masks/fold1/masks.npy").rename("masks.npy")
    assert [s.group for s in read_set("pannuke", Path())] == ["fold1", "fold1"]


def test_pannuke_partners(tmp_path: Path) -> None:
    make_pannuke(tmp_path, 1, ["Breast"])
    masks = tmp_path / "Fold 1/masks/fold1/masks.npy"
    np.save(masks, np.load(masks)[..., :5])
    with pytest.raises(DataError, match="do not fit together"):
        read_set("pannuke", tmp_path)
    masks.write_bytes(masks.read_bytes()[:5000])
    with pytest.raises(DataError, match="array is damaged"):
        read_set("pannuke", tmp_path)
    masks.unlink()
    with pytest.raises(DataError, match=r"masks\.npy: partner file is missing"):
        read_set("pannuke", tmp_path)


def make_consep(root: Path, types: tuple[int, ...]) -> None:
    inst = squares((2, 4), (10, 20), (30, 6))
    codes = np.zeros_like(inst)
    for k, code in enumerate(types):
        codes[inst == k + 1] = code
    codes[4, 2] = 7  # one pixel of another type
    folder = root / "Train" / "Labels"
    folder.mkdir(parents=True)
    centroid = np.array([[3.5, 5.5], [11.5, 21.5], [31.5, 7.5]])
    held = {"inst_map": inst.astype(float), "type_map": codes.astype(float), "inst_centroid": centroid}
    savemat(folder / "train_1.mat", {**held, "inst_type": np.array(types, float)[:, None]})
    picture(root / "Train" / "Images" / "train_1.png")


def test_consep(tmp_path: Path) -> None:
    make_consep(tmp_path, (2, 4, 6))
    (got,) = read_set("consep", tmp_path)
    assert nuclei(got) == [(4.0, 6.0, INF), (12.0, 22.0, EPI), (32.0, 8.0, STR)]
    assert (got.mpp, got.organ, got.group, got.name) == (0.25, "colon", "train_1", "train_1")


def test_consep_errors(tmp_path: Path) -> None:
    make_consep(tmp_path / "a", (2, 9, 6))
    with pytest.raises(DataError, match=r"unknown class code.*found 9.*5 fibroblast"):
        read_set("consep", tmp_path / "a")
    make_consep(tmp_path / "b", (2, 3, 6))
    table = tmp_path / "b/Train/Labels/train_1.mat"
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train_1\.mat"):
        read_set("consep", tmp_path / "b")
    table.write_bytes(whole)
    (tmp_path / "b/Train/Images/train_1.png").unlink()
    with pytest.raises(DataError, match="image is missing"):
        read_set("consep", tmp_path / "b")
    with pytest.raises(DataError, match=r"no Labels/\*\.mat in this folder"):
        read_set("consep", tmp_path / "c")


def make_crchisto(root: Path) -> None:
    found = {"epithelial": [[5.0, 6.0]], "fibroblast": np.zeros((0, 0)), "inflammatory": [[20.5, 8.0]], "others": []}
    for word, xy in found.items():
        folder = root / "Classification" / "img7"
        folder.mkdir(parents=True, exist_ok=True)
        savemat(folder / f"img7_{word}.mat", {"detection": np.array(xy)})
    picture(root / "Detection" / "img7" / "img7.bmp")
    # The first two again, the second a little aside, and one without a class at the very last pixel.
    detection = np.array([[5.0, 6.0], [21.0, 8.5], [40.0, 30.0]])
    savemat(root / "Detection" / "img7" / "img7_detection.mat", {"detection": detection})


def test_crchisto_counts_from_one(tmp_path: Path) -> None:
    make_crchisto(tmp_path)
    (got,) = read_set("crchisto", tmp_path)
    assert nuclei(got) == [(4.5, 5.5, EPI), (20.0, 7.5, INF), (39.5, 29.5, UNTYPED)]
    assert (got.mpp, got.group, got.name) == (0.55, "img7", "img7")
    (tmp_path / "Classification/img7/img7_others.mat").unlink()
    with pytest.raises(DataError, match=r"img7_others\.mat"):
        read_set("crchisto", tmp_path)


def test_lizard(tmp_path: Path) -> None:
    inst = squares((2, 4), (10, 20), (30, 6))
    inst[inst == 2] = 17  # numbers have gaps, and `id` lists them in its own order
    labels = tmp_path / "lizard_labels" / "Lizard_Labels" / "Labels"
    labels.mkdir(parents=True)
    held = {"inst_map": inst, "id": np.array([[17], [3], [1]]), "class": np.array([[3], [6], [5]])}
    for name, part in (("consep_1", 1), ("dpath_4", 2)):
        savemat(labels / f"{name}.mat", {**held, "bbox": np.zeros((3, 4)), "centroid": np.zeros((3, 2))})
        picture(tmp_path / f"lizard_images{part}" / f"Lizard_Images{part}" / f"{name}.png")
    got = read_set("lizard", tmp_path)
    assert nuclei(got[0]) == [(4.0, 6.0, OTH), (12.0, 22.0, INF), (32.0, 8.0, STR)]
    assert [(s.name, s.centre, s.mpp) for s in got] == [("consep_1", "UHCW", 0.5), ("dpath_4", "dpath", 0.5)]
    assert [s.name for s in read_set("lizard", tmp_path, skip=["consep"])] == ["dpath_4"]


def make_conic(root: Path, names: list[str], code: int = 4) -> None:
    labels = np.zeros((len(names), 256, 256, 2), np.uint16)
    labels[:, 10:14, 20:26, 0] = 3
    labels[:, 10:14, 20:26, 1] = code
    np.save(root / "labels.npy", labels)
    np.save(root / "images.npy", np.random.default_rng(0).integers(0, 255, (len(names), 256, 256, 3), np.uint8))
    columns = ["neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective"]
    pd.DataFrame(0, index=range(len(names)), columns=columns).to_csv(root / "counts.csv", index=False)
    pd.DataFrame({"patch_info": names}).to_csv(root / "patch_info.csv", index=False)


def test_conic(tmp_path: Path) -> None:
    make_conic(tmp_path, ["consep_1-0000", "consep_1-0001", "tcga_2-0000"])
    got = read_set("conic", tmp_path)
    assert [(s.name, s.group, s.centre) for s in got] == [
        ("consep_1-0000", "consep_1", "UHCW"),
        ("consep_1-0001", "consep_1", "UHCW"),
        ("tcga_2-0000", "tcga_2", "tcga"),
    ]
    assert nuclei(got[1]) == [(23.0, 12.0, INF)]
    assert len(read_set("conic", tmp_path, skip=["consep"])) == 1
    assert isinstance(got[0].image.base, (np.ndarray, type(None)))
    assert not isinstance(got[0].image, np.memmap)


def test_conic_errors(tmp_path: Path) -> None:
    make_conic(tmp_path, ["consep_1-0000"], code=8)
    with pytest.raises(DataError, match=r"unknown class code.*found 8"):
        read_set("conic", tmp_path)
    pd.DataFrame({"patch_info": ["a_1-0", "a_1-1"]}).to_csv(tmp_path / "patch_info.csv", index=False)
    with pytest.raises(DataError, match="do not fit together"):
        read_set("conic", tmp_path)
    (tmp_path / "patch_info.csv").unlink()
    with pytest.raises(DataError, match=r"patch_info\.csv: table is missing"):
        read_set("conic", tmp_path)
