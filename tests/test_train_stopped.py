"""A training run that a person stops."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tilscore.train.run import fit


class Stopped(L.LightningModule):
    """A person stops it in its first step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.zeros(2, 1))  # type: ignore[arg-type]

    def training_step(self, _: Tensor) -> Tensor:
        raise KeyboardInterrupt

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_run_that_is_stopped_says_so(tmp_path: Path) -> None:
    """Lightning ends the program in silence; the verb tells `stopped` of what arrives here."""
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(accelerator="cpu", max_steps=1, default_root_dir=tmp_path, enable_model_summary=False, **silent)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, Stopped(), None)
