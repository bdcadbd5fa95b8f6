"""Pixels of many windows, read ahead by worker processes that know the slide readers and nothing else."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from types import ModuleType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.errors import SlideError
from tilscore.slide import Slide, SlideSpec, open_slide
from tilscore.space import BoxUm, Window

MANY = 100
"""Of more windows, the processes end with the slide: its score needs their memory more than the next slide a start."""
_FORKS = sys.platform != "darwin" and "forkserver" in multiprocessing.get_all_start_methods()
"""Windows forks no process, and on a Mac the system's own libraries may crash in one that was forked."""
_MOST_ON_WINDOWS = 61
"""Processes that Windows can wait for at once."""


class Pixels(NamedTuple):
    """One window's pixels [h w 3], and the area in it that cannot be read and is white."""

    image: NDArray[np.uint8]
    unreadable_um2: float


def read_windows(
    spec: SlideSpec, slide: Slide, windows: list[Window], workers: int, *, allow_upsampling: bool = False
) -> Iterator[Pixels]:
    """Pixels of the windows, in their order; beyond the slide's edge the tissue is mirrored.

    Parameters
    ----------
    spec : what the workers open. `slide` is the same slide, open in this process.
    workers : processes; 0, or two windows at most, and this process reads.

    Raises
    ------
    SlideError : a worker died.
    """
    if workers == 0 or len(windows) <= 2:
        for window in windows:
            yield _read(slide, window)
        return
    pool = _pool(workers)
    waiting: deque[Future[Pixels]] = deque()
    try:
        for window in windows:
            with _without_main():  # a process may start here
                waiting.append(pool.submit(_read_in_worker, spec, allow_upsampling, window))
            if len(waiting) > 2 * workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as err:
        _POOLS.pop(workers, None)
        raise SlideError("a reading process died", where=spec.path, do="check the memory and the file") from err
    finally:
        for future in waiting:
            future.cancel()
        if len(windows) > MANY and (long_used := _POOLS.pop(workers, None)):
            long_used.shutdown()


def start_loading() -> None:
    """Start the server that worker processes are forked from, where there is one, so that it loads meanwhile."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        forkserver.ensure_running()


_POOLS: dict[int, ProcessPoolExecutor] = {}
_OPEN: dict[tuple[SlideSpec, bool], Slide] = {}


def _pool(workers: int) -> ProcessPoolExecutor:
    """One pool for the whole run; no open reader and no torch thread is ever forked."""
    if workers not in _POOLS:
        n = workers if _FORKS else min(workers, _MOST_ON_WINDOWS)
        _POOLS[workers] = ProcessPoolExecutor(n, mp_context=_context(), initializer=_follow_main)
    return _POOLS[workers]


def _context() -> BaseContext:
    """A fork server where there is one that is safe, else processes that begin anew."""
    if not _FORKS:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tilscore.slide.readahead"])
    return context


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Let processes that start meanwhile not import the program's main module: a script without `if __name__ == ...`
    would run again in each of them, and readers need nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _follow_main() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the main process; end when that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after_main, daemon=True).start()


def _end_after_main() -> None:
    main = multiprocessing.parent_process()
    assert main is not None
    main.join()
    os._exit(1)


def _read_in_worker(spec: SlideSpec, allow_upsampling: bool, window: Window) -> Pixels:
    key = (spec, allow_upsampling)
    if key not in _OPEN:
        while _OPEN:
            _OPEN.popitem()[1].close()
        cv2.setNumThreads(1)
        _OPEN[key] = open_slide(spec.path, mpp=spec.mpp, allow_upsampling=allow_upsampling)
    return _read(_OPEN[key], window)


def _read(slide: Slide, window: Window) -> Pixels:
    inside = window.clip()
    image = slide.read(inside)
    unreadable = sum(_shared_um2(inside.box, bad) for bad in slide.unreadable)
    top, left = inside.y - window.y, inside.x - window.x
    bottom, right = window.h - inside.h - top, window.w - inside.w - left
    if top or left or bottom or right:
        image = np.asarray(cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REFLECT_101), np.uint8)
    return Pixels(image, unreadable)


def _shared_um2(a: BoxUm, b: BoxUm) -> float:
    """Area that two boxes share."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    return max(width, 0.0) * max(min(a.y1, b.y1) - max(a.y0, b.y0), 0.0)
