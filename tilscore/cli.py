"""The command line: what each verb takes. What it does stands in `commands`, imported when it is needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import tilscore
from tilscore import NOTE
from tilscore.errors import ConfigError, ModelError, TilscoreError, UsageError
from tilscore.modelstore import DEFAULT_MODEL


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns
    -------
    0 : every slide has a score or a reasoned `not_evaluable`. 1 : a slide failed. 2 : wrong usage.
    """
    args = parser().parse_args(argv)
    try:
        from tilscore import commands

        code: int = getattr(commands, args.verb)(args)
        return code
    except TilscoreError as err:
        print(f"tilscore: error: {err}", file=sys.stderr)
        return 2 if isinstance(err, UsageError | ConfigError | ModelError) else 1
    except KeyboardInterrupt:
        print("tilscore: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def parser() -> argparse.ArgumentParser:
    """All verbs with their options."""
    top = argparse.ArgumentParser(
        prog="tilscore", description=f"Stromal TIL scores from H&E breast whole-slide images. {NOTE}"
    )
    top.add_argument("--version", action="version", version=f"tilscore {tilscore.__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    _run(verbs)
    for name, text in (
        ("tissue", "find the tissue of slides"),
        ("infer", "find cells and regions (after tissue)"),
        ("score", "score what was found (after infer)"),
        ("overlay", "draw the QC overlay and the report (after score)"),
    ):
        verb = verbs.add_parser(name, help=text, description=f"{text}. {NOTE}")
        _slides(verb)
        if name == "infer":
            _network(verb)
    _info(verbs)
    _phantom(verbs)
    _train(verbs)
    _evaluate(verbs)
    models = verbs.add_parser("models", help="list the models at hand, or show one")
    models.add_argument("name", nargs="?", help="a model's name or folder: show it and check its hash")
    verbs.add_parser("doctor", help="check this machine: device, readers, versions, models")
    return top


def _slides(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "slides", nargs="+", metavar="SLIDE", help="slides, a folder of slides, or a CSV with a column path"
    )
    verb.add_argument("--out", type=Path, required=True, help="results folder; one folder a slide in it")
    verb.add_argument("--mpp", type=float, help="microns per pixel of level 0, where the file does not state it")
    verb.add_argument("--roi", type=Path, help="GeoJSON with the area to score; it is the tumour bed as a whole")
    verb.add_argument(
        "--allow-upsampling", action="store_true", help="score slides coarser than 0.8 um/px all the same"
    )
    verb.add_argument("--config", type=Path, help="YAML with settings of the stages")
    verb.add_argument("--quiet", action="store_true", help="no progress bar")


def _network(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder (default: %(default)s)")
    verb.add_argument("--device", default="auto", help="auto (cuda, then mps, then cpu), cuda, cuda:1, mps or cpu")
    verb.add_argument("--backend", choices=("auto", "torch", "openvino"), default="auto", help="what runs the network")
    verb.add_argument(
        "--precision", choices=("mixed", "full"), default="mixed", help="mixed: bfloat16 where it can; full: float32"
    )
    verb.add_argument("--workers", type=int, help="processes that read the slide (default: 1 on a CPU, 8 on a GPU)")
    verb.add_argument("--geojson", action="store_true", help="write the cells for QuPath too: cells.geojson.gz")
    verb.add_argument("--block-um", type=float, help="side of the blocks the slide is cut into")


def _run(verbs: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    verb = verbs.add_parser(
        "run",
        help="slide in, score out: tissue, infer, score, overlay",
        description=f"Score slides: density of TILs in the stroma of the tumour bed, with overlay and report. {NOTE}",
    )
    _slides(verb)
    _network(verb)
    verb.add_argument("--resume", action="store_true", help="leave slides alone that are done with the same settings")


def _info(verbs: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    verb = verbs.add_parser("info", help="what a slide is: size, resolution and where it comes from, levels")
    verb.add_argument("slides", nargs="+", metavar="SLIDE")
    verb.add_argument("--mpp", type=float, help="microns per pixel of level 0, where the file does not state it")
    verb.add_argument("--json", action="store_true", help="as JSON, one object a slide")


def _phantom(verbs: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    verb = verbs.add_parser("phantom", help="draw a slide of known truth")
    verb.add_argument("out", type=Path, metavar="OUT.tif")
    verb.add_argument("--size-mm", type=float, nargs="+", default=[4.0, 3.0], metavar="MM", help="width and height")
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--mpp", type=float, default=0.5, help="resolution in um/px (default: %(default)s)")
    verb.add_argument("--til-density", type=float, default=800.0, help="TILs per mm2 of stroma (default: %(default)s)")
    verb.add_argument("--shape", choices=("section", "core"), default="section")
    verb.add_argument("--tumour-frac", type=float, help="share of the tissue that is tumour")
    verb.add_argument("--fat-frac", type=float, help="share of the tissue that is fat")
    verb.add_argument("--necrosis-frac", type=float, help="share of the tissue that is necrotic")
    verb.add_argument("--pen", action="store_true", help="with pen marks")
    verb.add_argument("--blur", action="store_true", help="with an area out of focus")


def _train(verbs: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    verb = verbs.add_parser("train", help="train a model on annotated tiles")
    verb.add_argument("--config", type=Path, required=True, help="a YAML of configs/train")
    verb.add_argument("--data", type=Path, required=True, help="folder that holds the sets' folders")
    verb.add_argument("--out", type=Path, required=True, help="run folder")
    verb.add_argument("--fold", type=int, help="part to hold out for validation; without it all is trained on")
    verb.add_argument("--steps", type=int, help="optimiser steps, instead of the config's")
    verb.add_argument("--init", help="a model's name or folder to start from: fine-tuning")
    verb.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    verb.add_argument("--quiet", action="store_true", help="no progress bar")


def _evaluate(verbs: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    verb = verbs.add_parser("evaluate", help="measure models on annotated tiles; with --folds, cross-validated")
    verb.add_argument("--config", type=Path, required=True, help="the YAML that the models were trained with")
    verb.add_argument("--data", type=Path, required=True, help="folder that holds the sets' folders")
    verb.add_argument("--model", help="one model, measured on all fields of the config's sets")
    verb.add_argument(
        "--folds",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="run folders of fold 0, 1, ...: each is measured on the fields it held out, and the fields are pooled",
    )
    verb.add_argument("--threshold", type=float, help="detection threshold, instead of the model's")
    verb.add_argument("--out", type=Path, help="write the figures as JSON too")
