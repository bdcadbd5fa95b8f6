"""What the files of the command line share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from tilscore import NOTE

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a verb is added: `add_verb(verbs, name, text)`, then `set_defaults(do=function)` on what it returns."""

TURNS_HELP = "average the network over N turned and mirrored views: 1 (default), 2, 4 or 8; N times the work"


def out_path(text: str) -> Path:
    """Where results go; an empty name, as of a shell variable that is not set, would be the folder at hand."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; name where to write ('.' for this folder)")
    return Path(text)


def add_verb(verbs: Verbs, name: str, text: str) -> argparse.ArgumentParser:
    """A verb that says what it does in the list of verbs and in its own help."""
    return verbs.add_parser(name, help=text.replace("%", "%%"), description=f"{text}. {NOTE}")
