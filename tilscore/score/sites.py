"""Where tissue was taken and how: what that changes in the score, and why."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from tilscore.errors import UsageError
from tilscore.score.bed import BedConfig


@dataclass(frozen=True)
class Rule:
    """What a site or a specimen changes."""

    code: str = ""
    """Reason code that the score carries; empty where there is nothing to know."""
    text: str = ""
    """The code in words."""
    source: str = ""
    inside_only: bool = False
    """The bed is what lies between the nests, nothing around them."""
    evaluable: bool = True


_HENDRY = "Hendry et al. 2017, Adv Anat Pathol 24:235 and 24:311 (TILs in metastases and other organs)"
_SALGADO = "Salgado et al. 2015, Ann Oncol 26:259"

SITES = {
    "breast": Rule(source=_SALGADO),
    "lymph_node": Rule(
        "lymph_node",
        "a lymph node: scored only between the nests of the deposit, or in the area that was drawn; the node's own "
        "lymphocytes cannot be told from infiltrate, so compare with care",
        _HENDRY,
        inside_only=True,
    ),
    "liver": Rule(
        "site_liver", "liver: portal tracts hold lymphocytes of their own, and liver cells may read as tumour", _HENDRY
    ),
    "lung": Rule("site_lung", "lung: its own lymphoid tissue and alveolar macrophages may read as infiltrate", _HENDRY),
    "skin": Rule(
        "site_skin", "skin: epidermis and glands may read as tumour, and lymphocytes lie around them", _HENDRY
    ),
    "bone": Rule("site_bone", "bone: marrow cells may read as TILs, and decalcified nuclei stain poorly", _HENDRY),
    "brain": Rule("site_brain", "brain: the tissue around the deposit is glia, not stroma", _HENDRY),
    "soft_tissue": Rule(source=_HENDRY),
    "other": Rule(source=_HENDRY),
}
"""By site. What is said of an organ's own tissue is general histology; that the method is the same, is the source's."""

SPECIMENS = {
    "core": Rule(source=_SALGADO),
    "resection": Rule(source=_SALGADO),
    "excision": Rule(source=_SALGADO),
    "cytology_block": Rule(
        "cytology_no_stroma",
        "a cell block of an aspirate: its cells lie outside their tissue, so there is no stroma to score",
        "Salgado et al. 2015, Ann Oncol 26:259: sTILs are a share of the stroma within the tumour's border, which "
        "needs a section of tissue",
        evaluable=False,
    ),
}

UNKNOWN = Rule()


def check_words(site: str | None, specimen: str | None) -> None:
    """Refuse words that are none of `SITES` and `SPECIMENS`.

    Raises
    ------
    UsageError : an unknown word; the nearest is named.
    """
    for name, word, known in (("site", site, SITES), ("specimen", specimen, SPECIMENS)):
        if word is not None and word not in known:
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]
            raise UsageError(f"unknown {name}", found=word, do=f"did you mean {near!r}? known: {', '.join(known)}")


def rules(site: str | None, specimen: str | None) -> tuple[Rule, Rule]:
    """The rules of a slide; those of an unknown site or specimen change nothing.

    Raises
    ------
    UsageError : see `check_words`.
    """
    check_words(site, specimen)
    return SITES[site] if site else UNKNOWN, SPECIMENS[specimen] if specimen else UNKNOWN


def bed_rules(bed: BedConfig, site: Rule) -> BedConfig:
    """The bed's settings at a site."""
    return replace(bed, inside_only=True) if site.inside_only else bed
