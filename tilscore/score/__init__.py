"""The score: cells, regions and tissue in; TILs per area of stroma out, with the account of every mm2."""

from __future__ import annotations

from tilscore.score.bed import BedConfig
from tilscore.score.calibration import read_calibration
from tilscore.score.config import (
    AggregateConfig,
    CompatConfig,
    CoreConfig,
    InfiltratedConfig,
    ScoreConfig,
)
from tilscore.score.definitions import definitions
from tilscore.score.interval import IntervalConfig
from tilscore.score.parts import Part, Parts
from tilscore.score.reasons import NOTES, REASONS
from tilscore.score.result import COLUMNS, COLUMNS_1, SCHEMA_VERSION, Score, failed_row
from tilscore.score.run import Scored, score_with_parts
from tilscore.score.sites import SITES, SPECIMENS, check_words
from tilscore.score.store import read_score, write_score

__all__ = [
    "COLUMNS",
    "COLUMNS_1",
    "NOTES",
    "REASONS",
    "SCHEMA_VERSION",
    "SITES",
    "SPECIMENS",
    "AggregateConfig",
    "BedConfig",
    "CompatConfig",
    "CoreConfig",
    "InfiltratedConfig",
    "IntervalConfig",
    "Part",
    "Parts",
    "Score",
    "ScoreConfig",
    "Scored",
    "check_words",
    "definitions",
    "failed_row",
    "read_calibration",
    "read_score",
    "score_with_parts",
    "write_score",
]
