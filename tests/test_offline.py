"""A run speaks to no other machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tilscore.phantom import PhantomConfig, write_phantom

RECORDER = """
import os
import sys


def record(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        with open(os.environ["CALLS"], "a", encoding="utf-8") as calls:
            print(event, args[0], file=calls)


sys.addaudithook(record)
"""
TELEMETRY = """
import contextlib
import socket

with contextlib.suppress(OSError):
    socket.getaddrinfo("telemetry.invalid", 443)
"""
"""Stands for `openvino_telemetry`, which the lock leaves out, but other ways to install bring along."""


def python(code: str, folder: Path) -> list[str]:
    """The machines that a program and the processes that it starts ask for."""
    names = {
        k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD", "JENKINS_URL")
    }  # telemetry spares these
    own = {"PYTHONPATH": str(folder), "CALLS": str(folder / "calls"), "TILSCORE_CACHE": str(folder / "cache")}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=names | own, check=True, capture_output=True)
    return (folder / "calls").read_text(encoding="utf-8").splitlines() if (folder / "calls").exists() else []


def test_a_run_that_converts_its_network_asks_for_no_machine(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(RECORDER, encoding="utf-8")
    (tmp_path / "openvino_telemetry.py").write_text(TELEMETRY, encoding="utf-8")
    write_phantom(tmp_path / "slide.tif", PhantomConfig(size_mm=(0.5, 0.4), seed=1))
    assert python("import openvino_telemetry", tmp_path) == ["socket.getaddrinfo telemetry.invalid"]
    (tmp_path / "calls").unlink()
    run = "import sys; from tilscore.cli import main; sys.exit(main(['run', 'slide.tif', '--out', 'results']))"
    assert python(run, tmp_path) == []
    assert (tmp_path / "results" / "scores.csv").exists()
    assert list((tmp_path / "cache").glob("*.zip"))  # it was converted, not found
