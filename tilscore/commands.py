"""What each verb of the command line does."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

from tilscore import NOTE
from tilscore.config import load_config
from tilscore.errors import DataError, TilscoreError, UsageError
from tilscore.files import write_json


def run(args: argparse.Namespace) -> int:
    """Slides in, scores out."""
    from tilscore.pipeline import STAGES

    return _stages(args, STAGES, resume=args.resume)


def tissue(args: argparse.Namespace) -> int:
    """The first stage."""
    return _stages(args, ("tissue",))


def infer(args: argparse.Namespace) -> int:
    """The second stage."""
    return _stages(args, ("infer",))


def score(args: argparse.Namespace) -> int:
    """The third stage."""
    return _stages(args, ("score",))


def overlay(args: argparse.Namespace) -> int:
    """The fourth stage."""
    return _stages(args, ("overlay",))


def _stages(args: argparse.Namespace, stages: tuple[str, ...], *, resume: bool = False) -> int:
    from tilscore.inputs import read_inputs
    from tilscore.pipeline import Run, RunConfig, process

    specs = read_inputs(args.slides, mpp=args.mpp)
    if args.roi is not None:
        specs = [s if s.roi else replace(s, roi=args.roi) for s in specs]
    cfg = load_config(RunConfig, args.config) if args.config else RunConfig()
    if "infer" in stages:
        cfg = replace(cfg, infer=_infer_config(args, cfg.infer))
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / ".writable").touch()
        (args.out / ".writable").unlink()
    except OSError as err:
        raise UsageError("results folder cannot be written", where=args.out, found=err.strerror) from err
    job = Run(
        out=args.out,
        cfg=cfg,
        allow_upsampling=args.allow_upsampling,
        progress=not args.quiet and sys.stderr.isatty(),
    )
    if "infer" in stages:
        job.model_name, job.device, job.backend_name, job.precision = (
            args.model,
            args.device,
            args.backend,
            args.precision,
        )
        job.geojson = args.geojson
        print(f"tilscore: model {job.model.ident}, {job.backend.name}. {NOTE}")
    n_failed = process(specs, job, stages, resume=resume)
    if "score" in stages:
        print(f"{len(specs) - n_failed} of {len(specs)} slides done: {args.out / 'scores.csv'}")
    return 1 if n_failed else 0


def _infer_config(args: argparse.Namespace, cfg: Any) -> Any:
    if args.block_um is not None:
        cfg = replace(cfg, block_um=args.block_um)
    if args.workers is not None:
        return replace(cfg, workers=args.workers)
    return cfg


def info(args: argparse.Namespace) -> int:
    """What slides are."""
    from tilscore.info import describe, format_info
    from tilscore.inputs import read_inputs
    from tilscore.slide import open_slide

    n_failed = 0
    for spec in read_inputs(args.slides, mpp=args.mpp):
        try:
            with open_slide(spec.path, mpp=spec.mpp, allow_upsampling=True) as slide:
                facts = describe(slide)
            print(json.dumps(facts) if args.json else format_info(facts))
        except TilscoreError as err:
            n_failed += 1
            print(f"tilscore: error: {err}", file=sys.stderr)
    return 1 if n_failed else 0


def phantom(args: argparse.Namespace) -> int:
    """Draw a slide of known truth."""
    from tilscore.phantom import PhantomConfig, write_phantom

    sizes = args.size_mm * 2 if len(args.size_mm) == 1 else args.size_mm
    if len(sizes) != 2 or not all(0.2 <= s <= 50 for s in sizes):
        raise UsageError("--size-mm takes a width and a height of 0.2 to 50 mm", found=args.size_mm)
    given = {"tumour_frac": args.tumour_frac, "fat_frac": args.fat_frac, "necrosis_frac": args.necrosis_frac}
    try:
        cfg = PhantomConfig(
            size_mm=(sizes[0], sizes[1]),
            seed=args.seed,
            mpp=args.mpp,
            til_density_per_mm2=args.til_density,
            shape=args.shape,
            pen=args.pen,
            blur=args.blur,
            **{k: v for k, v in given.items() if v is not None},
        )
    except ValueError as err:
        raise UsageError(f"this phantom cannot be drawn: {err}") from err
    truth = write_phantom(args.out, cfg)
    print(f"{args.out}: {truth['til_density_per_mm2']:.0f} TILs/mm2, {truth['stroma_mm2']:.2f} mm2 of stroma")
    return 0


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


def models(args: argparse.Namespace) -> int:
    """List the models, or show one."""
    from tilscore.modelstore import find_model, list_models

    if args.name:
        model = find_model(args.name)
        print(f"{model.ident}: {model.folder}\nsha256 {model.config.weights_sha256}")
        card = model.folder / "README.md"
        print(card.read_text(encoding="utf-8") if card.exists() else "(no card)")
        return 0
    for model in list_models():
        print(f"{model.ident:32} {model.config.net.encoder}, {model.config.mpp} um/px  {model.folder}")
    return 0


def doctor(_: argparse.Namespace) -> int:
    """Check this machine."""
    from tilscore.doctor import check

    findings = check()
    for f in findings:
        print(f"{'ok  ' if f.ok else 'FAIL'} {f.name}: {f.found}" + (f"; {f.remedy}" if f.remedy else ""))
    return 0 if all(f.ok for f in findings) else 1
