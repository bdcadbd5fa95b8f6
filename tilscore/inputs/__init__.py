"""From what is typed to the slides of a run, and the words of a manifest."""

from tilscore.inputs.lists import LARGEST_LIST_BYTES
from tilscore.inputs.names import (
    LONGEST_ID,
    PICTURE_SUFFIXES,
    SLIDE_SUFFIXES,
    plain_and_hashed,
    safe_id,
    stem,
    unique_ids,
)
from tilscore.inputs.read import LIST_SUFFIXES, RESULT_MARKS, read_inputs, slides_in

__all__ = [
    "LARGEST_LIST_BYTES",
    "LIST_SUFFIXES",
    "LONGEST_ID",
    "PICTURE_SUFFIXES",
    "RESULT_MARKS",
    "SLIDE_SUFFIXES",
    "plain_and_hashed",
    "read_inputs",
    "safe_id",
    "slides_in",
    "stem",
    "unique_ids",
]
