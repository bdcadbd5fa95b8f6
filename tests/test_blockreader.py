"""The processes that read blocks: they end with the run, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tilscore import blockreader


def test_an_interrupt_is_left_to_the_main_process() -> None:
    assert blockreader._pool(1).submit(signal.getsignal, signal.SIGINT).result(120) == signal.SIG_IGN


@pytest.mark.skipif(os.name == "nt", reason="processes are looked up as Linux and macOS do")
def test_readers_end_with_a_main_process_that_is_killed() -> None:
    code = (
        "import os, signal; from tilscore.blockreader import _pool; "
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


def _status(pid: int) -> str:
    """What Linux says of a process; one that ended and that nobody has waited for is a zombie there."""
    path = Path(f"/proc/{pid}/status")
    return path.read_text() if path.exists() else ""
