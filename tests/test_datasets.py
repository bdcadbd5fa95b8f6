"""What all annotated sets share: class maps, folds, descriptions, and what the loss may learn from each."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from tiny_sets import EPI, INF, OTH, STR, nuclei, picture, sample, text

from tilscore.datasets import (
    FORMATS,
    IGNORED,
    UNTYPED,
    Sample,
    class_map,
    describe_sets,
    folds_of,
    read_plain,
    read_set,
)
from tilscore.datasets.classes import word
from tilscore.datasets.describe import class_lines
from tilscore.datasets.instances import instance_centres, instance_codes
from tilscore.datasets.reading import outline_centre, tcga
from tilscore.datasets.registry import coarsened
from tilscore.datasets.splits import KEPT
from tilscore.errors import ConfigError, DataError, TilscoreError
from tilscore.labels import UNKNOWN, Region

# Geometry


def test_outline_centre_of_a_triangle_is_the_mean_of_its_corners() -> None:
    corners = np.array([[2.0, 3.0], [11.0, 3.0], [5.0, 9.0]])
    assert outline_centre(corners) == pytest.approx((6.0, 5.0))
    assert outline_centre(corners[::-1]) == pytest.approx((6.0, 5.0)), "either way round"
    assert outline_centre(np.r_[corners, corners[:1]]) == pytest.approx((6.0, 5.0)), "closed"
    assert outline_centre(np.array([[1.0, 1.0], [3.0, 1.0]])) == pytest.approx((2.0, 1.0)), "no area"


@settings(max_examples=40)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 9), st.integers(1, 9), st.integers(1, 60_000))
def test_instance_centre_of_a_box(x: int, y: int, w: int, h: int, number: int) -> None:
    """The first pixel's middle lies at 0.5, so the centre of a box is the middle of its edges."""
    inst = np.zeros((40, 40), np.uint16)
    inst[y : y + h, x : x + w] = number
    ids, (cx, cy) = instance_centres(inst)
    assert ids.tolist() == [number]
    assert (float(cx[0]), float(cy[0])) == pytest.approx((x + w / 2, y + h / 2))


def test_the_code_of_a_nucleus_is_its_commonest() -> None:
    inst = np.repeat([[1, 1, 1, 5, 5, 9]], 2, axis=0)
    codes = np.array([[0, 0, 2, 3, 3, 0], [0, 0, 2, 3, 1, 0]])
    assert instance_codes(inst, codes).tolist() == [2, 3, 0], "code 0 counts only where there is no other"
    none = np.zeros((2, 2), int)
    assert len(instance_codes(none, none)) == 0


def test_barcodes() -> None:
    assert tcga("TCGA-A1-A0SK-DX1_xmin1") == ("TCGA-A1-A0SK", "TCGA-A1")
    assert tcga("tcga-e2-a1b5-01z") == ("TCGA-E2-A1B5", "TCGA-E2")
    assert tcga("consep_1") == ("", "")


def test_wrong_formats_and_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nucl.*did you mean nucls"):
        read_set("nucl", tmp_path)
    with pytest.raises(ConfigError, match="no option organs"):
        read_set("nucls", tmp_path, organs=["breast"])
    with pytest.raises(ConfigError, match="cannot become"):
        read_set("nucls", tmp_path, classes={"tumor": "cancer"})
    with pytest.raises(ConfigError, match="mpp"):
        read_set("plain", tmp_path)


def test_an_empty_folder_is_an_error_in_every_format(tmp_path: Path) -> None:
    for name in FORMATS:
        with pytest.raises(TilscoreError, match=str(tmp_path)):
            read_set(name, tmp_path, mpp=0.5)


# Class maps


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_class_maps_are_sound(name: str) -> None:
    classes = class_map(name)
    assert classes.cells or classes.regions or name == "pictures"
    for entries, region in ((classes.cells, False), (classes.regions, True)):
        names, codes = [e.name.lower() for e in entries], [e.code for e in entries if e.code is not None]
        assert len(set(names)) == len(names)
        assert len(set(codes)) == len(codes)
        assert all(word(e.to, region=region) for e in entries)


def test_granulocytes_are_no_tils_where_a_set_tells_them() -> None:
    told = {n: class_map(n).cell("Neutrophil", "") for n in ("nucls", "lizard", "conic", "monusac", "qupath")}
    assert set(told.values()) == {OTH}


def test_changing_a_class_map() -> None:
    classes = class_map("qupath", {"Tumor": "untyped", "mast cell": "other", "Stroma": "unknown", "Other": "other"})
    assert classes.cell("tumor", "") == UNTYPED
    assert classes.cell("Mast Cell", "") == OTH
    assert classes.cell("Stroma", "") == STR, "unknown is a word for regions"
    assert {e.name: e.to for e in classes.regions}["Stroma"] == UNKNOWN
    assert {e.name: e.to for e in classes.regions}["Tumor"] == Region.TUMOUR, "untyped is a word for cells"
    assert class_map("nucls", {"tumor": "ignored"}).cell("tumor", "") == IGNORED


def test_an_ignored_nucleus_leaves_unknown_ground(tmp_path: Path) -> None:
    """Neither a nucleus nor background: nothing is taught under it, and all is as before elsewhere."""
    picture(tmp_path / "a.png", 100, 80)
    text(tmp_path / "a_cells.csv", "x_px,y_px,label\n20.5,20.5,other\n70.5,40.5,stromal\n")
    (got,) = read_set("plain", tmp_path, mpp=0.5, classes={"other": "ignored"})
    assert nuclei(got) == [(70.5, 40.5, STR)]
    assert got.known is not None
    assert not got.known[20, 12:29].any()
    assert got.known[20, [8, 32]].all()
    assert got.known[40, 70]
    (plain,) = read_set("plain", tmp_path, mpp=0.5)
    assert plain.known is None


def test_the_documentation_shows_every_class_map() -> None:
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    for name in FORMATS:
        section = text.split(f"\n## `{name}`", 1)[1].split("\n## ", 1)[0]
        assert "\n".join(class_lines(class_map(name))) in section, f"docs/data.md, {name}"


# Folds


def many() -> list[Sample]:
    plain = [sample("consep", f"c{i}") for i in range(9)]
    return plain + [
        sample(s, f"{s}{i}", patient=f"TCGA-A{i % 3}-000{i}", centre=f"TCGA-A{i % 3}", group=f"TCGA-A{i % 3}-000{i}")
        for s in ("bcss", "nucls")
        for i in range(7)
    ]


def test_a_patient_stays_on_one_side_across_sets() -> None:
    samples = many()
    folds = folds_of(samples, 3)
    assert set(folds) == {0, 1, 2}
    for patient in {s.patient for s in samples} - {""}:
        at = {f for f, s in zip(folds, samples, strict=True) if s.patient == patient}
        assert len(at) == 1, f"{patient} is trained on and tested at once"
    for source in ("consep", "bcss", "nucls"):
        counts = np.bincount([f for f, s in zip(folds, samples, strict=True) if s.source == source], minlength=3)
        assert counts.max() - counts.min() <= 1, "every fold has its share of every set"


def test_folds_by_centre() -> None:
    samples = many()
    folds = folds_of(samples, 3, by="centre")
    for centre in ("TCGA-A0", "TCGA-A1", "TCGA-A2"):
        assert len({f for f, s in zip(folds, samples, strict=True) if s.centre == centre}) == 1
    assert len({f for f, s in zip(folds, samples, strict=True) if s.source == "consep"}) == 1, "one set, one centre"


def test_folds_do_not_depend_on_other_sets_or_order() -> None:
    samples = many()
    alone = folds_of(samples[:9], 3)
    np.testing.assert_array_equal(alone, folds_of(samples, 3)[:9])
    np.testing.assert_array_equal(alone[::-1], folds_of(samples[:9][::-1], 3))


def test_a_set_that_is_kept_gives_up_the_patients_of_the_others() -> None:
    samples = [*many(), sample("bcss", "own", patient="TCGA-ZZ-0001")]
    folds = folds_of(samples, 3, kept=["bcss"])
    assert folds[-1] == KEPT
    bcss = {s.patient: f for s, f in zip(samples, folds, strict=True) if s.source == "bcss" and s.name != "own"}
    nucls = {s.patient: f for s, f in zip(samples, folds, strict=True) if s.source == "nucls"}
    assert bcss == nucls


# The own layout, coarsening, description


def test_own_layout_with_facts(tmp_path: Path) -> None:
    for name in ("a", "TCGA-A7-A13E-1"):
        picture(tmp_path / f"{name}.png")
        pd.DataFrame({"x_px": [3.25, 9.5], "y_px": [4.5, 8.0], "label": ["stromal", ""]}).to_csv(
            tmp_path / f"{name}_cells.csv", index=False
        )
    (tmp_path / "fields.csv").write_text("name,patient,organ\na,P7,Breast\n")
    got = {s.name: s for s in read_plain(tmp_path, 0.5)}
    assert nuclei(got["a"]) == [(3.25, 4.5, STR), (9.5, 8.0, UNTYPED)]
    assert (got["a"].patient, got["a"].group, got["a"].organ) == ("P7", "P7", "breast")
    assert got["TCGA-A7-A13E-1"].patient == "TCGA-A7-A13E"
    renamed = read_set("plain", tmp_path, mpp=0.5, classes={"stromal": "other"}, source="mine", organ="liver")
    assert {s.source for s in renamed} == {"mine"}
    assert {s.name: (s.label[0], s.organ) for s in renamed} == {"a": (OTH, "breast"), "TCGA-A7-A13E-1": (OTH, "liver")}
    (tmp_path / "a_cells.csv").write_text("x_px,y_px,label\n1,2,stromall\n")
    with pytest.raises(DataError, match=r"stromall.*nearest known class: stromal"):
        read_plain(tmp_path, 0.5)


def test_coarsening_keeps_things_in_place() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (41, 62, 3), np.uint8)
    known = np.ones((41, 62), bool)
    known[9, 20] = False
    regions = np.full((41, 62), Region.STROMA, np.uint8)
    regions[:20] = Region.TUMOUR
    at = np.array([10.5], np.float32)
    fine = Sample("a", "s", image, 0.25, at, at, np.array([INF], np.int8), known, regions)
    got = coarsened(fine, 0.5)
    assert (got.mpp, got.x_px[0], got.image.shape) == (0.5, 5.25, (20, 31, 3))
    mean = image[:40].reshape(20, 2, 31, 2, 3).mean(axis=(1, 3))
    assert np.abs(got.image - mean).max() <= 0.5
    assert got.known is not None
    assert np.argwhere(~got.known).tolist() == [[4, 10]], "one unknown pixel makes its coarse pixel unknown"
    assert got.regions is not None
    assert (got.regions[:10] == Region.TUMOUR).all()
    assert (got.regions[10:] == Region.STROMA).all()
    assert coarsened(fine, 0.45) is fine


def test_description_counts() -> None:
    regions = np.full((64, 64), UNKNOWN, np.uint8)
    regions[:32] = Region.STROMA
    shared = {"patient": "TCGA-A1-0001", "centre": "TCGA-A1"}
    samples = [
        sample("nucls", "a", n=8, **shared),
        sample("bcss", "b", n=0, known=np.zeros((64, 64), bool), regions=regions, **shared),
    ]
    text = describe_sets(samples, {"bcss": class_map("bcss")})
    mm2 = 64 * 64 * 0.25 / 1e6
    assert "nuclei      8: inflammatory 2, epithelial 2, stromal 2, other 2" in text
    assert f"images      1, {mm2:.2f} mm2 at 0.5 um/px" in text
    assert "nuclei      none labelled" in text
    assert "known       0.00 mm2" in text
    assert " 20 dcis                     tumour" in text
    assert "bcss + nucls: 1" in text, "a patient in two sets"


# Real data, where it is


def test_consep_made_from_real_outlines(real_data: Path, tmp_path: Path) -> None:
    """The published layout, written from real outlines, gives their centres and classes back."""
    folder = real_data / "consep"
    inst = cv2.imread(str(folder / "train_01_inst.png"), cv2.IMREAD_UNCHANGED)
    types = cv2.imread(str(folder / "train_01_type.png"), cv2.IMREAD_UNCHANGED)
    published = np.array([0, 1, 2, 3, 5])[types]
    (tmp_path / "Train" / "Labels").mkdir(parents=True)
    (tmp_path / "Train" / "Images").mkdir()
    savemat(tmp_path / "Train" / "Labels" / "train_1.mat", {"inst_map": inst, "type_map": published})
    (tmp_path / "Train" / "Images" / "train_1.png").write_bytes((folder / "train_01.png").read_bytes())
    (got,) = read_set("consep", tmp_path)
    cells = pd.read_csv(folder / "train_01_cells.csv")
    assert len(got.label) == len(cells)
    counts = {c: int((got.label == c).sum()) for c in (INF, EPI, STR, OTH)}
    words = {INF: "inflammatory", EPI: "epithelial", STR: "stromal", OTH: "other"}
    assert counts == {c: int((cells["label"] == w).sum()) for c, w in words.items()}


def test_pannuke_as_coco(real_data: Path) -> None:
    got = read_set("coco", real_data / "pannuke_breast", organ="breast")
    label = np.concatenate([s.label for s in got])
    assert (len(got), int((label == EPI).sum()), int((label == UNTYPED).sum())) == (25, 216, 415)
    dark = [s.image[s.y_px.astype(int), s.x_px.astype(int)].mean() for s in got]
    assert np.mean(dark) < 0.75 * np.mean([s.image.mean() for s in got]), "centres lie on nuclei, which are dark"
