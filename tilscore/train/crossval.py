"""Cross-validation and evaluation of what was trained."""

from __future__ import annotations

import json
from pathlib import Path

from tilscore.errors import DataError
from tilscore.evaluate import FieldResult, predict_all
from tilscore.modelstore import find_model
from tilscore.nets import turned
from tilscore.train.config import TrainConfig
from tilscore.train.data import read_sets, split


def predict_folds(
    cfg: TrainConfig,
    data: Path,
    runs: list[Path],
    *,
    threshold: float | None = None,
    radius_um: float | None = None,
    turns: int = 1,
) -> list[list[FieldResult]]:
    """Cross-validation: each run finds the cells of the fields that it held out; one list a run.

    Raises
    ------
    DataError : a folder is no run that held a fold out, or two runs held out the same one.
    """
    samples = read_sets(cfg, data)
    folds = [_fold_of(run) for run in runs]
    if len(set(folds)) < len(folds):
        raise DataError("two runs held out the same fold", found=folds, do="give one run of each fold")
    parts = []
    for fold, run in zip(folds, runs, strict=True):
        model = find_model(str(run / "model"))
        held = split(samples, cfg, fold)[1]
        limit = threshold or model.config.detection_threshold
        net = turned(model.load(), turns)
        parts.append(predict_all(net, held, limit, model.config.calibration, radius_um=radius_um))
    return parts


def _fold_of(run: Path) -> int:
    try:
        fold = json.loads((run / "run.json").read_text(encoding="utf-8"))["fold"]
    except (OSError, ValueError, KeyError) as err:
        raise DataError("is not a run", where=run, found=err, do="give the run folders of `tilscore train`") from err
    if fold is None:
        raise DataError("this run held nothing out", where=run, do="give runs that were trained with --fold")
    return int(fold)


def predict_model(
    cfg: TrainConfig,
    data: Path,
    name: str,
    *,
    threshold: float | None = None,
    radius_um: float | None = None,
    turns: int = 1,
) -> list[FieldResult]:
    """One model on all fields of the config's sets: honest only where it was not trained on them."""
    model = find_model(name)
    limit = threshold or model.config.detection_threshold
    samples = read_sets(cfg, data)
    return predict_all(turned(model.load(), turns), samples, limit, model.config.calibration, radius_um=radius_um)
