"""Evaluation as a stage: a network against annotated fields, its figures with intervals, and its calibration."""

from tilscore.evaluate.calibration import calibrated, cross_fit, deal, fit_calibration
from tilscore.evaluate.predict import (
    FieldResult,
    predict_all,
    predict_crop,
    region_confusion,
)
from tilscore.evaluate.report import report
from tilscore.evaluate.summary import SetScores, as_table, dice, evaluate_net, flat_scores, summarise

__all__ = [
    "FieldResult",
    "SetScores",
    "as_table",
    "calibrated",
    "cross_fit",
    "deal",
    "dice",
    "evaluate_net",
    "fit_calibration",
    "flat_scores",
    "predict_all",
    "predict_crop",
    "region_confusion",
    "report",
    "summarise",
]
