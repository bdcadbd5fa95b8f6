"""A DICOM slide is one slide, however many files it has and whichever of them is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_slide import write_dicom_slide

from tilscore.errors import UsageError
from tilscore.inputs import read_inputs
from tilscore.inputs.dicom import slide_of_each
from tilscore.slide import open_slide
from tilscore.space import Window

IMAGE = np.kron(np.random.default_rng(0).integers(100, 250, (6, 9, 3)), np.ones((64, 64, 1))).astype(np.uint8)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two slides in folders of their own, a label whose slide is elsewhere, and what is no DICOM."""
    for name in ("a", "b", "label"):
        (tmp_path / name).mkdir()
        *_, label = write_dicom_slide(tmp_path / name, IMAGE, 0.5)
        label.rename(label.with_name("a_first.dcm"))
    for level in (tmp_path / "label").glob("level*"):
        level.unlink()
    (tmp_path / "a" / "notes.dcm").write_text("no DICOM")
    (tmp_path / "a" / "empty.dcm").touch()
    return tmp_path


def test_a_folder_has_one_slide_for_each_series(archive: Path) -> None:
    said: list[str] = []
    found = read_inputs([archive], say=said.append)
    assert [spec.path for spec in found] == [archive / "a" / "level0.dcm", archive / "b" / "level0.dcm"]
    assert len({spec.slide_id for spec in found}) == 2
    (line,) = said
    assert "DICOM files of no slide" in line
    assert line.endswith(f": {archive / 'label' / 'a_first.dcm'}")
    with pytest.raises(UsageError, match=r"no slides in this folder.*\.dcm"):
        read_inputs([archive / "label"], say=said.append)


def test_files_that_are_typed_are_one_slide(archive: Path) -> None:
    files = sorted((archive / "b").glob("*.dcm"))
    assert [file.name for file in files] == ["a_first.dcm", "level0.dcm", "level1.dcm"]
    for typed in (files, files[:1], files[2:], [*files[1:], *files]):
        (spec,) = read_inputs(typed)
        assert spec.slide_id == "level0" if len(typed) > 1 else typed[0].stem
    wrong = archive / "a" / "notes.dcm"
    assert [spec.path for spec in read_inputs([wrong])] == [wrong], "what cannot be read fails as a slide"


def test_series_in_two_folders_are_two_slides(tmp_path: Path) -> None:
    first = write_dicom_slide(tmp_path, IMAGE, 0.5)
    (tmp_path / "copy").mkdir()
    second = [Path(path).rename(tmp_path / "copy" / path.name) for path in first]
    assert set(slide_of_each([*first, *second]).values()) == {second[0]}
    first[0].write_bytes(second[0].read_bytes())
    assert set(slide_of_each([*first, *second]).values()) == {first[0], second[0]}


def test_its_pixels_and_its_resolution_are_those_that_were_written(tmp_path: Path) -> None:
    files = write_dicom_slide(tmp_path, IMAGE, 0.5)
    (spec,) = read_inputs([tmp_path])
    with open_slide(spec.path) as slide:
        assert slide.mpp == pytest.approx(0.5)
        got = slide.read(Window(slide.level0, 0, 0, IMAGE.shape[1], IMAGE.shape[0]))
    assert len(files) == 3
    assert np.abs(got.astype(float) - IMAGE).mean() < 2
