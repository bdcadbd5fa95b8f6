"""What users type and list: every slide gets a name of its own, every mistake its line number."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilscore.errors import SlideError, UsageError
from tilscore.inputs import LONGEST_ID, RESULT_MARKS, read_inputs, safe_id, slides_in
from tilscore.slide import SlideSpec, open_slide


def listed(folder: Path, text: str | bytes, name: str = "slides.csv") -> list[SlideSpec]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_inputs([path])


def test_files_and_folders(tmp_path: Path) -> None:
    for name in ("b/two.svs", "a/one.TIF", "a/.hidden.svs", "a/._one.tif", "a/notes.txt", "a/thumb.png", "c/field.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / max(RESULT_MARKS)).touch()
    (tmp_path / "out" / "overlay.png").touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert [spec.slide_id for spec in read_inputs([tmp_path])] == ["one", "two", "field"]
    for name, mark in (("d.zarr", "none"), ("d", ".zgroup"), ("e", "zarr.json")):
        (tmp_path / "ngff" / name).mkdir(parents=True)
        (tmp_path / "ngff" / name / mark).touch()
    assert [spec.path.name for spec in read_inputs([tmp_path / "ngff"])] == ["d", "d.zarr", "e"]
    shutil.rmtree(tmp_path / "ngff")
    both = read_inputs([tmp_path / "b" / "two.svs", tmp_path], mpp=0.5)
    assert [(spec.slide_id, spec.mpp) for spec in both] == [("two", 0.5), ("one", 0.5), ("field", 0.5)]


def test_what_a_file_server_keeps_for_itself_is_no_archive(tmp_path: Path) -> None:
    for name in ("a/one.svs", "a/@eaDir/one.svs/thumb.jpg", "#recycle/old.svs", "#snapshot/monday/a/one.svs"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [spec.slide_id for spec in read_inputs([tmp_path])] == ["one"]


def test_a_folder_that_cannot_be_listed_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (tmp_path / "one.svs").touch()
    real = {"scandir": os.scandir, "listdir": os.listdir}

    def refuse(name: str, at: str) -> object:
        if Path(at) == closed:
            raise PermissionError(13, "Permission denied", str(at))
        return real[name](at)

    for name in real:
        monkeypatch.setattr(os, name, partial(refuse, name))
    assert [spec.slide_id for spec in read_inputs([tmp_path])] == ["closed", "one"]
    with pytest.raises(SlideError, match=r"closed: cannot be opened .*Permission denied.*check the path"):
        open_slide(closed)


def test_a_missing_slide_is_a_failed_slide(tmp_path: Path) -> None:
    (spec,) = read_inputs([tmp_path / "gone.svs"])
    assert spec == SlideSpec("gone", tmp_path / "gone.svs", alias=spec.alias)
    assert spec.alias.startswith("gone-")
    with pytest.raises(SlideError, match="no such file"):
        open_slide(spec.path)


def test_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no slides were given"):
        read_inputs([])
    with pytest.raises(UsageError, match="no slides in this folder"):
        read_inputs([tmp_path])
    with pytest.raises(UsageError, match="list cannot be read"):
        read_inputs([tmp_path / "gone.csv"])


def test_list(tmp_path: Path) -> None:
    text = (
        "slide_id,Path ,mpp,roi,note\n"
        'A 1,x/a.svs,0.25,rois/a.geojson,HE\n,"b, c.ndpi",,,=cmd()\n\n,../up.svs,,,\n,/abs/d.ome.tif,0.5\n'
    )
    here = tmp_path / "lists"
    here.mkdir()
    assert listed(here, text) == [
        SlideSpec("A_1", here / "x" / "a.svs", 0.25, here / "rois" / "a.geojson"),
        SlideSpec("b__c", here / "b, c.ndpi"),
        SlideSpec("up", tmp_path / "up.svs"),
        SlideSpec("d", Path("/abs/d.ome.tif"), 0.5),
    ]
    specs = read_inputs([here / "slides.csv"], mpp=0.3)
    assert [spec.mpp for spec in specs] == [0.25, 0.3, 0.3, 0.5]


def test_the_region_map_of_a_phantom_is_no_slide(tmp_path: Path) -> None:
    for name in ("p.tif", "p.truth.json", "p.regions.tif", "other.regions.tif"):
        (tmp_path / name).touch()
    assert [path.name for path in slides_in(tmp_path)] == ["other.regions.tif", "p.tif"]


def test_what_a_folder_holds_and_is_not_read_is_told(tmp_path: Path) -> None:
    for name in ("a/s.svs", "a/thumb.png", "a/field.jpg", "b/alone.png", "elsewhere/x.svs", "a/.hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    said: list[str] = []
    assert [s.slide_id for s in read_inputs([tmp_path / "a", tmp_path / "b"], say=said.append)] == ["s", "alone"]
    a, do = tmp_path / "a", "(name them to have them read)"
    assert said == [
        f"tilscore: not searched, for they are links to folders {do}: {a / 'linked'}",
        f"tilscore: not read, for they lie beside slides {do}: {a / 'field.jpg'}, {a / 'thumb.png'}",
    ]
    assert len(read_inputs([a, a / "linked", *a.glob("[!.]*.png"), a / "field.jpg"], say=said.append)) == 4
    assert len(said) == 2


def test_a_manifest_is_a_list_too(tmp_path: Path) -> None:
    text = (
        "Slide ID,path,patient_id,timepoint,Specimen,Anatomical site,stain,mpp\n"
        "A,a.svs,P1,BL,CNB,Lymph Node,H & E,NA\nB,b.svs,P1,BL,,,CD8,\nC,c.svs,P1,post,,,,0.25\n"
    )
    path = tmp_path / "slides.csv"
    path.write_text(text)
    said: list[str] = []
    first, third = read_inputs([path], say=said.append)
    assert first == SlideSpec("A", tmp_path / "a.svs", site="lymph_node", specimen="core")
    assert third == SlideSpec("C", tmp_path / "c.svs", 0.25)
    assert said == ["tilscore: 1 of 3 slides are not H&E and are not scored: B (CD8)"]
    path.write_text("path,stain\na.svs,CD3\n")
    with pytest.raises(UsageError, match="no slide is stained with H&E"):
        read_inputs([path], say=said.append)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_and_separators(tmp_path: Path, encoding: str, delimiter: str, newline: str) -> None:
    lines = ["slide,slide_id", "Präparat é.svs,Fall Ü", '"two\nlines.svs",x']
    text = newline.join(lines).replace(",", delimiter)
    first, second = listed(tmp_path, text.encode(encoding))
    assert (first.path.name, first.slide_id) == ("Präparat é.svs", "Fall_Ü")
    assert second.path.name == "two\nlines.svs"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", "", "empty"),
        ("\n\n", "", "empty"),
        ("path,mpp\n", "", "names no slide"),
        ("file,mpp\na.svs,1\n", "line 1", "no column 'path'"),
        ("path|mpp\na.svs|1\n", "line 1", "no column 'path'"),
        ("a.svs\nb.svs\n", "line 1", "no column 'path'"),
        ("path,mpp,mpp\na.svs,1,1\n", "line 1", "'mpp' is there twice"),
        ("path,mpp\na.svs,0.5\n,0.5\n", "line 3", "no path"),
        ("path,mpp\na.svs,0.5\nb,c.svs,0.5\n", "line 3", "3 values for 2 columns"),
        ("path;mpp\na.svs;0,25\n", "line 2", "decimal point"),
        *(
            (f"path,mpp\na.svs,{mpp}\n", "line 2", "mpp must be")
            for mpp in ("0", "-1", "nan", "inf", "x", "1000", "40x")
        ),
        ("path\na.svs\n./a.svs\n", "line 3", "listed twice"),
        ("path,slide_id\na.svs,X\nb.svs,x\n", "line 3", "used twice"),
        ("path,site\na.svs,liver\nb.svs,livr\n", "line 3 column 'site'", "did you mean 'liver'"),
        ("path,specimen\na.svs,biopsy\n", "line 2 column 'specimen'", "write core or excision"),
        ('path\n"a.svs\nb.svs\n', "line 3", "cannot be understood"),
        (b"path\n\0\0a.svs\n", "", "not plain text"),
        (b"\xff\xfep\0a\0t\0h\0", "", "names no slide"),
        (b"\xff\xfep\0a\0t\0h", "", "not plain text"),
        (b"\xff\xfe\0", "", "not plain text"),
        ("path\n" + "x" * 200_000 + "\n", "line 2", "cannot be understood"),
    ],
)
def test_mistakes_in_lists(tmp_path: Path, text: str | bytes, line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        listed(tmp_path, text)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mpp", [0, -1, float("nan"), 1000])
def test_mpp_for_all_is_checked_at_once(tmp_path: Path, mpp: float) -> None:
    with pytest.raises(UsageError, match="--mpp"):
        read_inputs([tmp_path / "a.svs"], mpp=mpp)


def test_a_listed_slide_wins_over_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.svs").touch()
    (tmp_path / "l.csv").write_text("path,mpp\na.svs,0.25\n")
    (spec,) = read_inputs([tmp_path, tmp_path / "l.csv"])
    assert spec.mpp == 0.25


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in the file system are a Unix thing")
def test_a_pipe_as_list_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(UsageError, match="not a list"):
        read_inputs([tmp_path / "x.csv"])


def test_equal_names_become_unique(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/S1.svs", "b/s1.svs", "b/s1.tif", "c/other.svs", "b/s 1.svs", "b/s?1.svs")]
    ids = [spec.slide_id for spec in read_inputs(paths)]
    assert len({name.casefold() for name in ids}) == len(paths)
    assert ids[3] == "other"
    assert all(name.lower().startswith(("s1-", "s_1-")) for i, name in enumerate(ids) if i != 3)
    assert [spec.slide_id for spec in read_inputs(paths[::-1])] == ids[::-1]  # whatever the order
    for path, spec in zip(paths, read_inputs(paths), strict=True):
        (alone,) = read_inputs([path])
        assert spec.slide_id in (alone.slide_id, alone.alias)
        assert spec.alias in ("", alone.slide_id, alone.alias)


def test_a_given_name_is_kept(tmp_path: Path) -> None:
    first, second = listed(tmp_path, "path,slide_id\na/x.svs,\nb/y.svs,X\n")
    assert second.slide_id == "X"
    assert first.slide_id.startswith("x-")


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_safe_id(name: str) -> None:
    got = safe_id(name)
    assert 0 < len(got) <= LONGEST_ID
    assert len(got.encode()) <= 255 - 20  # room for what is added while a file is written
    assert got not in (".", "..")
    assert not got.startswith(".")
    assert all(c.isalnum() or c in "._-" for c in got)
    assert safe_id(got) == got


def test_safe_id_examples() -> None:
    assert safe_id("../../etc/passwd") == "_.._etc_passwd"
    assert safe_id("<img src=x onerror=1>") == "_img_src_x_onerror_1_"
    assert safe_id("TCGA-A1-A0SB-01Z.1234") == "TCGA-A1-A0SB-01Z.1234"
    assert safe_id("切片 7") == "切片_7"
    assert safe_id("con") == "con_"
    assert safe_id("AUX.2024.1") == "AUX_.2024.1", "Windows opens a device whatever follows after the dot"
    assert safe_id("Com1") == "Com1_"
    assert safe_id("lpt².x") == "lpt²_.x"
    assert safe_id("scores.csv") == "scores.csv_"
    assert not safe_id("\U00020000" * 49 + "abc." + "x" * 50).endswith("."), "Windows drops a dot at the end"
    assert safe_id("...") == "slide"


def test_names_of_a_list_do_not_hang_on_what_else_is_read(tmp_path: Path) -> None:
    """The cohort of a list knows its slides by these names."""
    for name in ("A", "B"):
        (tmp_path / f"{name}.csv").write_text(f"path\n{name}/1.svs\n")
    (spec, typed) = read_inputs([tmp_path / "A.csv", tmp_path / "C" / "1.svs"])
    assert spec.slide_id == "1"
    assert typed.slide_id.startswith("1-")
    with pytest.raises(UsageError, match="two lists") as caught:
        read_inputs([tmp_path / "A.csv", tmp_path / "B.csv"])
    assert "slide_id" in str(caught.value)


def test_excels_hint_of_the_separator(tmp_path: Path) -> None:
    assert listed(tmp_path, "sep=;\npath;mpp\na.svs;0.5\n") == [SlideSpec("a", tmp_path / "a.svs", 0.5)]
    with pytest.raises(UsageError, match="line 3"):
        listed(tmp_path, "sep=;\npath;mpp\n;0.5\n")


@pytest.mark.parametrize("name", ["MPP (um/px)", "mpp [µm/px]", "Microns per pixel", "um/px", "µm/px", "mpp_um"])
def test_a_resolution_is_read_under_its_other_names(tmp_path: Path, name: str) -> None:
    assert listed(tmp_path, f"path,{name}\na.svs,0.3\n")[0].mpp == 0.3


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    """A resolution or an area in a column of an unknown name is not passed over without a word."""
    (tmp_path / "slides.csv").write_text("path,patient_id,Pixel size,,drawn area (QuPath)\na.svs,P1,0.3,,a.geojson\n")
    said: list[str] = []
    read_inputs([tmp_path / "slides.csv"], say=said.append)
    assert len(said) == 1
    assert said[0].endswith("not read: pixel_size, drawn_area_(qupath)")
    (tmp_path / "slides.csv").write_text("path,patient_id,arm,mpp,roi\na.svs,P1,x,0.3,\n")
    read_inputs([tmp_path / "slides.csv"], say=said.append)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("name", "what"),
    [("slides.xlsx", "a list is a CSV file"), ("slides.TXT", "a list is a CSV file"), ("slides.csv", "names no slide")],
)
def test_a_list_that_is_none(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / name).write_text("path,mpp\n")
    with pytest.raises(UsageError, match=what):
        read_inputs([tmp_path / name, tmp_path / "a.svs"])
