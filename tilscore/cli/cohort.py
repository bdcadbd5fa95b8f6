"""Verbs on cohorts: `cohort check | simulate | ...`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from tilscore.cli import agreement
from tilscore.cli.parsing import Verbs, add_verb, out_path
from tilscore.config import load_config
from tilscore.files import check_can_write

_MANIFEST_HELP = "the cohort's slides: path, patient_id, timepoint, and what is known of each"
_ADJUST_HELP = "what is adjusted for: any of specimen, area, site, centre (default: the first three)"


def add(verbs: Verbs) -> None:
    """Add the verbs to the parser."""
    cohort = add_verb(verbs, "cohort", "patients: pairs, agreement, calibration, how unusual")
    parts = cohort.add_subparsers(dest="part", metavar="PART", required=True)
    _add_check(parts)
    _add_merge(parts)
    _add_simulate(parts)
    _add_analyse(parts)
    _add_rank(parts)
    _add_reference(parts)
    _add_assays(parts)
    agreement.add(parts)


def _add_check(parts: Verbs) -> None:
    verb = add_verb(parts, "check", "every problem of a manifest, by line and column")
    verb.add_argument("manifest", type=Path, metavar="slides.csv", help=_MANIFEST_HELP)
    verb.add_argument("--no-files", action="store_true", help="do not ask whether the slides are there")
    verb.set_defaults(do=check)


def _add_merge(parts: Verbs) -> None:
    verb = add_verb(parts, "merge", "manifests and results of several centres as one cohort")
    verb.add_argument("centres", type=Path, metavar="centres.csv", help="one line a centre: centre, manifest, results")
    text = "own: each centre has codes of its own, the centre is put before them; study: one code is one patient in all"
    verb.add_argument("--codes", choices=("own", "study"), help=text)
    verb.add_argument("--out", type=out_path, required=True, metavar="ALL", help="folder for the merged tables")
    verb.set_defaults(do=merge)


def _add_simulate(parts: Verbs) -> None:
    verb = add_verb(parts, "simulate", "a made cohort of known truth")
    verb.add_argument("out", type=out_path, metavar="OUT", help="folder for the manifest, the scores and the truth")
    verb.add_argument("--patients", type=int, default=100, help="in all (default: %(default)s)")
    verb.add_argument(
        "--pairs", type=int, default=40, help="patients with a biopsy after progression (default: %(default)s)"
    )
    verb.add_argument("--series", type=int, default=20, help="patients with week 6 and week 12 (default: %(default)s)")
    verb.add_argument(
        "--effect", nargs="+", default=[], metavar="TIME=X", help="true change of the log density, e.g. post=0.4"
    )
    verb.add_argument(
        "--effect-points", nargs="+", default=[], metavar="TIME=X", help="true change in points of sTIL %%, e.g. post=7"
    )
    verb.add_argument("--missing-frac", type=float, default=0.0, help="share of the later biopsies that is missing")
    verb.add_argument("--missing-slope", type=float, default=0.0, help="how much it depends on the baseline (logit)")
    verb.add_argument("--seed", type=int, default=0, help="another one, another cohort (default: %(default)s)")
    verb.add_argument("--config", type=Path, help="YAML with any other setting")
    verb.set_defaults(do=simulate)


def _add_analyse(parts: Verbs) -> None:
    verb = add_verb(parts, "analyse", "paired change, models and tables of a cohort")
    _manifest_and_results(verb)
    verb.add_argument("--out", type=out_path, required=True, metavar="COHORT", help="folder for tables and page")
    verb.add_argument("--measurement-sd", type=float, metavar="POINTS", help="known SD of repeated sTIL measurements")
    text = "columns whose words are groups that may change differently (default: response arm)"
    verb.add_argument("--by", nargs="*", metavar="COL", help=text)
    verb.add_argument("--config", type=Path, help="YAML with any other setting")
    verb.set_defaults(do=analyse)


def _add_rank(parts: Verbs) -> None:
    verb = add_verb(parts, "rank", "how unusual each patient is, against a reference")
    _score_options(verb)
    verb.add_argument("--reference", type=Path, help="biopsies.csv, its folder, or a manifest (default: the others)")
    verb.add_argument("--reference-results", type=Path, help="results, where the reference is a manifest")
    verb.add_argument("-n", type=int, default=10, help="patients on the shortlist (default: %(default)s)")
    text = "which end the shortlist is of (default: %(default)s)"
    verb.add_argument("--direction", choices=("both", "high", "low"), default="both", help=text)
    verb.add_argument(
        "--by",
        choices=("level", "change", "either"),
        default="level",
        help="what the shortlist goes by (default: %(default)s)",
    )
    verb.add_argument("--adjust", nargs="*", default=["specimen", "area", "site"], help=_ADJUST_HELP)
    verb.set_defaults(do=rank)


def _add_reference(parts: Verbs) -> None:
    verb = add_verb(parts, "reference", "a cohort's scores without codes of patients, for `rank --reference` elsewhere")
    _manifest_and_results(verb)
    verb.add_argument("--out", type=out_path, required=True, metavar="reference.csv", help="file to write")
    verb.set_defaults(do=reference)


def _add_assays(parts: Verbs) -> None:
    verb = add_verb(parts, "assays", "other measurements of the same patients, and what became of them")
    _score_options(verb)
    text = "the change of that biopsy against the baseline, and of each assay that was measured at both"
    verb.add_argument("--change", action="store_true", help=text)
    verb.add_argument("--assays", type=Path, required=True, metavar="TABLE.csv", help="by patient_id and timepoint")
    verb.add_argument("--densities", nargs="*", default=[], metavar="COL", help="IHC cells/mm2 of the same block")
    verb.add_argument("--flags", nargs="*", default=[], metavar="COL", help="groups, such as mutations")
    verb.add_argument(
        "--survival", nargs="*", default=[], metavar="TIME:EVENT", help="pairs of columns: time and event"
    )
    verb.add_argument("--km-groups", type=int, choices=(2, 3), default=2, help="by median or by tertiles")
    verb.set_defaults(do=assays)


def _manifest_and_results(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("manifest", type=Path, metavar="slides.csv", help=_MANIFEST_HELP)
    verb.add_argument("--results", type=Path, required=True, help="results folder of `run`, or its scores.csv")


def _score_options(verb: argparse.ArgumentParser) -> None:
    _manifest_and_results(verb)
    verb.add_argument("--out", type=out_path, required=True, metavar="COHORT", help="folder for the tables")
    verb.add_argument("--timepoint", default="baseline", help="whose biopsies count (default: %(default)s)")
    text = "TILs/mm2, sTIL area %%, or calibrated sTIL %% (default: %(default)s)"
    verb.add_argument("--measure", choices=("density", "stil", "calibrated"), default="density", help=text)


def check(args: argparse.Namespace) -> int:
    """Every problem of a manifest."""
    from tilscore.cohort.manifest.check import check

    return check(args.manifest, files=not args.no_files)


def merge(args: argparse.Namespace) -> int:
    """Several centres as one cohort."""
    from tilscore.cohort.manifest.merge import merge

    check_can_write(args.out, folder=True)
    found = merge(args.centres, args.out, codes=args.codes)
    for note in found["notes"]:
        print(f"- {note}")
    n = {name: sum(row[name] for row in found["centres"]) for name in ("n_patients", "n_slides", "n_ok")}
    print(f"{n['n_ok']} of {n['n_slides']} slides of {len(found['centres'])} centres have a score: {args.out}")
    return 0


def simulate(args: argparse.Namespace) -> int:
    """A made cohort."""
    from tilscore.cohort.simulate import simulate

    check_can_write(args.out, folder=True)
    return simulate(
        args.out,
        patients=args.patients,
        pairs=args.pairs,
        series=args.series,
        effect=args.effect,
        effect_points=args.effect_points,
        missing_frac=args.missing_frac,
        missing_slope=args.missing_slope,
        seed=args.seed,
        config=args.config,
    )


def analyse(args: argparse.Namespace) -> int:
    """Paired change of a cohort."""
    from tilscore.cohort.paired import analyse
    from tilscore.cohort.paired.pairs import AnalyseConfig
    from tilscore.inputs.words import column_names

    check_can_write(args.out, folder=True)
    cfg = load_config(AnalyseConfig, args.config) if args.config else AnalyseConfig()
    if args.measurement_sd is not None:
        cfg = replace(cfg, measurement_sd_points=args.measurement_sd)
    if args.by is not None:
        cfg = replace(cfg, by=tuple(column_names(args.by)))
    return _report(analyse(args.manifest, args.results, args.out, cfg), args)


def rank(args: argparse.Namespace) -> int:
    """How unusual each patient is."""
    from tilscore.cohort.rank import rank

    check_can_write(args.out, folder=True)
    found = rank(
        args.manifest,
        args.results,
        args.out,
        reference=args.reference,
        reference_results=args.reference_results,
        n=args.n,
        timepoint=args.timepoint,
        measure=args.measure,
        direction=args.direction,
        by=args.by,
        adjust=args.adjust,
    )
    return _report(found, args)


def reference(args: argparse.Namespace) -> int:
    """A cohort as a reference to hand on."""
    from tilscore.cohort.rank.portable import write_reference

    check_can_write(args.out)
    for note in write_reference(args.manifest, args.results, args.out):
        print(f"- {note}")
    print(f"reference: {args.out}")
    return 0


def assays(args: argparse.Namespace) -> int:
    """Other measurements of the same patients."""
    from tilscore.cohort.assays import assays

    check_can_write(args.out, folder=True)
    found = assays(
        args.manifest,
        args.results,
        args.assays,
        args.out,
        timepoint=args.timepoint,
        change=args.change,
        measure=args.measure,
        densities=args.densities,
        flags=args.flags,
        survival=args.survival,
        km_groups=args.km_groups,
    )
    return _report(found, args)


def _report(found: dict[str, Any], args: argparse.Namespace) -> int:
    """Say what must be known about a result, and bring the cohort's page up to date where there is an analysis."""
    from tilscore.cohort.page import write_page

    for note in found["notes"]:
        print(f"- {note}")
    print(f"tables: {args.out}")
    if (args.out / "analysis.json").exists():
        print(f"page: {write_page(args.out, args.results)}")
    else:
        print(f"page: none without an analysis; `tilscore cohort analyse` with --out {args.out} writes it")
    return 0
