"""Codes of patients as two tables spell them: which are perhaps of one patient, and who is in one table alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from tilscore.errors import UsageError
from tilscore.inputs.words import code_of, several


def spelled_otherwise(asked: Iterable[str], known: Iterable[str], told: str) -> list[str]:
    """A note on patients that are not known but for another spelling of their codes; none without any.

    Spellings differ in case, signs and spaces, in leading zeros (`P07`, `P-7`), or in that one is a number alone, as
    spreadsheets make it of `007`, and only one code of the other table ends with it.

    Parameters
    ----------
    told : the patients and those that they are held against, as in `patients of the assays differ from the manifest's`.
    """
    others = {*known}
    apart = _near({*asked} - others, others)
    if not apart:
        return []
    first = min(apart)
    one = f"{first!r} and {apart[first]!r}"
    return [f"{len(apart)} {told} in spelling only, as {one}: write both alike if they are one patient."]


def not_known(asked: Iterable[str], known: Iterable[str], *, where: object) -> list[str]:
    """A note on patients who are in no row of the manifest; none where all are.

    Raises
    ------
    UsageError : not one is: the codes are spelled otherwise, or the table is of other patients.
    """
    mine, others = sorted({*asked}), {*known}
    lacking = [patient for patient in mine if patient not in others]
    if not lacking:
        return []
    if len(lacking) == len(mine) and others:
        near = _near(lacking, others)
        one = min(near) if near else lacking[0]
        found = f"{one!r} here, {near.get(one, min(others))!r} there"
        do = "write the codes of patients alike in both tables"
        raise UsageError(f"none of {several(len(mine), 'patient')} is in the manifest", where=where, found=found, do=do)
    return [
        f"{len(lacking)} of {several(len(mine), 'patient')} of the assays are not in the manifest, as {lacking[0]!r}."
    ]


def _near(asked: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """For codes that are not known the known one that they may be; without those that may be several."""
    others = [*known]
    left, found = {*asked}, dict[str, str]()
    for key in (code_of, _without_zeros, _number):
        ours, theirs = _by(left, key), _by(others, key)
        for code, patients in ours.items():
            for patient in patients if len(theirs.get(code, [])) == 1 else ():
                both_numbered = key is not _number or patient.isdigit() or theirs[code][0].isdigit()
                if both_numbered:
                    found[patient] = theirs[code][0]
        left -= {*found}
    return found


def _by(codes: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for code in sorted(codes):
        if short := key(code):
            groups.setdefault(short, []).append(code)
    return groups


def _without_zeros(text: str) -> str:
    return "-".join(part.lstrip("0") or "0" for part in re.findall(r"[^\W\d_]+|\d+", text.casefold()))


def _number(text: str) -> str:
    """The number that a code ends with, without leading zeros; "" where it ends otherwise."""
    said = re.search(r"(\d+)\W*$", text)
    return (said[1].lstrip("0") or "0") if said else ""
