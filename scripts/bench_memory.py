"""Peak memory of `tilscore run`, all its processes together, on phantoms of growing size.

Linear structures such as the region map (1/16 byte a pixel of 0.5 um) are allowed; the ratio tells how flat it is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tilscore.phantom import PhantomConfig, write_phantom


def main() -> None:
    """Run each slide in a process of its own and print peaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="*", type=Path, help="slides (default: phantoms of --size-mm)")
    parser.add_argument("--size-mm", type=float, nargs="+", default=[8.192, 16.384])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        slides = args.slides
        for size in [] if slides else args.size_mm:
            path = Path(folder) / f"phantom-{size:g}mm.tif"
            write_phantom(path, PhantomConfig(size_mm=(size, size), seed=1))
            slides.append(path)
        peaks = []
        for slide in slides:
            peak, seconds = run(slide, Path(folder) / "out")
            peaks.append(peak)
            print(f"{slide.name}: peak {peak / 1e9:.2f} GB, {seconds:.0f} s", flush=True)
    print(f"last / first: {peaks[-1] / peaks[0]:.2f}")


def run(slide: Path, out: Path) -> tuple[float, float]:
    """Peak memory in bytes (proportional shares of all processes, sampled every 0.2 s) and wall seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "tilscore", "run", str(slide), "--out", str(out), "--quiet"]
    with subprocess.Popen(command) as process:
        family = psutil.Process(process.pid)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, memory(family))
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{slide}: exit code {process.returncode}")
    return peak, time.perf_counter() - start


def memory(family: psutil.Process) -> float:
    """Bytes held by a process and its children; shared pages are counted once, in parts."""
    total = 0
    try:
        for process in [family, *family.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.Error:
        pass
    return total


if __name__ == "__main__":
    main()
