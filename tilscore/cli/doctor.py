"""The verb `doctor`."""

from __future__ import annotations

import argparse

from tilscore.cli.parsing import Verbs, add_verb


def add(verbs: Verbs) -> None:
    """Add the verb to the parser."""
    add_verb(verbs, "doctor", "check this machine: device, readers, versions, models").set_defaults(do=doctor)


def doctor(_: argparse.Namespace) -> int:
    """Check this machine."""
    from tilscore.doctor import check

    findings = check()
    for f in findings:
        print(f"{'ok  ' if f.ok else 'FAIL'} {f.name}: {f.found}" + (f"; {f.remedy}" if f.remedy else ""))
    return 0 if all(f.ok for f in findings) else 1
