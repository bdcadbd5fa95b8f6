"""Verbs on slides: `run` and its stages, `info`, `phantom`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilscore import NOTE
from tilscore.cli.parsing import TURNS_HELP, Verbs, add_verb, out_path
from tilscore.config import load_config
from tilscore.errors import TilscoreError, UsageError
from tilscore.files import check_can_write
from tilscore.modelstore import DEFAULT_MODEL

if TYPE_CHECKING:
    from tilscore.pipeline import Tally
    from tilscore.slide import SlideSpec


def add(verbs: Verbs) -> None:
    """Add the verbs to the parser."""
    _add_run(verbs)
    for name, text in (
        ("tissue", "find the tissue of slides"),
        ("infer", "find cells and regions (after tissue)"),
        ("score", "score what was found (after infer)"),
        ("overlay", "draw the QC overlay and the report (after score)"),
    ):
        verb = add_verb(verbs, name, text)
        _slide_options(verb)
        if name == "infer":
            _network_options(verb)
        verb.set_defaults(do=stage)
    _add_explain(verbs)
    _add_info(verbs)
    _add_phantom(verbs)


def _slide_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "slides", nargs="+", metavar="SLIDE", help="slides, a folder of slides, or a CSV with a column path"
    )
    verb.add_argument("--out", type=out_path, required=True, help="results folder; one folder a slide in it")
    text = "microns per pixel of level 0, where the list does not say; it wins over what the files state"
    verb.add_argument("--mpp", type=float, help=text)
    verb.add_argument(
        "--roi",
        type=Path,
        help="GeoJSON with the area to score (it is the tumour bed as a whole) and areas to leave out, of one slide",
    )
    verb.add_argument(
        "--site", help="where the tissue was taken, for slides whose list does not say: breast, lymph_node, liver, ..."
    )
    verb.add_argument(
        "--specimen", help="core, resection, excision or cytology_block, for slides whose list does not say"
    )
    verb.add_argument(
        "--allow-upsampling", action="store_true", help="score slides coarser than 0.8 um/px all the same"
    )
    verb.add_argument("--config", type=Path, help="YAML with settings of the stages")
    verb.add_argument("--quiet", action="store_true", help="no progress bar")


def _network_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder (default: %(default)s)")
    verb.add_argument("--device", default="auto", help="auto (cuda, then mps, then cpu), cuda, cuda:1, mps or cpu")
    verb.add_argument("--backend", choices=("auto", "torch", "openvino"), default="auto", help="what runs the network")
    verb.add_argument("--turns", type=int, metavar="N", help=TURNS_HELP)
    text = "mixed: int8 on a CPU, bfloat16 on a GPU, where model and device can; full: float32"
    verb.add_argument("--precision", choices=("mixed", "full"), default="mixed", help=text)
    verb.add_argument("--workers", type=int, help="processes that read the slide (default: 1 on a CPU, 8 on a GPU)")
    verb.add_argument("--geojson", action="store_true", help="write the cells for QuPath too: cells.geojson.gz")
    verb.add_argument("--block-um", type=float, help="side of the blocks (default: 1024; 512 if the network magnifies)")


def _add_run(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "run",
        help="slide in, score out: tissue, infer, score, overlay",
        description=f"Score slides: density of TILs in the stroma of the tumour bed, with overlay and report. {NOTE}",
    )
    _slide_options(verb)
    _network_options(verb)
    verb.add_argument("--resume", action="store_true", help="leave slides alone that are done with the same settings")
    verb.set_defaults(do=run)


def _add_explain(verbs: Verbs) -> None:
    text = "print how each number of a slide was made, term by term, counted again from its artefacts"
    verb = add_verb(verbs, "explain", text)
    verb.add_argument("slide", metavar="SLIDE", help="a slide, its name, or its folder of results")
    verb.add_argument("--out", type=out_path, help="results folder; not needed with a folder of results")
    verb.add_argument("--json", action="store_true", help="as JSON")
    verb.set_defaults(do=explain)


def _add_info(verbs: Verbs) -> None:
    verb = add_verb(verbs, "info", "what a slide is: size, resolution and where it comes from, levels")
    verb.add_argument(
        "slides", nargs="+", metavar="SLIDE", help="slides, a folder of slides, or a CSV with a column path"
    )
    verb.add_argument("--mpp", type=float, help="microns per pixel of level 0; it wins over what the file states")
    verb.add_argument("--json", action="store_true", help="as JSON, one object a slide and line")
    verb.set_defaults(do=info)


def _add_phantom(verbs: Verbs) -> None:
    verb = add_verb(verbs, "phantom", "draw a slide of known truth")
    verb.add_argument("out", type=Path, metavar="OUT.tif", help="file to write; its truth is written beside it")
    verb.add_argument("--size-mm", type=float, nargs="+", default=[4.0, 3.0], metavar="MM", help="width and height")
    verb.add_argument("--seed", type=int, default=1, help="another one, another slide (default: %(default)s)")
    verb.add_argument("--mpp", type=float, default=0.5, help="resolution in um/px (default: %(default)s)")
    verb.add_argument("--til-density", type=float, default=800.0, help="TILs per mm2 of stroma (default: %(default)s)")
    verb.add_argument("--shape", choices=("section", "core"), default="section", help="(default: %(default)s)")
    verb.add_argument("--tumour-frac", type=float, help="share of the tissue that is tumour")
    verb.add_argument("--fat-frac", type=float, help="share of the tissue that is fat")
    verb.add_argument("--necrosis-frac", type=float, help="share of the tissue that is necrotic")
    verb.add_argument("--pen", action="store_true", help="with pen marks")
    verb.add_argument("--blur", action="store_true", help="with an area out of focus")
    verb.set_defaults(do=phantom)


def run(args: argparse.Namespace) -> int:
    """Slides in, scores out."""
    from tilscore.results.artefacts import STAGES

    return _stages(args, STAGES, resume=args.resume)


def stage(args: argparse.Namespace) -> int:
    """One stage of `run`."""
    return _stages(args, (args.verb,))


def _stages(args: argparse.Namespace, stages: tuple[str, ...], *, resume: bool = False) -> int:
    if "infer" in stages and args.workers != 0:
        from tilscore.slide.readahead import start_loading

        start_loading()
    from tilscore.pipeline import aloud, process
    from tilscore.run import Run, RunConfig

    specs = _specs(args)
    cfg = load_config(RunConfig, args.config) if args.config else RunConfig()
    told: dict[str, Any] = {"progress": not args.quiet and sys.stderr.isatty()}
    if "infer" in stages:
        cfg = replace(cfg, infer=_infer_config(args, cfg.infer))
        told |= {"model_name": args.model, "device": args.device, "backend_name": args.backend}
        told |= {"precision": args.precision, "geojson": args.geojson}
    check_can_write(args.out, folder=True)
    run = Run(out=args.out, cfg=cfg, allow_upsampling=args.allow_upsampling, **told)
    if "infer" in stages:
        aloud(f"tilscore: model {run.model.ident}, {run.backend.name}. {NOTE}")
    tally = process(specs, run, stages, resume=resume)
    if "score" in stages:
        from tilscore.cohort.manifest.pool import write_biopsies

        write_biopsies(args.slides, args.out, aloud)
        aloud(f"{tally.n_done} of {len(specs)} slides done{_but(tally, args.out)}: {args.out / 'scores.csv'}")
    return 1 if tally.n_failed else 0


def _but(tally: Tally, out: Path) -> str:
    """What to know of the slides besides how many are done; empty where each has a score."""
    said = {
        "{} of them not evaluable": tally.n_not_evaluable,
        f"{{}} failed (why: {out / 'SLIDE_ID' / 'error.json'})": tally.n_failed,
        "{} in work by another run": tally.n_elsewhere,
    }
    return "".join(f", {text.format(n)}" for text, n in said.items() if n)


def _specs(args: argparse.Namespace) -> list[SlideSpec]:
    """The slides, with what the command line says of those whose list does not."""
    from tilscore.inputs import read_inputs
    from tilscore.score import check_words

    specs = read_inputs(args.slides, mpp=args.mpp)
    if args.roi is not None:
        if (n_bare := sum(s.roi is None for s in specs)) > 1:
            do = "name each slide's own in the column roi of a CSV list"
            raise UsageError(f"--roi is drawn on one slide, and {n_bare} have no area of their own", do=do)
        specs = [s if s.roi else replace(s, roi=args.roi) for s in specs]
    specs = [replace(s, site=s.site or args.site, specimen=s.specimen or args.specimen) for s in specs]
    for spec in specs:
        check_words(spec.site, spec.specimen)
    return specs


def _infer_config(args: argparse.Namespace, cfg: Any) -> Any:
    given = {name: getattr(args, name) for name in ("block_um", "turns", "workers")}
    return replace(cfg, **{name: value for name, value in given.items() if value is not None})


def explain(args: argparse.Namespace) -> int:
    """How the numbers of a slide were made; exit code 1 where the artefacts do not give them again."""
    from tilscore.results.owners import find_results
    from tilscore.score.explain import as_text, explain_folder

    made = explain_folder(find_results(args.slide, args.out))
    print(json.dumps(made, indent=2) if args.json else as_text(made))
    return 0 if made["agrees"] else 1


def info(args: argparse.Namespace) -> int:
    """What slides are, in the order given; one that cannot be read says why in its place."""
    from tilscore.info import describe, format_info, unreadable
    from tilscore.inputs import read_inputs
    from tilscore.slide import open_slide

    n_failed = 0
    specs = read_inputs(args.slides, mpp=args.mpp)
    for i, spec in enumerate(specs):
        try:
            with open_slide(spec.path, mpp=spec.mpp, allow_upsampling=True) as slide:
                facts = describe(slide)
        except TilscoreError as err:
            n_failed += 1
            facts = unreadable(spec.path, err)
        between = "\n" if i and not args.json else ""
        print(between + (json.dumps(facts) if args.json else format_info(facts)), flush=True)
    if n_failed:
        print(f"tilscore: {n_failed} of {len(specs)} slides cannot be read", file=sys.stderr)
    return 1 if n_failed else 0


def phantom(args: argparse.Namespace) -> int:
    """Draw a slide of known truth."""
    from tilscore.inputs.names import PICTURE_SUFFIXES, SLIDE_SUFFIXES
    from tilscore.phantom import PhantomConfig, write_phantom

    if (suffix := args.out.suffix.lower()) in (PICTURE_SUFFIXES | SLIDE_SUFFIXES) - {".tif", ".tiff"}:
        raise UsageError("a phantom is written as TIFF", where=args.out, found=suffix, do="name it OUT.tif")
    sizes = args.size_mm * 2 if len(args.size_mm) == 1 else args.size_mm
    if len(sizes) != 2 or not all(0.2 <= s <= 50 for s in sizes):
        raise UsageError("--size-mm takes a width and a height of 0.2 to 50 mm", found=args.size_mm)
    check_can_write(args.out)
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
        truth = write_phantom(args.out, cfg)
    except ValueError as err:
        raise UsageError(f"this phantom cannot be drawn: {err}") from err
    print(f"{args.out}: {truth['til_density_per_mm2']:.0f} TILs/mm2, {truth['stroma_mm2']:.2f} mm2 of stroma")
    return 0
