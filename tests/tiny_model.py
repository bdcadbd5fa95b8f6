"""An untrained model in a folder, for tests."""

from __future__ import annotations

from pathlib import Path

import torch

from tilscore.modelstore import ModelConfig, save_model
from tilscore.network.nets import TilNet


def tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write a model of noise called `small`, of the threshold 0.31; returns its folder."""
    torch.manual_seed(seed)
    save_model(folder, TilNet().eval(), ModelConfig(name="small", detection_threshold=0.31))
    return folder


class Canary:
    """Pickled, it touches a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)
