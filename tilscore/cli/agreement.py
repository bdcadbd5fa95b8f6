"""Verbs on readers' scores: `cohort agree | calibrate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tilscore.cli.parsing import Verbs, add_verb, out_path
from tilscore.errors import UsageError
from tilscore.files import check_can_write


def add(parts: Verbs) -> None:
    """Add the verbs to those of `cohort`."""
    _add_agree(parts)
    _add_calibrate(parts)


def _add_agree(parts: Verbs) -> None:
    verb = add_verb(parts, "agree", "agreement of readers, and of a machine with them")
    verb.add_argument("tables", type=Path, nargs="+", metavar="TABLE.csv", help="one row a reading, or (--pred) a case")
    verb.add_argument("--case", metavar="COL", help="what was scored")
    verb.add_argument("--reader", metavar="COL", help="who scored it")
    verb.add_argument("--score", metavar="COL", help="the score that was given")
    verb.add_argument("--pred", metavar="COL", help="with --truth: two columns of one or several tables")
    verb.add_argument("--truth", metavar="COL", help="what --pred is held against")
    verb.add_argument("--where", metavar="QUERY", help="pandas query of the rows to keep")
    verb.add_argument("--last", metavar="COL", help="which of a reader's scores of a case is the last (default: file)")
    verb.add_argument("--min-readers", type=int, default=4, help="readers of a case that leave-one-out asks for")
    verb.add_argument("--machine", metavar="NAME", help="a reader, a column, or FILE.csv[:COLUMN]")
    verb.add_argument("--scale", type=float, help="factor to percent (default: 100 where all scores lie in 0..1)")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.add_argument("--out", type=out_path, metavar="FOLDER", help="write JSON, text, pairs and plots")
    verb.set_defaults(do=agree)


def _add_calibrate(parts: Verbs) -> None:
    verb = add_verb(parts, "calibrate", "the map from a score to pathologists' sTIL %")
    verb.add_argument("table", type=Path, metavar="TABLE.csv", help="one row a case, with both columns")
    verb.add_argument(
        "--score", metavar="COL", default="til_density_per_mm2", help="of tilscore (default: %(default)s)"
    )
    verb.add_argument("--truth", metavar="COL", default="stil_pct", help="pathologists' sTIL %%")
    verb.add_argument("--group", metavar="COL", default="patient_id", help="what folds keep together")
    verb.add_argument("--where", metavar="QUERY", help="pandas query of the rows to keep")
    verb.add_argument("--scale", type=float, help="factor of the truth to percent")
    verb.add_argument("--out", type=out_path, required=True, metavar="calibration.json", help="file to write")
    verb.set_defaults(do=calibrate)


def agree(args: argparse.Namespace) -> int:
    """Agreement of readers."""
    from tilscore.cohort.agreement.agree import agree, agree_wide
    from tilscore.cohort.agreement.text import as_text

    if args.out is not None:
        check_can_write(args.out, folder=True)
    shared = {"where": args.where, "scale": args.scale, "out": args.out}
    if args.pred and args.truth:
        found = agree_wide(args.tables, pred=args.pred, truth=args.truth, **shared)
    elif args.case and args.reader and args.score and len(args.tables) == 1:
        names = {"case": args.case, "reader": args.reader, "score": args.score}
        found = agree(
            args.tables[0], **names, last=args.last, min_readers=args.min_readers, machine=args.machine, **shared
        )
    else:
        do = "give one table with --case, --reader and --score, or tables with --pred and --truth"
        raise UsageError("the columns are not named", do=do)
    print(json.dumps(found, allow_nan=False, indent=1) if args.json else as_text(found))
    return 0


def calibrate(args: argparse.Namespace) -> int:
    """The map to sTIL %."""
    from tilscore.cohort.agreement.calibrate import as_text, calibrate

    check_can_write(args.out)
    columns = {"score": args.score, "truth": args.truth, "group": args.group}
    print(as_text(calibrate(args.table, **columns, where=args.where, scale=args.scale, out=args.out)))
    return 0
