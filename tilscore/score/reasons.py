"""The codes of a score, in words."""

from __future__ import annotations

from tilscore.errors import printable
from tilscore.score.sites import SITES, SPECIMENS

REASONS = {
    "no_tissue": "no sound tissue was found on the slide",
    "no_tumour": "no tumour was found, so there is no tumour bed",
    "benign_only": "all epithelium lies in areas that were drawn as benign or in situ: there is no invasive tumour",
    "tumour_left_out": "all tumour that was found lies in areas that were drawn as not to be scored",
    "necrosis_only": "the tissue is necrotic: there is no living tumour to score around",
    "no_stroma": "the tumour bed holds no evaluable stroma",
    "stroma_too_small": "the tumour bed holds too little stroma for a score",
    "roi_empty": "the given area holds no sound tissue: glass, pen, blur and folds are none",
    "roi_left_out": "all tissue of the given area was drawn as not to be scored",
    "no_tumour_in_area": "hardly any tumour was seen in the given area, which was scored as it is: see on the overlay "
    "whether tumour was missed",
    "little_tumour": "very little tumour: see on the overlay whether it is tumour, and whether some was missed",
    "little_stroma": "very little stroma: the score is uncertain",
    "wide_interval": "the 95 % interval of the density is wide: the score is uncertain",
    "no_interval": "the tissue is too small or too scattered for an interval: the score is uncertain",
    "beyond_calibration": "the number lies beyond what the calibration was made on: the calibrated sTIL % is its end",
    "lymphoid_aggregates": "lymphoid aggregates lie in the stroma and were counted: the account in the report tells "
    "the score without them",
    "stain_out_of_range": "the stain lies beyond what the model was trained on: the report tells in what",
    "blurred": "the tissue is less sharp than what the model was trained on",
    "low_resolution": "the slide is coarser than what the model reads: small nuclei are hard to tell apart",
    "upsampled": "the slide is far coarser than what the model reads: lymphocytes are under 10 pixels wide, and counts "
    "are poor",
    "mpp_differs_from_file": "the resolution given by hand is not the one that the file states",
    "mpp_against_objective": "the resolution does not fit the objective that the file states",
} | {rule.code: rule.text for rule in (*SITES.values(), *SPECIMENS.values()) if rule.code}
"""What the codes of `reasons` mean; without figures, which the settings can change."""

NOTES = {
    "site_unknown": "the site is not stated: scored by the rules of breast",
    "specimen_unknown": "the kind of specimen is not stated",
    "no_cell_areas": "the cells carry no measured areas: numbers that need them are null",
    "no_calibration": "no calibration was given: the calibrated sTIL % is null",
}
"""What the codes of `notes` in `score.json` mean: true of many slides, no reason to doubt one."""


def in_words(reason: str) -> str:
    """A reason code of a score as a sentence; any other text as it is."""
    text = printable(REASONS.get(reason, reason if " " in reason else reason.replace("_", " ")))
    return text[:1].upper() + text[1:]
