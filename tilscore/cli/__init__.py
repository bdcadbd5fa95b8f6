"""The command line. Each file adds its verbs and holds what they do; heavy libraries are imported when a verb runs."""

from __future__ import annotations

import argparse
import glob
import io
import os
import sys
from collections.abc import Sequence

import tilscore
from tilscore import NOTE
from tilscore.cli import cohort, doctor, models, slides, training
from tilscore.errors import ConfigError, ModelError, TilscoreError, UsageError

_WINDOWS = sys.platform == "win32"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns
    -------
    0 : every slide has a score or a reasoned `not_evaluable`. 1 : a slide failed. 2 : wrong usage.
    """
    _open_streams()
    args = parser().parse_args(_matched(sys.argv[1:] if argv is None else argv))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops no run
    try:
        code: int = args.do(args)
        return code
    except TilscoreError as err:
        print(f"tilscore: error: {err}", file=sys.stderr)
        return 2 if isinstance(err, UsageError | ConfigError | ModelError) else 1
    except ImportError as err:
        if (err.name or "").startswith("tilscore"):
            raise  # no library of others, but a mistake of this package
        do = "`tilscore doctor` tells what this machine lacks, and what to do"
        print(f"tilscore: error: {TilscoreError('a library cannot be loaded', found=err, do=do)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tilscore: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def _open_streams() -> None:
    """Open the standard streams that are closed, or what a library prints would go into a file that is opened next."""
    while (at := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(at)
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()


def _matched(argv: Sequence[str]) -> list[str]:
    """On Windows, whose shells leave that to programs, the files that `*` and `?` stand for, where there are any."""
    if not _WINDOWS:
        return [*argv]
    named: list[str] = []
    for text in argv:
        is_pattern = not text.startswith("-") and ("*" in text or "?" in text)
        named += (sorted(glob.glob(text)) if is_pattern else []) or [text]
    return named


def parser() -> argparse.ArgumentParser:
    """All verbs with their options."""
    top = argparse.ArgumentParser(
        prog="tilscore", description=f"Stromal TIL scores from H&E breast whole-slide images. {NOTE}"
    )
    top.add_argument("--version", action="version", version=f"tilscore {tilscore.__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for group in (slides, cohort, training, models, doctor):
        group.add(verbs)
    return top
