"""OME-NGFF folders: as bioformats2raw writes them, and as others do."""

from __future__ import annotations

import json
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from badfiles import picture, refused
from ngffs import mark, write_container, write_image
from numcodecs import Blosc, Zlib
from tiffs import noise, reduced

from tilscore.errors import MppError
from tilscore.inputs import read_inputs
from tilscore.slide import Slide, open_slide

RGB = ("FF0000", "00FF00", "0000FF")
CHUNK = (slice(128, 256), slice(256, 384))


def chunk(path: Path, level: int, row: int, column: int, channel: int = 1) -> Path:
    return path / "0" / str(level) / "0" / str(channel) / "0" / str(row) / str(column)


def nested(path: Path, image: np.ndarray, **options: Any) -> Path:
    return write_container(path, [image], chunk_key_encoding={"name": "v2", "separator": "/"}, **options)


def check(path: Path, mpp: float = 0.25) -> None:
    """Every level of a slide of `noise()` is what was written."""
    with open_slide(path) as slide:
        assert (slide.reader, slide.vendor, slide.mpp_source) == ("ngff", "ome-ngff", "ngff.scale")
        assert [g.mpp for g in slide.levels] == pytest.approx([mpp, 2 * mpp, 4 * mpp])
        assert (slide.read(slide.level0.window) == noise()).all()
        assert (slide.read(slide.levels[1].window) == reduced(noise(), 2)).all()
        assert (slide.read(slide.levels[2].window) == reduced(noise(), 4)).all()
        assert not slide.unreadable


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("colours", [(), RGB, ("00FFFF",)], ids=["unsaid", "rgb", "one for all"])
def test_what_bioformats2raw_writes(tmp_path: Path, zarr_format: int, colours: tuple[str, ...]) -> None:
    """Five axes, and the image in a group of its own; so does the group that is named itself."""
    path = write_container(tmp_path / "a.ome.zarr", [noise()], zarr_format=zarr_format, colours=colours)
    check(path)
    check(path / "0")


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("compressor", [None, Blosc(), Zlib(1)], ids=["raw", "blosc", "zlib"])
def test_zarr_2(tmp_path: Path, separator: Any, compressor: Any) -> None:
    key = {"name": "v2", "separator": separator}
    check(write_container(tmp_path / "a.zarr", [noise()], compressors=compressor, chunk_key_encoding=key))


@pytest.mark.parametrize(
    ("index", "compressor"),
    [("end", "auto"), ("start", "auto"), ("end", zarr.codecs.BloscCodec())],
    ids=["zstd", "index first", "blosc"],
)
def test_shards(tmp_path: Path, index: str, compressor: Any) -> None:
    options = {"zarr_format": 3, "shard": 256, "index": index, "compressors": compressor}
    path = write_container(tmp_path / "a.zarr", [noise()], **options)
    check(path)
    shard = path / "0" / "0" / "c" / "0" / "1" / "0" / "0" / "1"
    shard.write_bytes(shard.read_bytes()[:-1000])
    with open_slide(path) as slide:
        slide.read(slide.level0.window)
        assert 0 < slide.n_unreadable_px <= 256 * 256


def test_shards_whose_end_could_be_missed(tmp_path: Path) -> None:
    options = {"zarr_format": 3, "shard": 256, "index": "start", "compressors": zarr.codecs.BloscCodec()}
    line = refused(write_container(tmp_path / "a.zarr", [noise()], **options))
    assert "(found Blosc in shards that begin with their index)" in line


@pytest.mark.parametrize("axes", ["yxc", "cyx", "zyxc", "tczyx"])
def test_an_image_of_its_own_on_any_axes(tmp_path: Path, axes: str) -> None:
    write_image(zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2), noise(), axes=axes)
    check(tmp_path / "a.zarr")


@pytest.mark.parametrize(("unit", "mpp"), [("nanometer", 250.0), ("millimeter", 0.00025), ("micrometer", 0.25)])
def test_units(tmp_path: Path, unit: str, mpp: float) -> None:
    check(write_container(tmp_path / "a.zarr", [noise()], unit=unit, mpp=mpp))


def test_scale_of_the_whole_pyramid_counts_too(tmp_path: Path) -> None:
    told = {"coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0, 0.5, 0.5]}]}
    check(write_container(tmp_path / "a.zarr", [noise()], mpp=0.5, told=told))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"unit": None}, "states no resolution"),
        ({"unit": "pixel"}, "0.25 pixel"),
        ({"mpp": 25.0}, "25 um/px"),
        ({"told": {"coordinateTransformations": [{"type": "affine"}]}}, "states no resolution"),
    ],
)
def test_resolution_that_is_not_known_is_not_guessed(tmp_path: Path, options: dict[str, Any], found: str) -> None:
    path = write_container(tmp_path / "a.zarr", [noise()], **options)
    line = refused(path, MppError, mpp=None)
    assert found in line
    assert "--mpp" in line
    assert open_slide(path, mpp=0.3).mpp == 0.3


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"axes": "cyx", "told": {"axes": [{"name": a} for a in "zyx"]}}, "z, y, x"),
        ({"told": {"axes": []}}, "axes that are not read (found none)"),
        ({"labels": ("DAPI", "FITC", "Cy5")}, "DAPI, FITC, Cy5"),
        ({"colours": RGB[::-1]}, "colour 0000FF, colour FF0000"),
        ({"chunk": 9000}, "chunks of 1 x 1 x 1 x 9000 x 9000"),
    ],
)
def test_images_that_are_no_rgb(tmp_path: Path, options: dict[str, Any], found: str) -> None:
    line = refused(write_container(tmp_path / "a.zarr", [noise()], **options))
    assert found in line
    assert "raw2ometiff --rgb" in line


def test_arrays_that_are_no_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    assert "(found uint16)" in refused(write_container(path, [noise().astype(np.uint16)], factors=(1,)))
    four = np.dstack([noise(), noise()[..., :1]])
    assert "(found 1 x 4 x 1 x 540 x 700 on axes TCZYX)" in refused(write_container(path, [four], factors=(1,)))
    group = zarr.open_group(write_container(path, [noise()]) / "0", mode="r+")
    del group["0"]
    group.create_array("0", shape=(1, 3, 2, 540, 700), dtype="uint8")
    assert "(found 1 x 3 x 2 x 540 x 700 on axes TCZYX)" in refused(path)
    del group["0"]
    group.create_array("0", shape=(1, 3, 1, 540, 700), chunks=(1, 1, 99, 2048, 2048), dtype="uint8")
    assert "chunks of 1 x 1 x 99 x 2048 x 2048" in refused(path)


@pytest.mark.parametrize(
    ("codec", "found"),
    [
        ({"filters": [{"id": "pickle", "protocol": 5}]}, "pickle"),
        ({"compressor": {"id": "pickle", "protocol": 5}}, "pickle"),
        ({"filters": [{"id": "delta", "dtype": "|u1"}]}, "(found codec delta); write it again"),
    ],
)
def test_a_codec_that_could_run_code_is_not_used(tmp_path: Path, codec: dict[str, Any], found: str) -> None:
    path = nested(tmp_path / "a.zarr", noise())
    for level in range(3):
        array = path / "0" / str(level) / ".zarray"
        told = json.loads(array.read_text(encoding="utf-8")) | codec
        array.write_text(json.dumps(told), encoding="utf-8", newline="\n")
    for file in chunk(path, 2, 0, 0).parents[2].rglob("[0-9]"):
        if file.is_file():
            file.write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    assert found in refused(path)
    assert not (tmp_path / "sprung").exists()


class _Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def test_of_several_images_the_largest_is_the_slide(tmp_path: Path) -> None:
    path = write_container(tmp_path / "a.zarr", [noise()[:200, :200], noise(), picture()[:128, :128]])
    check(path)
    with open_slide(path) as slide:
        assert slide.n_further == 2
    with open_slide(path / "2") as slide:
        assert (slide.level0.shape[1], slide.n_further) == (128, 0)
    shutil.rmtree(path / "OME")
    check(path)
    shutil.rmtree(path / "1" / "0")
    assert "cannot be read" in refused(path)
    specs = read_inputs([path / "0", path / "1", path])
    assert [(s.slide_id, s.path) for s in specs] == [("a-0", path / "0"), ("a-1", path / "1"), ("a", path)]


def test_folders_without_an_image(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    assert "holds no OME-NGFF image (found no metadata); name the folder of one image" in refused(tmp_path / "a.zarr")
    mark(root, {"plate": {"wells": []}})
    assert "(found plate)" in refused(tmp_path / "a.zarr")
    write_image(root, noise())
    mark(root, {"multiscales": root.attrs["multiscales"] * 2})
    assert "2 multiscales" in refused(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / ".zattrs").write_text("{", encoding="utf-8", newline="\n")
    assert "cannot be read" in refused(tmp_path / "a.zarr")


def test_a_level_that_is_missing_is_told(tmp_path: Path) -> None:
    path = write_container(tmp_path / "a.zarr", [noise()])
    shutil.rmtree(path / "0" / "1")
    assert "cannot be read" in refused(path)


@pytest.mark.parametrize("compressor", [None, Blosc(), Zlib(1)], ids=["raw", "blosc", "zlib"])
@pytest.mark.parametrize("how", ["missing", "cut", "almost whole", "empty", "noise"])
def test_a_lost_chunk_costs_only_itself(tmp_path: Path, how: str, compressor: Any) -> None:
    """Of an unfinished copy, too: black is what zarr gives for a chunk that is not there, and Blosc for a cut one."""
    file = chunk(nested(tmp_path / "a.zarr", picture(), compressors=compressor), 0, 1, 2)
    data = file.read_bytes()
    file.write_bytes({"cut": data[:99], "almost whole": data[:-1], "noise": bytes(range(256)) * 8}.get(how, b""))
    if how == "missing":
        file.unlink()
    with open_slide(tmp_path / "a.zarr") as slide:
        read = slide.read(slide.level0.window)
        assert (read[CHUNK] == 255).all()
        read[CHUNK] = picture()[CHUNK]
        assert (read == picture()).all()
        assert slide.n_unreadable_px == 128 * 128


def test_a_chunk_lost_on_a_coarse_level_is_read_from_the_next_finer_one(tmp_path: Path) -> None:
    path = nested(tmp_path / "a.zarr", picture())
    for channel in range(3):
        chunk(path, 1, 0, 1, channel).unlink()
    with open_slide(path) as slide:
        read = slide.read(slide.levels[1].window)
        assert abs(read.astype(int) - reduced(picture(), 2)).max() <= 1
        assert not slide.unreadable


def test_a_chunk_lost_on_several_levels_is_lost_where_any_other_shows_something(tmp_path: Path) -> None:
    path = nested(tmp_path / "a.zarr", picture())
    for level, row, column in ((0, 0, 2), (0, 0, 3), (0, 1, 2), (0, 1, 3), (1, 0, 1)):
        for channel in range(3):
            chunk(path, level, row, column, channel).unlink(missing_ok=True)
    with open_slide(path) as slide:
        read = slide.read(slide.level0.window)
        assert (read[:256, 256:512] == 255).all()
        assert slide.n_unreadable_px == 256 * 256


def test_black_that_was_not_stored_is_black(tmp_path: Path) -> None:
    image = picture()
    image[:256, 256:512] = 0
    image[256:, :, 2] = 0
    path = nested(tmp_path / "a.zarr", image)
    assert not chunk(path, 0, 0, 2).exists()
    with open_slide(path) as slide:
        for factor, grid in zip((1, 2, 4), slide.levels, strict=True):
            expected = image if factor == 1 else reduced(image, factor)
            assert (slide.read(grid.window) == expected).all()
        assert not slide.unreadable


def test_without_a_level_to_compare_what_is_not_stored_is_lost(tmp_path: Path) -> None:
    path = nested(tmp_path / "a.zarr", picture(), factors=(1,))
    chunk(path, 0, 1, 2).unlink()
    with open_slide(path) as slide:
        slide.read(slide.level0.window)
        assert slide.n_unreadable_px == 128 * 128


def _sum_in_worker(slide: Slide) -> int:
    return int(slide.read(slide.level0.window).sum())


def test_travels_to_workers(tmp_path: Path) -> None:
    with open_slide(write_container(tmp_path / "a.zarr", [noise()])) as slide:
        total = _sum_in_worker(slide)
        assert len(pickle.dumps(slide)) < 10_000
        for method in ("fork", "spawn"):
            with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
                assert pool.submit(_sum_in_worker, slide).result(60) == total


def test_fingerprint_tells_folders_apart(tmp_path: Path) -> None:
    a = open_slide(write_container(tmp_path / "a.zarr", [noise()])).fingerprint()
    b = open_slide(write_container(tmp_path / "b.zarr", [255 - noise()])).fingerprint()
    again = open_slide(write_container(tmp_path / "c.zarr", [noise()], zarr_format=3, colours=RGB)).fingerprint()
    assert a == again != b
