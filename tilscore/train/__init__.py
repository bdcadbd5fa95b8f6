"""Training as a stage: annotated fields in, a run folder with checkpoints, logs, pictures and a model out."""

from tilscore.train.config import PhantomSetConfig, SetConfig, TrainConfig
from tilscore.train.crossval import learned_from, predict_folds, predict_model
from tilscore.train.data import Crops, describe, field_id, make_phantoms, read_sets, split
from tilscore.train.observed import quantise_model
from tilscore.train.run import train

__all__ = [
    "Crops",
    "PhantomSetConfig",
    "SetConfig",
    "TrainConfig",
    "describe",
    "field_id",
    "learned_from",
    "make_phantoms",
    "predict_folds",
    "predict_model",
    "quantise_model",
    "read_sets",
    "split",
    "train",
]
