"""What a network's activations are on the fields that it learned from, for int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tilscore.datasets import Sample
from tilscore.modelstore import Model, save_model
from tilscore.modelstore.upkeep import find_own
from tilscore.network.nets import TilNet
from tilscore.network.quantise import Activations, observe
from tilscore.train.config import TrainConfig
from tilscore.train.data import Crops, make_phantoms, read_sets, split

N_CROPS = 128
_EPOCH = 10**6
"""Beyond any of a run: the crops are others than those it learned from."""


def observed(net: TilNet, samples: Sequence[Sample], cfg: TrainConfig) -> Activations:
    """The activations of a trained network on crops drawn and changed as those it learned from."""
    crops = Crops(list(samples), replace(cfg, teachers=()), _EPOCH)
    return observe(net, (crops[i][0][0].transpose(1, 2, 0) for i in range(N_CROPS)))


def quantise_model(cfg: TrainConfig, data: Path, address: str, *, fold: int | None = None) -> Model:
    """Store in a model what its activations are, so that CPUs run it in int8; the weights stay as they are.

    Parameters
    ----------
    cfg, fold : what it was trained with: the held-out fields are left out of this too.
    data : folder that holds the sets' folders.

    Raises
    ------
    UsageError : a hub's model, or one that came with tilscore: they are never changed.
    """
    model = find_own(address)
    samples = split(read_sets(cfg, data), cfg, fold)[0] + (make_phantoms(cfg) if cfg.phantoms.n else [])
    net = model.load()
    return save_model(model.folder, net, model.config, activations=observed(net, samples, cfg))
