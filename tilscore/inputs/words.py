"""The words of a manifest: columns, time points, specimens, sites and stains, each with the other ways to write it.

Every table is explicit, and nothing is guessed: a word that is not here is an error that names the nearest.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable

COLUMNS = (
    "slide_id",
    "path",
    "patient_id",
    "timepoint",
    "specimen",
    "site",
    "block",
    "stain",
    "centre",
    "arm",
    "mpp",
    "roi",
    "response",
)
"""The columns of a manifest that tilscore understands; others are carried along."""
COLUMN_SYNONYMS = {
    "slide": "path",
    "filename": "path",
    "file_name": "path",
    "file_path": "path",
    "slide_path": "path",
    "slideid": "slide_id",
    "patient": "patient_id",
    "patientid": "patient_id",
    "subject_id": "patient_id",
    "time_point": "timepoint",
    "visit": "timepoint",
    "specimen_type": "specimen",
    "sample_type": "specimen",
    "anatomical_site": "site",
    "anatomic_site": "site",
    "biopsy_site": "site",
    "block_id": "block",
    "staining": "stain",
    "center": "centre",
    "hospital": "centre",
    "treatment_arm": "arm",
    "mpp_um": "mpp",
    "um_per_px": "mpp",
    "um/px": "mpp",
    "\N{GREEK SMALL LETTER MU}m/px": "mpp",
    "micron_per_pixel": "mpp",
    "microns_per_pixel": "mpp",
    "annotation": "roi",
    "roi_file": "roi",
    "roi_path": "roi",
    "best_response": "response",
}
"""Other names of columns, after `column_names` made them lower case with underscores."""
MISSING = {"", "na", "n/a", "nan", "none", "null", "-", ".", "?", "unknown", "missing", "not available"}
"""What is read as an empty cell."""

TIMEPOINTS = ("baseline", "week6", "week12", "post")
"""Besides these, `weekN` and `dayN` with any number are time points."""
SPECIMENS = ("core", "resection", "excision", "cytology_block")
SITES = ("breast", "lymph_node", "liver", "lung", "skin", "bone", "brain", "soft_tissue", "other")
RESPONSES = ("CR", "PR", "SD", "PD")
"""Words of response, best first (Eisenhauer et al. 2009, RECIST 1.1); a column of responses may hold any other."""
STAINS = ("H&E", "HES")
"""Stains that are scored. HES is H&E with saffron, which colours collagen yellow."""
MARKERS = (
    "AR", "CD3", "CD4", "CD8", "CD11c", "CD14", "CD15", "CD16", "CD19", "CD20", "CD31", "CD34", "CD38", "CD45",
    "CD45RO", "CD56", "CD68", "CD79a", "CD103", "CD138", "CD163", "CK", "CK5/6", "CK7", "E-cadherin", "EGFR", "ER",
    "FOXP3", "GATA3", "Giemsa", "granzyme B", "HER2", "IHC", "IF", "Ki67", "LAG3", "MPO", "p53", "p63", "PAS", "PD-1",
    "PD-L1", "perforin", "PR", "SMA", "TIM3", "trichrome",
)  # fmt: skip
"""Other stains that are known by name; slides with them are not scored."""

_SYNONYMS = {
    "timepoint": {
        "baseline": "bl base pre pretreatment pretherapy screening scr c1d1 week0 day0 w0 d0 t0",
        "post": "eot endoftreatment progression postprogression pd posttreatment posttherapy offtreatment",
    },
    "specimen": {
        "core": "cnb corebiopsy coreneedlebiopsy needlebiopsy needlecore needle trucut",
        "resection": "surgery surgical surgicalspecimen mastectomy lumpectomy metastasectomy",
        "excision": "excisional excisionalbiopsy excisionbiopsy openbiopsy",
        "cytology_block": "cellblock cytoblock cytologycellblock cytologyblock",
    },
    "site": {
        "breast": "mamma mammary",
        "lymph_node": "ln node lymphnode lymphnodes axillarylymphnode nodal",
        "liver": "hepatic",
        "lung": "pulmonary",
        "skin": "cutaneous",
        "bone": "osseous",
        "brain": "cns cerebral",
        "soft_tissue": "softtissues softpart",
    },
    "stain": {
        "H&E": "he h&e h+e h/e hematoxylineosin haematoxylineosin hematoxylinandeosin haematoxylinandeosin",
        "HES": "hes hps",
    },
}
_WORDS = {"timepoint": TIMEPOINTS, "specimen": SPECIMENS, "site": SITES, "stain": STAINS + MARKERS}
_HINTS = {
    ("specimen", "biopsy"): "write core or excision: a biopsy can be either",
    ("specimen", "fna"): "write cytology_block if it was embedded; smears are not scored",
    ("site", "axilla"): "write lymph_node, breast or soft_tissue",
    ("site", "chestwall"): "write skin or soft_tissue",
    ("site", "metastasis"): "name the organ: " + ", ".join(SITES),
    ("site", "primary"): "name the organ: " + ", ".join(SITES),
}
_COUNTED = re.compile(
    r"(?:(w|wk|week|weeks)|(d|day|days))[\s_]*0*(\d{1,4})$|(wk|week|weeks)-0*(\d{1,4})$"
    r"|0*(\d{1,4})(?:[\s_]*|-)(?:(w|wk|week|weeks)|(d|day|days))$"
)
"""A count of weeks or days. A dash may be a minus or a range: `week-06` is read; `day -14`, `D-14`, `1-2 weeks` not."""
_SQUEEZE = re.compile(r"[\s_./-]+")


def squeezed(text: str) -> str:
    """`text` in lower case without spaces, dots, dashes, slashes and underscores."""
    return _SQUEEZE.sub("", _plain(text))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def code_of(text: str) -> str:
    """The letters and digits of an identifier, in lower case: codes that differ in signs only may be of one patient."""
    return re.sub(r"[\W_]", "", _plain(text))


def split_hint(text: str) -> tuple[str, str]:
    """The separator that Excel's own first line (`sep=;`) tells, "" where there is none, and the text after it."""
    said = re.match(r'"?sep=(.)"?\r?\n', text)
    return (said[1], text[said.end() :]) if said else ("", text)


def column_names(header: Iterable[str]) -> list[str]:
    """Columns as tilscore knows them: lower case, underscores; a synonym only where the name itself is not there.

    A unit in brackets behind a name that is known is passed over: `MPP (um/px)` is `mpp`.
    """
    names = [_without_unit(re.sub(r"[\s_-]+", "_", _plain(name)).strip("_")) for name in header]
    there = set(names)
    return [name if (other := COLUMN_SYNONYMS.get(name, name)) in there else other for name in names]


def _without_unit(name: str) -> str:
    bare = re.sub(r"_?[(\[][^()\[\]]*[)\]]$", "", name)
    return bare if bare in COLUMNS or bare in COLUMN_SYNONYMS else name


def as_word(value: object) -> str:
    """A value of a column of groups as its word; "" where there is none."""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value).removesuffix(".0")
    return "" if value is None else str(value)


def in_order(words: Iterable[str]) -> list[str]:
    """Words of groups in the order to show them: responses from the best on, then all others by the alphabet."""
    place = {word: i for i, word in enumerate(RESPONSES)}
    return sorted(words, key=lambda word: (place.get(word.upper(), len(place)), word))


def is_missing(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.strip().casefold() in MISSING


def _table(column: str) -> dict[str, str]:
    words = {squeezed(word): word for word in _WORDS[column]}
    for word, others in _SYNONYMS[column].items():
        words |= dict.fromkeys((squeezed(o) for o in others.split()), word)
    return words


_TABLES = {column: _table(column) for column in _WORDS}


def bare(text: str) -> str:
    """A text without what case and spaces make of it: texts that differ in these only are one."""
    return " ".join(text.casefold().split())


def several(n: int, word: str) -> str:
    """`1 pair`, `2 biopsies`, `1,200 slides`."""
    return f"{n:,} {word if n == 1 else word.removesuffix('y') + 'ies' if word.endswith('y') else word + 's'}"


def canonical(column: str, text: str) -> str | None:
    """The canonical word of a column with a vocabulary; "" for an empty cell, None for an unknown word."""
    if is_missing(text):
        return ""
    short = squeezed(text)
    if column == "timepoint" and _COUNTED.match(short):
        return _counted(text)
    return _TABLES[column].get(short)


def _counted(text: str) -> str | None:
    if not (counted := _COUNTED.match(_plain(text).strip())):
        return None
    week, _, number, dashed, after_dash, number_first, week_after, _ = counted.groups()
    n = int(number or after_dash or number_first)
    return f"{'week' if week or dashed or week_after else 'day'}{n}" if n else "baseline"


def advice(column: str, text: str) -> str:
    """What to write in place of an unknown word."""
    short = squeezed(text)
    if hint := _HINTS.get((column, short)):
        return hint
    if column == "timepoint" and _COUNTED.match(short):
        return (
            "write baseline for a time before treatment, weekN or dayN with one whole number for a time after its start"
        )
    near = difflib.get_close_matches(short, _TABLES[column], n=1, cutoff=0.6)
    if near:
        return f"did you mean {_TABLES[column][near[0]]!r}"
    known = (*TIMEPOINTS, "weekN", "dayN") if column == "timepoint" else _WORDS[column]
    return "write one of " + ", ".join(known)


def is_scored(stain: str) -> bool:
    """Whether slides with this stain are scored: H&E, HES, or nothing stated."""
    return canonical("stain", stain) in ("", *STAINS)


def order(timepoint: str) -> float:
    """Canonical time points in their order: baseline first, then by days, post last."""
    if timepoint == "baseline":
        return 0.0
    counted = re.fullmatch(r"(week|day)(\d+)", timepoint)
    return float("inf") if counted is None else int(counted[2]) * (7.0 if counted[1] == "week" else 1.0)
