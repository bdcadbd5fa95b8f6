"""The processes that read blocks: they end with the run, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tilscore.phantom import PhantomConfig, write_phantom
from tilscore.slide import readahead


def test_an_interrupt_is_left_to_the_main_process() -> None:
    assert readahead._pool(1).submit(signal.getsignal, signal.SIGINT).result(120) == signal.SIG_IGN


@pytest.mark.skipif(os.name == "nt", reason="processes are looked up as Linux and macOS do")
def test_readers_end_with_a_main_process_that_is_killed() -> None:
    code = (
        "import os, signal; from tilscore.slide.readahead import _pool; "
        "print(_pool(1).submit(os.getpid).result(), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout is not None
        reader = int(main.stdout.readline())
    for _ in range(100):
        try:
            os.kill(reader, 0)
        except ProcessLookupError:
            return
        if "\nState:\tZ" in _status(reader):
            return
        time.sleep(0.1)
    os.kill(reader, signal.SIGKILL)
    pytest.fail("the reader outlives the run")


def test_a_script_runs_once(tmp_path: Path) -> None:
    """Readers do not run the script that started them, though it has no `if __name__ == "__main__"`."""
    write_phantom(tmp_path / "a.tif", PhantomConfig(size_mm=(0.3, 0.2)))
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from tilscore.slide.readahead import read_windows\n"
        "from tilscore.slide import SlideSpec, open_slide\n"
        f"spec = SlideSpec('a', {str(tmp_path / 'a.tif')!r})\n"
        "slide = open_slide(spec.path)\n"
        "print(len(list(read_windows(spec, slide, list(slide.level0.window.split(128)), 1))) > 2)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["once", "True"]


def _status(pid: int) -> str:
    """What Linux says of a process; one that ended and that nobody has waited for is a zombie there."""
    path = Path(f"/proc/{pid}/status")
    return path.read_text() if path.exists() else ""
