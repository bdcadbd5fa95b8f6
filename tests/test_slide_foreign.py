"""Files as other tools write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from badfiles import write
from tiffs import H, W, gradient, noise

from tilscore.slide import open_slide


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
