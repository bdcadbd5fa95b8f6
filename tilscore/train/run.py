"""The run: annotated fields in, a run folder with checkpoints, logs, pictures and a model out."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader

from tilscore.backends import native_bfloat16, pick_device
from tilscore.datasets import Sample
from tilscore.errors import ConfigError
from tilscore.evaluate import evaluate_net, flat_scores
from tilscore.files import write_json
from tilscore.modelstore import Model, find_model, save_model
from tilscore.modelstore.store import check_name
from tilscore.network.config import ModelConfig
from tilscore.network.nets import TilNet
from tilscore.train.config import TrainConfig
from tilscore.train.crossval import inherited_from, learned_with
from tilscore.train.data import Crops, check_annotated, field_id, make_phantoms, present, read_sets, split
from tilscore.train.depthwise import speed_up_depthwise
from tilscore.train.folder import check_fields, check_folder, last_checkpoint, next_log, note_run, read_checkpoint
from tilscore.train.imagenet import load_imagenet
from tilscore.train.observed import observed
from tilscore.train.pictures import draw_curves, draw_examples
from tilscore.train.stainrange import stain_range_of
from tilscore.train.targets import Targets, loss
from tilscore.train.teachers import Teachers, check_start, check_teachers

_NOT_FOR_USERS = ("LeafSpec", "Total length of .* across ranks is zero", "Checkpoint directory .* is not empty")
"""Lightning's warnings of what is meant (nothing held out, a run that goes on), beside those it is not sure of."""


class Task(L.LightningModule):
    """The network with its loss, optimiser and validation."""

    def __init__(self, cfg: TrainConfig, train: list[Sample], held: list[Sample]) -> None:
        super().__init__()
        self.cfg, self.train_samples, self.held = cfg, train, held
        self.net = find_model(cfg.init).load().train() if cfg.init else TilNet(cfg.net)
        if cfg.pretrained and not cfg.init:
            load_imagenet(self.net)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        speed_up_depthwise(self.net)
        if cfg.learn == "regions":
            self.net.requires_grad_(False)
            self.net.region_head.requires_grad_(True)
        self.teachers = Teachers(cfg.teachers)

    def train(self, mode: bool = True) -> Task:
        """As ever, but what does not learn also keeps the means and variances of its normalisations."""
        super().train(mode)
        if self.cfg.learn == "regions":
            self.net.eval()
            self.net.region_head.train(mode)
        return self

    def train_dataloader(self) -> DataLoader[tuple[Any, ...]]:
        crops = Crops(self.train_samples, self.cfg, self.current_epoch, self.trainer.world_size)
        return DataLoader(crops, self.cfg.batch, num_workers=self.cfg.workers, worker_init_fn=_one_thread)

    def val_dataloader(self) -> list[int]:
        return [0] if self.held else []

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        images, *rest = batch
        maps = self.net(images[:, 0].float().contiguous(memory_format=torch.channels_last))
        lesson = self.teachers.tell(images[:, 1].float()) if self.cfg.teachers else None
        terms = loss(maps, Targets(*rest), self.cfg.loss, lesson)
        if self.cfg.learn == "regions":
            terms["loss"] = terms["regions"]
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, prog_bar=False, on_step=False, on_epoch=True)
        self.log("loss", terms["loss"], prog_bar=True, logger=False)
        return terms["loss"]

    def validation_step(self, _batch: int, _: int) -> None:
        # At one threshold before calibration, so that epochs compare: not the operating point of `held_out.json`.
        scores = flat_scores(evaluate_net(self.net, self.held))
        found = [v for k, v in scores.items() if k.endswith("/f_detection") and np.isfinite(v)]
        scores["f_detection"] = float(np.mean(found)) if found else float("nan")
        self.log_dict({f"val/{k}": float(v) for k, v in scores.items() if np.isfinite(v)}, batch_size=1)

    def configure_optimizers(self) -> Any:
        learned = [p for p in self.parameters() if p.requires_grad]
        decayed, plain = [p for p in learned if p.ndim > 1], [p for p in learned if p.ndim <= 1]
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


class Bar(TQDMProgressBar):
    """Lightning's progress bar without the name of the log's folder."""

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        return {k: v for k, v in super().get_metrics(trainer, pl_module).items() if k != "v_num"}


def _one_thread(_: int) -> None:
    """Each worker is one of many: threads of its own would only wait for each other."""
    cv2.setNumThreads(1)


def usable_precision(wanted: str, native: bool) -> str:
    """Lightning's precision for this machine: float32 instead of an emulated bfloat16."""
    return wanted if native or not wanted.startswith("bf16") else "32-true"


def blend(net: torch.nn.Module, start: torch.nn.Module, share: float) -> None:
    """Make `net`, in place, the weighted mean of itself and the `start` it was trained from (Wortsman et al. 2022)."""
    before = start.state_dict()
    mean = {k: torch.lerp(before[k], v, share) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    net.load_state_dict(mean)


def train(
    cfg: TrainConfig, data: Path, out: Path, *, fold: int | None = None, resume: bool = False, progress: bool = True
) -> Path:
    """Train one model; the run folder gets `config.yaml`, logs, checkpoints, pictures and `model/`.

    Parameters
    ----------
    data : folder that holds the sets' folders.
    out : run folder; one that holds a run is refused without `resume`.
    fold : part to hold out for validation; None trains on everything.
    resume : go on from the run folder's last checkpoint, if there is one, with the same fold and settings, save
        those of `folder.MAY_CHANGE`.

    Returns
    -------
    The folder of the model.

    Raises
    ------
    ConfigError : settings that do not fit together or to the fields, a used run folder, or another run to go on with.
    """
    if not 0 < cfg.blend <= 1 or (cfg.blend < 1 and not cfg.init):
        raise ConfigError("blend is a share of what was trained from `init`", found=cfg.blend, do="use 1, or give init")
    check_name(cfg.name)
    cfg = present(cfg, data)  # what the run folder says it learned from, and what a resumed run is held against
    if cfg.init:
        cfg = replace(cfg, net=find_model(cfg.init).config.net)
    # Several devices have a process each, and those that the first one starts find what it has written.
    is_first, last = not getattr(rank_zero_only, "rank", 0), last_checkpoint(out)
    going_on = check_folder(cfg, out, resume=resume) if is_first else resume and last.exists()
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    samples = read_sets(cfg, data)
    check_annotated(cfg, samples)
    learn, held = split(samples, cfg, fold)
    held_ids, learn_ids = ([field_id(s) for s in samples] for samples in (held, learn))
    if going_on:
        check_fields(out, held_ids, learn_ids)
    # A model that teaches what it starts as tells nothing that the start does not know.
    check_teachers([t for t in cfg.teachers if t != cfg.init], held_ids)
    check_start(cfg.init, held)
    learn += make_phantoms(cfg) if cfg.phantoms.n else []
    precision = usable_precision(cfg.precision, native_bfloat16(pick_device("auto")))
    if precision != cfg.precision:
        print(f"precision: {precision}; this processor has no bfloat16, emulating it is slower")
    task, callbacks = Task(cfg, learn, held), _callbacks(cfg, out, held, progress=progress)
    if is_first:
        notes = {"fold": fold, "precision": precision, "held_out": held_ids, "learned_from": learn_ids}
        notes["inherited_from"] = inherited_from([a for a in (cfg.init, *cfg.teachers) if a])
        note_run(cfg, out, notes)
    trainer = _trainer(cfg, out, callbacks, precision, progress=progress)
    if not (going_on and _ended(task, last)):
        fit(trainer, task, last if going_on else None)
    if trainer.is_global_zero:
        _finish(task, held, out)
    trainer.strategy.barrier()
    return out / "model"


def fit(trainer: L.Trainer, task: L.LightningModule, checkpoint: Path | None) -> None:
    """Lightning's `fit`, which ends the program in silence where a person stops it: here that is what it is."""
    try:
        trainer.fit(task, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True)
    except SystemExit as err:
        if isinstance(err.__context__, KeyboardInterrupt):
            raise err.__context__ from None
        raise


def _trainer(cfg: TrainConfig, out: Path, callbacks: list[L.Callback], precision: str, *, progress: bool) -> L.Trainer:
    """Lightning's trainer, without its greetings and advertisements."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=PossibleUserWarning)
    for note in _NOT_FOR_USERS:
        warnings.filterwarnings("ignore", message=f".*{note}")
    return L.Trainer(
        accelerator="auto",
        devices=cfg.devices if torch.cuda.is_available() else 1,
        strategy=cfg.strategy,
        accumulate_grad_batches=cfg.accumulate,
        precision=precision,  # type: ignore[arg-type]
        max_steps=cfg.steps,
        max_epochs=-1,
        callbacks=callbacks,
        logger=[
            CSVLogger(out, name="", version=next_log(out)),
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


def _ended(task: Task, last: Path) -> bool:
    """Whether the checkpoint is that of a run at its last step; the task then has its averaged weights."""
    found = read_checkpoint(last)
    if found["global_step"] < task.cfg.steps:
        return False
    task.load_state_dict(found["state_dict"])
    return True


def _callbacks(cfg: TrainConfig, out: Path, held: list[Sample], *, progress: bool) -> list[L.Callback]:
    where = out / "checkpoints"
    callbacks: list[L.Callback] = [
        EMAWeightAveraging(decay=cfg.ema_decay),
        ModelCheckpoint(where, filename="last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    if cfg.patience:
        if not any(s.exhaustive and s.known_mm2 > 0 for s in held):
            do = "give a fold that holds out fields with every nucleus marked, or patience: 0"
            raise ConfigError("patience needs held-out fields to find nuclei on", found=cfg.patience, do=do)
        # Not strict: a resumed run ends an epoch before it has validated anything.
        callbacks.append(EarlyStopping("val/f_detection", mode="max", patience=cfg.patience, strict=False))
    if progress:
        callbacks.append(Bar(refresh_rate=5))
    return callbacks


def _finish(task: Task, held: list[Sample], out: Path) -> None:
    """Write the model of the averaged weights, pictures and, where a fold was held out, its figures."""
    cfg, net = task.cfg, task.net.eval().cpu()
    config = _inherited(find_model(cfg.init), cfg.name) if cfg.init else ModelConfig(name=cfg.name, net=cfg.net)
    if cfg.blend < 1:
        blend(net, find_model(cfg.init).load(), cfg.blend)
    activations = None
    if cfg.learn == "regions":
        parent, head = find_model(cfg.init), net.region_head
        net, activations = parent.load(), parent.activations()
        net.region_head.load_state_dict(head.state_dict())  # all else to the last bit, which averaging may change
    elif cfg.stain_crops:
        seen = stain_range_of(task.train_samples, cfg.augment, cfg.stain_crops)
        config = replace(config, stain_range=seen)
    real = [s for s in task.train_samples if s.source != "phantom"]
    config = config.having_learned(learned_with([a for a in (cfg.init, *cfg.teachers) if a], real))
    model = out / "model"
    save_model(model, net, config, activations=activations or observed(net, task.train_samples, cfg))
    threshold, calibration = config.detection_threshold, config.calibration
    if held:
        scores = flat_scores(evaluate_net(net, held, threshold=threshold, calibration=calibration))
        write_json(out / "held_out.json", {k: v if np.isfinite(v) else None for k, v in scores.items()})
    shown = held or real
    draw_curves(out)
    draw_examples(net, shown, out / "examples.png", threshold=threshold, calibration=calibration)


def _inherited(parent: Model, name: str) -> ModelConfig:
    """Config of a fine-tuned model: the calibration and operating point of its parent, which its weights never saw."""
    calibration = parent.config.calibration
    if calibration.fitted_on:
        calibration = replace(calibration, fitted_on=f"inherited from {parent.ident}: {calibration.fitted_on}")
    return replace(parent.config, name=name, calibration=calibration)
