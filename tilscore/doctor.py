"""What this machine has and lacks, each with its remedy."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tilscore.errors import TilscoreError

HEADLESS = "pip uninstall -y opencv-python opencv-python-headless, then pip install 'opencv-python-headless<5'"
"""Two packages hold the same files, and the one that tiatoolbox asks for needs a desktop's libraries."""
AGAIN = "install tilscore again, as the README says"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def check() -> list[Finding]:
    """Look at everything a run needs."""
    return [
        _opencv(),
        _openslide(),
        _torch(),
        _openvino(),
        _tiatoolbox(),
        _model(),
        _folder("temporary folder", tempfile.gettempdir()),
    ]


def _opencv() -> Finding:
    try:
        import cv2
    except ImportError as err:
        return Finding("opencv", False, str(err), HEADLESS)
    return Finding("opencv", True, cv2.__version__)


def _openslide() -> Finding:
    try:
        import openslide
    except (ImportError, OSError) as err:
        return Finding("openslide", False, str(err), "pip install openslide-python openslide-bin")
    found = openslide.__library_version__
    safe = tuple(int(p) for p in found.split(".")[:3]) >= (4, 0, 1)
    return Finding(
        "openslide", safe, found, "" if safe else "update openslide-bin: below 4.0.1 a crafted file can do harm"
    )


def _torch() -> Finding:
    try:
        import torch

        from tilscore.backends import cpu_count, native_bfloat16, pick_device
    except ImportError as err:
        return Finding("torch", False, str(err), f"mend what fails above; else {AGAIN}")
    device = pick_device("auto")
    name = torch.cuda.get_device_name() if device == "cuda" else f"{cpu_count()} CPU cores"
    name += "" if native_bfloat16(device) else ", no bfloat16: float32 instead"
    return Finding("torch", True, f"{torch.__version__}, device {device} ({name})")


def _openvino() -> Finding:
    try:
        return Finding("openvino", True, version("openvino"))
    except PackageNotFoundError:
        return Finding("openvino", False, "not installed", "pip install openvino: four times faster on a CPU")


def _tiatoolbox() -> Finding:
    try:
        return Finding("tiatoolbox", True, version("tiatoolbox"))
    except PackageNotFoundError:
        return Finding("tiatoolbox", False, "not installed", "pip install tiatoolbox, for formats that OpenSlide lacks")


def _model() -> Finding:
    try:
        from tilscore.modelstore import DEFAULT_MODEL, find_model

        return Finding("default model", True, find_model(DEFAULT_MODEL).ident)
    except (TilscoreError, ImportError) as err:
        return Finding("default model", False, str(err), AGAIN)


def _folder(name: str, path: str) -> Finding:
    ok = os.access(path, os.W_OK)
    gib = f"{shutil.disk_usage(path).free / 2**30:.0f} GiB free"
    return Finding(name, ok, f"{Path(path)}, {gib}", "" if ok else "set TMPDIR to a folder that can be written")
