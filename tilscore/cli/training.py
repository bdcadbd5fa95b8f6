"""Verbs on annotated tiles: `train`, `evaluate`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilscore.cli.parsing import TURNS_HELP, Verbs, add_verb, out_path
from tilscore.config import load_config
from tilscore.errors import DataError, UsageError
from tilscore.files import check_can_write

if TYPE_CHECKING:
    from tilscore.evaluate import FieldResult


def add(verbs: Verbs) -> None:
    """Add the verbs to the parser."""
    _add_train(verbs)
    _add_evaluate(verbs)


def _add_train(verbs: Verbs) -> None:
    verb = add_verb(verbs, "train", "train a model on annotated tiles")
    verb.add_argument("--config", type=Path, required=True, help="a YAML of configs/train")
    verb.add_argument("--data", type=Path, required=True, help="folder that holds the sets' folders")
    verb.add_argument("--out", type=out_path, help="run folder, of this run alone")
    verb.add_argument("--describe", action="store_true", help="tell what the sets hold and how they are read; no run")
    verb.add_argument("--fold", type=int, help="part to hold out for validation; without it all is trained on")
    verb.add_argument("--steps", type=int, help="optimiser steps, instead of the config's")
    verb.add_argument("--init", help="a model's name or folder to start from: fine-tuning")
    verb.add_argument(
        "--teachers", nargs="+", metavar="MODEL", help="models that teach it, instead of the config's: names or folders"
    )
    verb.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint, as it began")
    verb.add_argument("--quiet", action="store_true", help="no progress bar")
    verb.set_defaults(do=train)


def _add_evaluate(verbs: Verbs) -> None:
    verb = add_verb(verbs, "evaluate", "measure models on annotated tiles; with --folds, cross-validated")
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
    verb.add_argument("--radius", type=float, metavar="UM", help="matching radius, instead of each set's own")
    verb.add_argument("--turns", type=int, default=1, metavar="N", help=TURNS_HELP)
    verb.add_argument("--int8", action="store_true", help="as `tilscore run` computes on a CPU; without it, in float32")
    verb.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="draws for the intervals")
    verb.add_argument("--out", type=out_path, help="write the figures with their intervals as JSON")
    verb.add_argument("--html", type=Path, help="write them as a page, with pictures of the worst errors")
    verb.add_argument(
        "--calibrate",
        metavar="MODEL",
        help="fit probabilities and operating points on these fields and store them in MODEL: of --folds, the model "
        "trained on all fields; of --model, your own copy of it",
    )
    verb.set_defaults(do=evaluate)


def train(args: argparse.Namespace) -> int:
    """Train a model, or tell what it would be trained on."""
    from tilscore.train import TrainConfig, describe, train

    cfg = load_config(TrainConfig, args.config)
    if args.steps is not None:
        cfg = replace(cfg, steps=args.steps, steps_per_epoch=min(cfg.steps_per_epoch, args.steps))
    if args.init:
        cfg = replace(cfg, init=args.init)
    if args.teachers:
        cfg = replace(cfg, teachers=tuple(args.teachers))
    if not args.data.is_dir():
        raise DataError("no such folder", where=args.data, do="give the folder that holds the sets' folders")
    if args.describe:
        print(describe(cfg, args.data))
        return 0
    if args.out is None:
        raise UsageError("no run folder", do="give --out")
    check_can_write(args.out, folder=True)
    model = train(cfg, args.data, args.out, fold=args.fold, resume=args.resume, progress=not args.quiet)
    print(f"model: {model}")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Measure models on annotated tiles."""
    from tilscore.evaluate import as_table, cross_fit, deal, report, summarise
    from tilscore.modelstore import find_model
    from tilscore.train import TrainConfig, learned_from, predict_folds, predict_model

    if bool(args.model) == bool(args.folds):
        raise UsageError("evaluate takes --model or --folds", do="give one of them")
    if args.calibrate and args.threshold is not None:
        raise UsageError("--calibrate finds the threshold itself", found=args.threshold, do="leave out --threshold")
    if args.calibrate and args.model:
        _check_copy(args.calibrate, args.model)
    _check_numbers(args)
    if args.int8 and args.turns != 1:
        raise UsageError("int8 is for one view", found=f"--turns {args.turns}", do="leave out --turns, or --int8")
    _check_places(args)
    cfg = load_config(TrainConfig, args.config)
    how: Any = {"threshold": args.threshold, "radius_um": args.radius, "turns": args.turns, "int8": args.int8}
    if args.folds:
        parts = predict_folds(cfg, args.data, args.folds, **how)
        fields, title = [f for part in parts for f in part], f"{cfg.name}: {len(parts)} fold" + "s" * (len(parts) > 1)
    else:
        parts = []
        fields = predict_model(cfg, args.data, args.model, **how)
        title = find_model(args.model).ident  # not the folder: the page is handed on
        if seen := learned_from(args.model, [f.sample for f in fields]):
            if args.calibrate:
                do = "give fields that it never saw, or runs that held these out: --folds"
                raise DataError("a model is not calibrated on fields that it learned from", found=seen[:3], do=do)
            title += f": the model learned from {len(seen)} of these {len(fields)} fields"
            print(f"{title}; figures on fields that it never saw are lower", file=sys.stderr)
    if args.calibrate:
        judged = cross_fit(parts if len(parts) > 1 else deal(fields))
        _calibrate(args.calibrate, fields)
        print(f"as it was:\n{as_table(summarise(fields))}\ncalibrated, each part on the others:")
        fields, title = judged, f"{title}, each part calibrated on the others"
    print(as_table(summarise(fields)))
    if args.out or args.html:
        report(fields, out_json=args.out, html=args.html, title=title, n_bootstrap=args.bootstrap)
    return 0


def _check_numbers(args: argparse.Namespace) -> None:
    """Refuse numbers under which nothing would be found, or paired: figures of 0 look like a bad model."""
    for name, low, high in (("threshold", 0, 1), ("radius", 0, 100), ("bootstrap", -1, 1e6)):
        value = getattr(args, name)
        if value is not None and not low < value < high:
            raise UsageError(f"no such --{name}", found=value, do=f"give one above {low} and below {high:g}")


def _check_places(args: argparse.Namespace) -> None:
    """Refuse what could not be written in the end."""
    for path in (args.out, args.html):
        if path is not None:
            check_can_write(path)
    if args.calibrate:
        from tilscore.modelstore.upkeep import find_own

        check_can_write(find_own(args.calibrate).folder, folder=True)


def _check_copy(address: str, model: str) -> None:
    """Refuse a model to calibrate that is another one than was measured, or that others use too."""
    from tilscore.modelstore import find_model
    from tilscore.modelstore.upkeep import find_own

    if find_own(address).config.weights_sha256 != find_model(model).config.weights_sha256:
        do = f"copy it: tilscore models add {model} --name NAME, then --calibrate NAME"
        raise UsageError("--calibrate names a model of other weights than --model", found=address, do=do)


def _calibrate(address: str, fields: list[FieldResult]) -> None:
    from tilscore.evaluate import calibrated
    from tilscore.modelstore.store import write_config
    from tilscore.modelstore.upkeep import find_own

    model = find_own(address)
    config = calibrated(model.config, fields, name=f"{len(fields)} held-out fields")
    write_config(replace(model, config=config))
    print(f"{model.folder}: calibrated, detection threshold {config.detection_threshold:.3f}")
