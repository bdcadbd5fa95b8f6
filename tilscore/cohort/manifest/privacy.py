"""Identifiers that give a person away: names, dates of birth, addresses of e-mail, numbers of insurances and records.

These are tests on form alone, with check digits where a number has them; a study's own codes (`P001`, `BIG-0042`,
`NCT-12-003`) pass. That nothing is found is no proof that a table is free of identifiers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

REMEDY = "use a code of the study, and keep its key elsewhere"
_DAY, _MONTH, _YEAR = "(0?[1-9]|[12]\\d|3[01])", "(0?[1-9]|1[0-2])", "(19|20)\\d\\d"
_SEP = "[-./_ ]"
_DATES = re.compile(
    rf"(?<!\d)({_YEAR}{_SEP}{_MONTH}{_SEP}{_DAY}|{_DAY}{_SEP}{_MONTH}{_SEP}{_YEAR}|{_MONTH}{_SEP}{_DAY}{_SEP}{_YEAR}"
    r"|(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])|(0[1-9]|[12]\d|3[01])(0[1-9]|1[0-2])(19|20)\d\d)(?!\d)"
)
_SHORT_DATE = re.compile(rf"({_DAY}(?P<sep>[-./]){_MONTH}|{_MONTH}(?P<sep2>[-./]){_DAY})(?(sep)(?P=sep)|(?P=sep2))\d\d")
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mrz|Mär|Mai|Okt|Dez"
_WORD_DATE = re.compile(
    rf"(?<!\d)({_DAY}[-./ ]{{1,2}}({MONTHS})[a-zä]*[-./, ]{{1,2}}|({MONTHS})[a-zä]*[-. ]{{1,2}}{_DAY}[-., ]{{1,2}})"
    rf"{_YEAR}(?!\d)",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_RECORD = re.compile(r"\b(mrn|ssn|nhs|dob|kvnr|svnr|ahv|medrec|pid)[\s_:#-]*\d{4,}", re.IGNORECASE)
_BARE = re.compile(r"\d{7,}")
_NEUTRAL_TEXT = """
    patient patients case subject pat pt person donor control site center centre clinic hospital arm study trial
    slide slides block blocks cohort biopsy biopsies core cores tumor tumour breast liver lung skin bone brain
    node lymph soft tissue left right upper lower pre post base baseline week day month visit primary metastasis
    met resection excision cytology stain scan image img the and with for test demo example phantom normal
    sample specimen level section part group batch run new old copy final roi field north south east west
    progression screening hematoxylin eosin marker panel sim simulated made synthetic invasive ductal lobular
    carcinoma annotation annotations export exports path pathology
"""
"""Words of the trade, which are no names."""
_NEUTRAL = frozenset(_NEUTRAL_TEXT.split())
_NEUTRAL_CODES = {"tcga", "nct", "big", "mrn", "ihc", "wsi", "svs"}


class Suspicion(NamedTuple):
    """What a value looks like, and whether its form leaves little doubt."""

    what: str
    is_certain: bool


def suspicion(text: str) -> Suspicion | None:
    """What identifier a value looks like; None where it looks like none."""
    if _EMAIL.search(text):
        return Suspicion("an e-mail address", True)
    if _RECORD.search(text):
        return Suspicion("a medical record or insurance number", True)
    for what, is_one in _NUMBERS:
        if is_one(text.strip().upper()):
            return Suspicion(what, True)
    short = _SHORT_DATE.fullmatch(text.strip())
    if has_date(text) or short:
        return Suspicion("a date, perhaps of birth", has_date(text) or "-" not in text)  # 01-02-03 may be a code
    if _BARE.fullmatch(text.strip()):
        return Suspicion("a medical record number (a bare number)", False)
    return _name(text)


def has_date(text: str) -> bool:
    """Whether a full date is in a text, with a year of four digits: `1961-03-14`, `14.3.1961`, `14-Mar-1961`."""
    return bool(_DATES.search(text) or _WORD_DATE.search(text))


def suspicious_column(name: str) -> str | None:
    """What a column holds that has no place in a manifest, by its name; None where it is fine."""
    words = set(name.split("_"))
    for what, keys in _HEADERS.items():
        if name in keys or any(len(key) > 3 and key in words for key in keys):
            return what
    return None


_HEADERS = {
    "names": {"name", "surname", "firstname", "lastname", "first_name", "last_name", "forename", "initials"},
    "dates of birth": {"dob", "birth", "birthdate", "birthday", "geburtsdatum", "date_of_birth"},
    "medical record or insurance numbers": {
        "mrn", "ssn", "nhs", "kvnr", "insurance", "medical_record", "record_number", "social_security", "fiscal_code",
    },
    "addresses": {"email", "e_mail", "phone", "telephone", "mobile", "address", "street", "zip", "postcode"},
}  # fmt: skip


def _name(text: str) -> Suspicion | None:
    """Two words and no code, or one with an initial or a year of birth: `Mueller_Anna`, `A. Rossi`, `Rossi1961`."""
    words = [w for w in re.split(r"[\W\d_]+|(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])", text) if w]
    long = [w for w in words if len(w) >= 3 and w.isalpha()]
    if any(w.casefold() in _NEUTRAL | _NEUTRAL_CODES for w in words) or not long:
        return None
    has_digit = any(c.isdigit() for c in text)
    titled = [w for w in words if len(w) >= 2 and w.istitle()]
    if (len(titled) >= 2 and sum(map(len, titled)) >= 5) or (
        len(long) >= 2 and len(long) == len(words) and not has_digit
    ):
        return Suspicion("a person's name", True)
    if len(titled) == 1 and len(words) == 2 and re.fullmatch(r"\W*[A-Za-z]\.?[\W_]+\w+|\w+[\W_]+[A-Za-z]\.?\W*", text):
        return Suspicion("a person's name", True)  # "A. Rossi", "Rossi_A"
    if titled and re.search(r"(?<!\d)(19[2-9]\d|200\d)(?!\d)", text):
        return Suspicion("a name with a year of birth", False)
    if len(words) == 1 and not has_digit and (titled or not text.isascii()):
        return Suspicion("a person's name", False)
    return None


def _digits(text: str) -> list[int]:
    return [int(c) for c in text if c in "0123456789"]


def _is_nhs(text: str) -> bool:
    """United Kingdom: ten digits as 3 3 4, weights 10 to 2, modulo 11."""
    if not re.fullmatch(r"\d{3}[ -]\d{3}[ -]\d{4}", text):
        return False
    d = _digits(text)
    return (11 - sum(w * x for w, x in zip(range(10, 1, -1), d, strict=False)) % 11) % 11 == d[9]


def _is_kvnr(text: str) -> bool:
    """Germany, health insurance: a letter and nine digits, digit sums of weights 1 and 2, modulo 10."""
    if not re.fullmatch(r"[A-Z]\d{9}", text):
        return False
    d = _digits(f"{ord(text[0]) - 64:02d}{text[1:]}")
    return sum(sum(divmod(x * (1 + i % 2), 10)) for i, x in enumerate(d[:10])) % 10 == d[10]


def _is_dni(text: str) -> bool:
    """Spain: eight digits and the letter of their remainder by 23."""
    found = re.fullmatch(r"(\d{8})-?([A-Z])", text)
    return found is not None and "TRWAGMYFPDXBNJZSQVHLCKE"[int(found[1]) % 23] == found[2]


def _is_nir(text: str) -> bool:
    """France, social security: 13 digits and 97 minus their remainder by 97."""
    short = re.sub(r"[ .-]", "", text)
    if not re.fullmatch(r"[12]\d{4}(\d\d|2A|2B)\d{8}", short):
        return False
    return 97 - int(short[:13].replace("2A", "19").replace("2B", "18")) % 97 == int(short[13:])


def _form(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


_NUMBERS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("a US social security number", _form(r"\d{3}-\d{2}-\d{4}")),
    ("a US Medicare number", _form(r"[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d-?[AC-HJKMNP-RT-Y]{2}\d-?[A-Z]{2}\d\d")),
    ("an Italian fiscal code", _form(r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]")),
    ("a Nordic personal number", _form(r"(19|20)?\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])[-+A]\d{3}[\dA-Z]")),
    ("a Nordic personal number", _form(r"(0[1-9]|[12]\d|3[01])(0[1-9]|1[0-2])\d\d[-+A]\d{3}[\dA-Z]")),
    ("a Swiss insurance number", _form(r"756\.?\d{4}\.?\d{4}\.?\d\d")),
    ("an NHS number", _is_nhs),
    ("a German insurance number", _is_kvnr),
    ("a Spanish identity number", _is_dni),
    ("a French social security number", _is_nir),
)
