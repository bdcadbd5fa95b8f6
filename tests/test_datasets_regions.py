"""Readers of published sets with regions, outlines or boxes, each on a tiny sample made in the published layout."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_sets import EPI, INF, SLIDE, mask, nuclei, picture, squares, text

from tilscore.datasets import UNTYPED, read_set
from tilscore.errors import DataError
from tilscore.labels import UNKNOWN, Region


def make_bcss(root: Path) -> str:
    name = "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500"
    codes = np.repeat(np.arange(22, dtype=np.uint8), 2)[None].repeat(30, 0)
    mask(root / "masks" / f"{name}.png", codes)
    picture(root / "rgbs_colorNormalized" / f"{name}.png", width=44)
    text(root / "meta" / "gtruth_codes.tsv", "label\tGT_code\noutside_roi\t0\ntumor\t1\nstroma\t2\n")
    return name


def test_bcss(tmp_path: Path) -> None:
    make_bcss(tmp_path)
    (got,) = read_set("bcss", tmp_path)
    assert got.regions is not None
    assert got.known is not None
    row = got.regions[15, ::2].tolist()
    tum, stro, other = int(Region.TUMOUR), int(Region.STROMA), int(Region.OTHER)
    assert row[:6] == [UNKNOWN, tum, stro, stro, Region.NECROSIS, other], "0 is outside the drawing, no class"
    assert row[9:14] == [Region.FAT, stro, stro, other, tum]
    assert row[20] == tum
    assert (got.known.any(), len(got.label)) == (False, 0), "no nucleus is labelled, so none is a negative"
    assert (got.mpp, got.patient, got.centre) == (0.25, "TCGA-A1-A0SK", "TCGA-A1")


def test_a_mask_with_a_palette_is_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "masks" / f"{make_bcss(tmp_path)}.png"
    (plain,) = read_set("bcss", tmp_path)
    coloured = Image.fromarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)).convert("P")
    coloured.putpalette([channel for i in range(256) for channel in (255 - i, i, 7 * i % 256)])
    coloured.save(path)
    (got,) = read_set("bcss", tmp_path)
    np.testing.assert_array_equal(got.regions, plain.regions)


def test_bcss_errors(tmp_path: Path) -> None:
    name = make_bcss(tmp_path)
    path = tmp_path / "masks" / f"{name}.png"
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    mask(path, codes + 1)
    with pytest.raises(DataError, match=r"unknown class code.*found 22"):
        read_set("bcss", tmp_path)
    mask(path, codes[:, :40])
    with pytest.raises(DataError, match="another size than its image"):
        read_set("bcss", tmp_path)
    text(tmp_path / "meta" / "gtruth_codes.tsv", "label\tGT_code\nstroma\t1\n")
    with pytest.raises(DataError, match=r"another code table.*1 stroma.*known is tumor"):
        read_set("bcss", tmp_path)


def test_panoptils_has_its_true_resolution(tmp_path: Path) -> None:
    part = tmp_path / "ManualNucleiManualRegions"
    name = f"{SLIDE}_xmin45749_ymin25055_MPP-0.2500_xmin-0_ymin-0_xmax-1024_ymax-1024"
    planes = np.zeros((30, 40, 3), np.uint8)
    planes[..., 0] = np.repeat(np.arange(8, dtype=np.uint8), 5) + 1
    planes[:, 20:, 1] = 9
    planes[4:8, 22:26, 1:] = (4, 1)
    mask(part / "masks" / f"{name}.png", planes)
    picture(part / "rgbs" / f"{name}.png")
    row = '0,lymphocyte,TILsCell,polyline,22,4,26,8,"22,26,26,22,22","4,4,8,8,4"'
    odd = '1,unlabeled,UnknownOrAmbiguousCell,polyline,30,4,36,10,"30,36,30","4,4,10"'
    head = ",raw_group,group,type,xmin,ymin,xmax,ymax,coords_x,coords_y"
    table = text(part / "csv" / f"{name}.csv", "\n".join([head, row, odd]) + "\n")
    text(part / "csv" / "ALL_FOV_LOCATIONS.csv", "x\n1\n")
    (got,) = read_set("panoptils", tmp_path)
    assert got.mpp == 0.30, "labelled 0.25, and is not"
    assert nuclei(got) == [(24.0, 6.0, INF), (32.0, 6.0, UNTYPED)]
    assert got.regions is not None
    assert got.known is not None
    tum, stro = int(Region.TUMOUR), int(Region.STROMA)
    want = [tum, stro, stro, tum, int(Region.NECROSIS), int(Region.OTHER), UNKNOWN, int(Region.OTHER)]
    assert got.regions[0, ::5].tolist() == want
    assert got.known[:, 20:].all()
    assert not got.known[:, :20].any(), "nucleus code 0 is left out"
    assert got.patient == "TCGA-A1-A0SP"
    table.write_text(table.read_text().replace("TILsCell", "TILCell"))
    with pytest.raises(DataError, match=r"TILCell.*nearest known class: TILsCell"):
        read_set("panoptils", tmp_path)
    table.unlink()
    with pytest.raises(DataError, match="is missing, or no table of nuclei"):
        read_set("panoptils", tmp_path)


def make_tiger(root: Path, category: str = "lymphocytes and plasma cells") -> Path:
    base = root / "wsirois" / "roi-level-annotations"
    cells = base / "tissue-cells"
    names = ["100B_[10779, 11621, 12102, 12874]", "TC_S01_P000003_C0001_B101_[1, 2, 3, 4]", "100S_[1, 2, 41, 32]"]
    for name in names:
        picture(cells / "images" / f"{name}.png")
        ending = ".tif" if name.startswith("100S") else ".png"
        mask(cells / "masks" / f"{name}{ending}", np.repeat(np.arange(8, dtype=np.uint8), 5)[None].repeat(30, 0))
    held = {
        "images": [
            {"id": 7 + i, "file_name": f"tissue-cells/images/{n}.png", "width": 40, "height": 30}
            for i, n in enumerate(names)
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [2, 3, 16, 16], "area": 256, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [20, 10, 16, 16], "area": 256, "iscrowd": 0},
        ],
        "categories": [{"id": 1, "name": category, "supercategory": "cell"}],
    }
    text(cells / "tiger-coco.json", json.dumps(held))
    roi = f"{SLIDE.replace('DX1', '01Z-00-DX1')}.E16DE8EE_[2888, 3422, 3494, 3935]"
    picture(base / "tissue-bcss" / "images" / f"{roi}.png")
    mask(base / "tissue-bcss" / "masks" / f"{roi}.png", np.full((30, 40), 6, np.uint8))
    return base


def test_tiger(tmp_path: Path) -> None:
    make_tiger(tmp_path)
    got = {s.name.split("_[")[0]: s for s in read_set("tiger", tmp_path)}
    biopsy = got["100B"]
    assert nuclei(biopsy) == [(10.0, 11.0, INF), (28.0, 18.0, INF)]
    assert biopsy.known is not None
    assert biopsy.regions is not None
    assert biopsy.known[11, 10]
    assert not biopsy.known[28, 2], "other nuclei lie there unlabelled"
    assert biopsy.complete == (INF,), "but no further lymphocyte"
    tum, stro = int(Region.TUMOUR), int(Region.STROMA)
    want = [UNKNOWN, tum, stro, tum, tum, int(Region.NECROSIS), stro, UNKNOWN]
    assert biopsy.regions[0, ::5].tolist() == want
    assert (biopsy.mpp, biopsy.centre) == (0.5, "RUMC")
    assert biopsy.group == got["100S"].group == "RUMC-100", "biopsy and resection of one patient"
    np.testing.assert_array_equal(got["100S"].regions, biopsy.regions, err_msg="the mask is a TIFF")
    assert (got["TC_S01_P000003_C0001_B101"].patient, got["TC_S01_P000003_C0001_B101"].centre) == ("JB-P000003", "JB")
    (tcga,) = [s for s in got.values() if s.name.startswith("TCGA")]
    assert tcga.patient == "TCGA-A1-A0SP"
    assert tcga.complete == ()
    assert tcga.known is not None
    assert not tcga.known.any()
    assert (tcga.regions == Region.STROMA).all()


def test_tiger_errors(tmp_path: Path) -> None:
    base = make_tiger(tmp_path / "a", category="lymphocytes")
    with pytest.raises(DataError, match=r"unknown class.*lymphocytes"):
        read_set("tiger", tmp_path / "a")
    base = make_tiger(tmp_path / "b")
    (base / "tissue-cells" / "masks" / "100B_[10779, 11621, 12102, 12874].png").unlink()
    with pytest.raises(DataError, match="mask is missing"):
        read_set("tiger", base)
    base = make_tiger(tmp_path / "c")
    (damaged,) = (base / "tissue-cells" / "masks").glob("100S*.tif")
    damaged.write_bytes(damaged.read_bytes()[:90])
    with pytest.raises(DataError, match="mask is missing or damaged"):
        read_set("tiger", base)
    (base / "tissue-cells" / "tiger-coco.json").write_text("{")
    with pytest.raises(DataError, match="COCO file is missing or damaged"):
        read_set("tiger", base)
    with pytest.raises(DataError, match="no folder tissue-cells or tissue-bcss"):
        read_set("tiger", tmp_path)


def test_coco_run_lengths_polygons_and_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "00000010.png")
    inst = squares((2, 4))
    runs = np.diff(np.flatnonzero(np.diff(np.r_[-1, inst.T.ravel(), -1])))
    shapes: list[dict[str, object]] = [
        {"category_id": 1, "segmentation": {"counts": runs.tolist(), "size": [30, 40]}},
        {"category_id": 2, "segmentation": [[20.0, 6.0, 26.0, 6.0, 20.0, 12.0]]},
        {"category_id": 1, "segmentation": [[4, 20, 6, 20, 6, 22, 4, 22], [10, 20, 16, 20, 16, 22, 13, 22, 10, 22]]},
        {"category_id": 2, "bbox": [30, 20, 5, 4], "segmentation": []},
    ]
    held = {
        "images": [{"id": 10, "file_name": "00000010.png", "height": 30, "width": 40}],
        "categories": [{"id": 1, "name": "Neoplastic"}, {"id": 2, "name": "No-neoplastic"}],
        "annotations": [{"id": i, "image_id": 10, **s} for i, s in enumerate(shapes)],
    }
    path = text(tmp_path / "json_annotation_demo.json", json.dumps(held))
    (got,) = read_set("coco", tmp_path, organ="breast")
    assert nuclei(got) == [(4.0, 6.0, EPI), (11.0, 21.0, EPI), (22.0, 8.0, UNTYPED), (32.5, 22.0, UNTYPED)]
    assert (got.mpp, got.organ, got.group) == (0.25, "breast", "00000010")
    with monkeypatch.context() as inside:
        path.rename(text(tmp_path / "json" / "demo.json", ""))
        inside.chdir(tmp_path / "json")
        assert len(read_set("coco", Path())) == 1, "the picture lies above the folder that one is in"
        Path("demo.json").rename(path)
    (exchanged,) = read_set("coco", tmp_path, bgr=True)
    assert (exchanged.image == got.image[..., ::-1]).all()
    assert (got.image[..., 0] != got.image[..., 2]).any()
    path.write_text(json.dumps(held).replace("No-neoplastic", "Mast cell"))
    with pytest.raises(DataError, match="Mast cell"):
        read_set("coco", tmp_path)
    runs[0] += 1
    held["annotations"][0]["segmentation"]["counts"] = runs.tolist()  # type: ignore[index]
    path.write_text(json.dumps(held))
    with pytest.raises(DataError, match="run lengths of 1201 pixels"):
        read_set("coco", tmp_path)


def test_ocelot(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "images" / "train" / "cell" / "001.jpg", 40, 40)
    picture(tmp_path / "images" / "train" / "tissue" / "001.jpg", 40, 40)
    codes = np.full((40, 40), 1, np.uint8)
    codes[:, 22:] = 2
    codes[25:] = 255
    mask(tmp_path / "annotations" / "train" / "tissue" / "001.png", codes)
    table = text(tmp_path / "annotations" / "train" / "cell" / "001.csv", "10,12,2\n0,39,1\n")
    pair = {
        "slide_name": "TCGA-DK-A1AG-01Z-00-DX1.X",
        "organ": "bladder",
        "cell": {"resized_mpp_x": 0.2012},
        "tissue": {"resized_mpp_x": 0.8048},
        "patch_x_offset": 0.5,
        "patch_y_offset": 0.6,
    }
    meta = text(tmp_path / "metadata.json", json.dumps({"sample_pairs": {"001": pair}}))
    (got,) = read_set("ocelot", tmp_path)
    assert nuclei(got) == [(0.5, 39.5, UNTYPED), (10.5, 12.5, EPI)]
    assert (got.mpp, got.organ, got.patient) == (0.2012, "bladder", "TCGA-DK-A1AG")
    assert got.image.shape == pixels.shape
    assert got.regions is not None
    # The patch is 10 px of the mask wide, around x 20 and y 24: cancer begins at mask x 22, unknown at mask y 25.
    want = np.full((40, 40), UNKNOWN, np.uint8)
    want[:24, 28:] = Region.TUMOUR
    np.testing.assert_array_equal(got.regions, want)
    text(table, "")
    assert len(read_set("ocelot", tmp_path)[0].label) == 0
    text(table, "10,12,3\n")
    with pytest.raises(DataError, match=r"unknown class code.*found 3"):
        read_set("ocelot", tmp_path)
    text(meta, json.dumps({"sample_pairs": {"002": pair}}))
    with pytest.raises(DataError, match="not listed"):
        read_set("ocelot", tmp_path)
    meta.unlink()
    with pytest.raises(DataError, match="metadata is missing"):
        read_set("ocelot", tmp_path)
