"""From slides to scores: every slide through the stages, and its row in `scores.csv`; one bad slide stops no other."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tilscore.errors import OutputError, TilscoreError, UsageError, printable
from tilscore.files import check_can_replace, write_json
from tilscore.job import SlideJob
from tilscore.results.artefacts import STAGES, remove_artefacts
from tilscore.results.owners import full_path, settled
from tilscore.results.table import summary, update_scores
from tilscore.run import Run
from tilscore.score import failed_row
from tilscore.slide import SlideSpec, open_slide

Say = Callable[[str], object]


class Tally(NamedTuple):
    """How many slides were done, failed, and are in work by another run; and how many of the done have no score."""

    n_done: int
    n_failed: int
    n_elsewhere: int
    n_not_evaluable: int


def aloud(text: str) -> None:
    """Print a line at once; a log that cannot be written (a full disk, a terminal that is gone) stops no run."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        pass


def process(
    specs: list[SlideSpec], run: Run, stages: tuple[str, ...] = STAGES, *, resume: bool = False, say: Say = aloud
) -> Tally:
    """Take slides through `stages`; a slide that fails is told and noted, and the others go on.

    Runs may share `run.out`: a slide that another run has in work is passed over. A slide whose name is that of another
    slide there takes its alias.

    Parameters
    ----------
    specs : as `inputs.read_inputs` gives them. stages : one or several of `results.artefacts.STAGES`, in their order.
    resume : run only what is not done with these settings. say : is told one line a slide.

    Raises
    ------
    OutputError : `run.out` itself cannot be written.
    UsageError : a slide without an alias has the name of another slide with results there.
    """
    table = run.out / "scores.csv"
    check_can_replace(table)  # a table that cannot be added to is told before the first slide
    update_scores(table, [])
    settle = partial(settled, out=run.out, allow_upsampling=run.allow_upsampling)
    for spec in specs:
        if not spec.alias:
            settle(spec)
    n_failed = n_elsewhere = n_not_evaluable = 0
    for i, given in enumerate(specs, 1):
        try:
            spec = settle(given)
        except UsageError as err:  # another run has just made results of this name
            n_failed += 1
            say(f"[{i} of {len(specs)}] {given.slide_id}: FAILED: {err}")
            continue
        with _claimed(run.out, spec.slide_id) as mine:
            if not mine or settle(given) != spec:
                n_elsewhere += 1
                line = f"{spec.slide_id}: in work by another run"
            else:
                row, line = _take(spec, run, stages, resume)
                n_failed += row.get("status") == "failed"
                n_not_evaluable += row.get("status") == "not_evaluable"
                update_scores(table, [row] if row else [], without=() if row else (spec.slide_id,))
        say(f"[{i} of {len(specs)}] {line}" if len(specs) > 1 else line)
    return Tally(len(specs) - n_failed - n_elsewhere, n_failed, n_elsewhere, n_not_evaluable)


def _take(spec: SlideSpec, run: Run, stages: tuple[str, ...], resume: bool) -> tuple[dict[str, Any], str]:
    """One slide: its row (empty without a score), and what is said of it."""
    job = None
    try:
        with open_slide(spec.path, mpp=spec.mpp, allow_upsampling=run.allow_upsampling) as slide:
            job = SlideJob(run, spec, slide)
            row, skipped = job.resume() if resume else (job.do(stages), False)
            (job.folder / "error.json").unlink(missing_ok=True)
    except Exception as err:
        if isinstance(err, OutputError) and not _of_this_slide(err, run.out):
            raise
        row = _failed(run, spec, err, job.stage if job else "")
        return row, f"{spec.slide_id}: FAILED: {row['message']}"
    if not row:
        return row, f"{spec.slide_id}: {', '.join(stages)} done"
    return row, summary(spec.slide_id, row, skipped=skipped, others=job.other_versions)


def _failed(run: Run, spec: SlideSpec, err: Exception, stage: str) -> dict[str, Any]:
    """Leave nothing of the stage that failed, nor of later ones, and the reason: in the row and in `error.json`.

    Before the first stage (a slide that cannot be opened: its share may be back tomorrow) all that was made stays.
    """
    folder = run.out / spec.slide_id
    known = isinstance(err, TilscoreError)
    message = str(err) if known else f"internal error, please report it: {type(err).__name__}: {printable(err)}"
    code = err.code if isinstance(err, TilscoreError) else "internal"
    trace = [] if known else traceback.format_exception(err)
    with contextlib.suppress(OutputError):
        if stage:
            remove_artefacts(folder, stage)
        told = {"slide_id": spec.slide_id, "path": full_path(spec.path), "code": code, "message": message}
        write_json(folder / "error.json", told | {"trace": trace})
    return {**failed_row(spec.slide_id, code), "message": message}


def _of_this_slide(err: OutputError, out: Path) -> bool:
    """Whether it is the slide's own folder that cannot be written, and not the disk or the results folder."""
    own = isinstance(err.__cause__, PermissionError | FileExistsError | NotADirectoryError | IsADirectoryError)
    return own and os.access(out, os.W_OK)


@contextlib.contextmanager
def _claimed(out: Path, slide_id: str) -> Iterator[bool]:
    """Hold a slide against other runs that share the results folder; False where one of them holds it."""
    from filelock import FileLock, Timeout

    lock = out / ".locks" / slide_id
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock, timeout=0)
        held.acquire()
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as err:
        raise OutputError("cannot be locked", where=lock, found=err, do="check the folder and its rights") from err
    try:
        yield True
    finally:
        held.release()
