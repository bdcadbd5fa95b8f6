"""Files as other tools write them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from badfiles import write
from tiffs import H, W, gradient, noise, reduced

from tilscore.slide import open_slide

ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


@pytest.mark.parametrize("tile", [(128, 256), None])
@pytest.mark.parametrize("compression", [None, "lzw", "jpeg"])
def test_colours_stored_apart(tmp_path: Path, tile: tuple[int, int] | None, compression: str | None) -> None:
    """As Bio-Formats writes RGB that it was not given interleaved."""
    pixels = np.rint(gradient()).astype(np.uint8)
    options = {
        "compression": compression,
        "tile": tile,
        "rowsperstrip": None if tile else 64,
        "planarconfig": "separate",
    }
    with open_slide(write(tmp_path / "p.tif", pixels.transpose(2, 0, 1), **options)) as slide:
        difference = abs(slide.read(slide.level0.window).astype(int) - pixels)
        assert difference[:512, :512].max() <= (4 if compression == "jpeg" else 0)
        assert not slide.unreadable


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_transparent_is_white(tmp_path: Path, kind: str) -> None:
    """As libvips converts a slide that it read through OpenSlide: glass that was not scanned is transparent."""
    rgba = np.dstack([noise(), np.full((H, W), 255, np.uint8)])
    rgba[:100, :200] = 0
    rgba[100, 0] = (50, 100, 30, 102)
    with open_slide(write(tmp_path / "t.tif", rgba, extrasamples=[kind])) as slide:
        read = slide.read(slide.level0.window)
    assert (read[:100, :200] == 255).all()
    assert (read[100:, 1:] == noise()[100:, 1:]).all()
    assert tuple(read[100, 0]) == ((203, 253, 183) if kind == "assocalpha" else (173, 193, 165))


@pytest.mark.parametrize("axes", ["yxc", "cyx", "tczyx"])
def test_ngff_is_read_at_every_resolution_or_refused_at_once(tmp_path: Path, axes: str) -> None:
    """Of a pyramid tiatoolbox reads the first level alone, and of five axes none, which it tells at the first pixel."""
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    datasets = []
    for i, level in enumerate((noise(), reduced(noise(), 2))):
        pixels = {"yxc": level, "cyx": level.transpose(2, 0, 1)}.get(axes, level.transpose(2, 0, 1)[None, :, None])
        group.create_array(str(i), shape=pixels.shape, dtype="uint8")[...] = pixels
        scale = {"type": "scale", "scale": [0.5 * 2**i if axis in "xy" else 1.0 for axis in axes]}
        datasets.append({"path": str(i), "coordinateTransformations": [scale]})
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": axis, "type": kinds.get(axis, "space"), "unit": "micrometer"} for axis in axes]
    group.attrs["multiscales"] = [{"version": "0.4", "name": "x", "axes": named, "datasets": datasets}]
    group.attrs["omero"] = {"id": 1, "name": "x", "version": "0.4", "channels": [], "rdefs": {}}
    code = """
import sys
import numpy as np
from tilscore.errors import SlideError
from tilscore.slide import open_slide
try:
    with open_slide("x.zarr") as slide:
        np.savez("read", mpp=slide.mpp, fine=slide.thumbnail(slide.mpp), coarse=slide.thumbnail(2 * slide.mpp))
except SlideError as err:
    sys.exit(str(err))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=ENV, check=False
    )
    if axes == "tczyx":
        assert "TCZYX" in run.stderr
        assert "OME-TIFF" in run.stderr
        return
    assert run.returncode == 0, run.stderr
    read = np.load(tmp_path / "read.npz")
    assert read["mpp"] == 0.5
    assert (read["fine"] == noise()).all()
    assert abs(read["coarse"].astype(int) - reduced(noise(), 2)).max() <= 1
