"""Verbs on annotated tiles: `train`, `evaluate`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tilscore.cli.parsing import Verbs
from tilscore.config import load_config
from tilscore.errors import DataError, UsageError
from tilscore.files import write_json


def add(verbs: Verbs) -> None:
    """Add the verbs to the parser."""
    _add_train(verbs)
    _add_evaluate(verbs)


def _add_train(verbs: Verbs) -> None:
    verb = verbs.add_parser("train", help="train a model on annotated tiles")
    verb.add_argument("--config", type=Path, required=True, help="a YAML of configs/train")
    verb.add_argument("--data", type=Path, required=True, help="folder that holds the sets' folders")
    verb.add_argument("--out", type=Path, required=True, help="run folder")
    verb.add_argument("--fold", type=int, help="part to hold out for validation; without it all is trained on")
    verb.add_argument("--steps", type=int, help="optimiser steps, instead of the config's")
    verb.add_argument("--init", help="a model's name or folder to start from: fine-tuning")
    verb.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    verb.add_argument("--quiet", action="store_true", help="no progress bar")
    verb.set_defaults(do=train)


def _add_evaluate(verbs: Verbs) -> None:
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
    verb.set_defaults(do=evaluate)


def train(args: argparse.Namespace) -> int:
    """Train a model."""
    from tilscore.train import TrainConfig, train

    cfg = load_config(TrainConfig, args.config)
    if args.steps:
        cfg = replace(cfg, steps=args.steps, steps_per_epoch=min(cfg.steps_per_epoch, args.steps))
    if args.init:
        cfg = replace(cfg, init=args.init)
    if not args.data.is_dir():
        raise DataError("no such folder", where=args.data, do="give the folder that holds the sets' folders")
    model = train(cfg, args.data, args.out, fold=args.fold, resume=args.resume, progress=not args.quiet)
    print(f"model: {model}")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Measure models on annotated tiles."""
    from tilscore.evaluate import as_table, flat_scores
    from tilscore.train import TrainConfig, evaluate_folds, evaluate_model

    if bool(args.model) == bool(args.folds):
        raise UsageError("evaluate takes --model or --folds", do="give one of them")
    cfg = load_config(TrainConfig, args.config)
    if args.folds:
        results = evaluate_folds(cfg, args.data, args.folds, threshold=args.threshold)
    else:
        results = evaluate_model(cfg, args.data, args.model, threshold=args.threshold)
    print(as_table(results))
    if args.out:
        write_json(args.out, {k: v if v == v else None for k, v in flat_scores(results).items()})
    return 0
