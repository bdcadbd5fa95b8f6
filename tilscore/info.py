"""What `tilscore info` tells about a slide. Labels, dates, barcodes and other patient data are never shown."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tilscore.errors import TilscoreError, printable
from tilscore.slide.base import Slide


def describe(slide: Slide) -> dict[str, Any]:
    """Facts on an open slide, ready for JSON; sizes in px, um and mm, resolutions in um/px."""
    grid, bounds = slide.level0, slide.bounds_um
    return {
        "path": printable(slide.path, 4096),
        "reader": slide.reader,
        "vendor": slide.vendor,
        "is_field": slide.is_field,
        "size_px": [grid.width_px, grid.height_px],
        "size_um": [round(grid.width_um, 2), round(grid.height_um, 2)],
        "size_mm": [round(grid.width_um / 1000, 3), round(grid.height_um / 1000, 3)],
        "bounds_um": [round(v, 2) for v in (bounds.x0, bounds.y0, bounds.x1, bounds.y1)],
        "mpp": slide.mpp,
        "mpp_source": slide.mpp_source,
        "objective_power": slide.objective,
        "flags": list(slide.flags),
        "levels": [{"mpp": g.mpp, "width_px": g.width_px, "height_px": g.height_px} for g in slide.levels],
        "n_further_images": slide.n_further,
        "fingerprint": slide.fingerprint(),
    }


def unreadable(path: Path, err: TilscoreError) -> dict[str, Any]:
    """What there is to tell of a slide that cannot be read: `path`, and `code` and `message` as in `error.json`."""
    return {"path": printable(path, 4096), "code": err.code, "message": str(err)}


def format_info(facts: dict[str, Any]) -> str:
    """The facts of `describe` or of `unreadable` as aligned lines of text."""
    if "message" in facts:
        return f"{'path':<12}{facts['path']}\n{'error':<12}{facts['message']}"
    (w_px, h_px), (w_mm, h_mm) = facts["size_px"], facts["size_mm"]
    power, further = facts["objective_power"], facts["n_further_images"]
    lines = {
        "path": facts["path"],
        "reader": f"{facts['reader']} ({printable(facts['vendor'])}{', a single field' if facts['is_field'] else ''})",
        "size": f"{w_px} x {h_px} px, {w_mm:.2f} x {h_mm:.2f} mm",
        "resolution": f"{facts['mpp']:.4g} um/px ({facts['mpp_source']})",
        "objective": "not stated" if power is None else f"{power:g}x (not used)",
        "flags": ", ".join(facts["flags"]) or "none",
        "levels": "; ".join(f"{v['width_px']} x {v['height_px']} at {v['mpp']:.4g}" for v in facts["levels"]),
        **({"not read": f"{further} further {'image' if further == 1 else 'images'} of the file"} if further else {}),
        "fingerprint": facts["fingerprint"],
    }
    return "\n".join(f"{name:<12}{value}" for name, value in lines.items())


_VERSIONS = ("tilscore", "numpy", "opencv-python-headless", "openslide-bin", "openvino", "tifffile", "torch")


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
