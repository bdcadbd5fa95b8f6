"""What an installed tilscore has beside its code, and what its doctor says where a library cannot be loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import tilscore

REPO = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The archive of the source, and the wheel that is made from that archive alone."""
    root = tmp_path_factory.mktemp("built")
    for name in ("configs", "docs", "models", "notebooks", "scripts", "tests", "tilscore"):
        shutil.copytree(
            REPO / name, root / "source" / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
        )
    for path in (p for p in REPO.iterdir() if p.is_file() and p.name[0] != "."):
        shutil.copy(path, root / "source")
    for weights in (REPO / "models").glob("*/*.safetensors"):  # small ones are packed at once
        (root / "source" / weights.relative_to(REPO)).write_bytes(b"weights")
    sdist = root / call("build_sdist", root / "source", root)
    with tarfile.open(sdist) as archive:
        archive.extractall(root / "unpacked", filter="data")
    (unpacked,) = (root / "unpacked").iterdir()
    return sdist, root / call("build_wheel", unpacked, root)


def call(hook: str, source: Path, out: Path) -> str:
    """Call setuptools as pip does; the name of the file that it wrote."""
    code = f"from setuptools import build_meta as b; print(b.{hook}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_the_archive_of_the_source_is_whole(built: tuple[Path, Path]) -> None:
    """Its tests can run: every file beside them, and the notebooks, settings and documents that they read."""
    with tarfile.open(built[0]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("tests", "notebooks", "configs", "docs", "scripts", "models", "tilscore"):
        ours = {p.relative_to(REPO).as_posix() for p in (REPO / folder).rglob("*") if p.is_file()}
        assert not {p for p in ours if "__pycache__" not in p} - held
    assert {"requirements.lock", "CHANGELOG.md", "LICENSE"} <= held


def test_the_wheel_has_models_settings_templates_and_terms(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        held = wheel.namelist()
        metadata = Parser().parsestr(wheel.read(next(n for n in held if n.endswith("/METADATA"))).decode())
    shared = {name.partition("/share/tilscore/")[2] for name in held}
    for folder in ("models", "configs"):
        assert {p.relative_to(REPO).as_posix() for p in (REPO / folder).rglob("*") if p.is_file()} <= shared
    assert {p.relative_to(REPO).as_posix() for p in (REPO / "tilscore" / "templates").iterdir()} <= set(held)
    assert "tilscore/py.typed" in held, "whoever checks types against tilscore needs it"
    assert metadata["Version"] == tilscore.__version__
    assert "research" in metadata["License-Expression"], "the weights in it are not for every use"


@pytest.mark.parametrize("verb", ["doctor", "run"])
def test_a_library_that_cannot_be_loaded_is_told(tmp_path: Path, verb: str) -> None:
    """Where tiatoolbox has brought the OpenCV of desktops to a machine without one, nothing but the doctor works."""
    said = "libGL.so.1: cannot open shared object file"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({said!r})")
    path = os.pathsep.join([str(tmp_path), str(REPO)])
    rest = [] if verb == "doctor" else ["a.svs", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "tilscore", verb, *rest]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = f"FAIL opencv: {said}; pip uninstall" if verb == "doctor" else f"(found {said}); `tilscore doctor` tells"
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
