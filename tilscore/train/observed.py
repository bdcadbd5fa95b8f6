"""What a network's activations are on the fields that it learned from, for int8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tilscore.augment import random_crop
from tilscore.datasets import Sample
from tilscore.modelstore import Model, save_model
from tilscore.modelstore.store import find_own
from tilscore.nets import TilNet
from tilscore.quantise import Activations, observe
from tilscore.train.config import TrainConfig
from tilscore.train.data import make_phantoms, read_sets, split

N_CROPS = 128
"""Crops in all, shared by the fields in turn."""


def observed(net: TilNet, samples: Sequence[Sample], cfg: TrainConfig) -> Activations:
    """The activations of a trained network on crops as it learned from them, augmentation and all."""
    rng = np.random.default_rng([cfg.seed, 23])
    order = rng.permutation(len(samples))
    drawn = (samples[order[i % len(order)]] for i in range(N_CROPS))
    return observe(net, (random_crop(sample, cfg.crop_px, cfg.augment, rng).image for sample in drawn))


def quantise_model(cfg: TrainConfig, data: Path, address: str, *, fold: int | None = None) -> Model:
    """Store in a model what its activations are, so that CPUs run it in int8; the weights stay as they are.

    Parameters
    ----------
    cfg, fold : what it was trained with: the held-out fields are left out of this too.
    data : folder that holds the sets' folders.

    Raises
    ------
    UsageError : a hub's model, which is never changed.
    """
    model = find_own(address)
    samples = split(read_sets(cfg, data), cfg, fold)[0] + (make_phantoms(cfg) if cfg.phantoms.n else [])
    net = model.load()
    return save_model(model.folder, net, model.config, activations=observed(net, samples, cfg))
