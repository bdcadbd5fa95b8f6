"""The fields of a training run: read, split and cut into crops."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from dataclasses import fields, replace
from os.path import normpath
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from tilscore.datasets import Sample, class_map, describe_sets, folds_of, read_set, with_derived_regions
from tilscore.datasets.crops import random_crop
from tilscore.datasets.splits import group_of
from tilscore.errors import ConfigError, DataError
from tilscore.network.config import HASH_DIGITS
from tilscore.train.config import SetConfig, TrainConfig
from tilscore.train.targets import encode

_GROUPS = {"patient": "patients (or images, where none is told)", "centre": "centres"}


def read_sets(cfg: TrainConfig, data: Path) -> list[Sample]:
    """All annotated fields of the config, with regions derived where nobody drew any.

    Raises
    ------
    ConfigError : two sets of one name, or a field that two sets of one folder hold: folds would part it from itself.
    DataError : no folder of a set that is not optional, or of none of the optional ones.
    """
    _check_names(cfg)
    there = present(cfg, data)
    own = [_read(c, data) for c in there.sets]
    _check_fields(there, own)
    return [with_derived_regions(s) for samples in own for s in samples]


def present(cfg: TrainConfig, data: Path) -> TrainConfig:
    """The config without its optional sets that have no folder; they are named on stderr.

    Raises
    ------
    ConfigError : it names no set. DataError : no set is left.
    """
    there = tuple(c for c in cfg.sets if not c.optional or (data / c.folder).exists())
    for c in cfg.sets:
        if c not in there:
            print(f"{c.source}: left out, there is no {data / c.folder}", file=sys.stderr)
    if not cfg.sets:
        raise ConfigError(
            "names no set to learn from", where="sets", do="name at least one, by its folder under --data"
        )
    if not there:
        raise DataError("none of the sets is there", where=data, do="give the folder that holds the sets' folders")
    return replace(cfg, sets=there)


def _read(c: SetConfig, data: Path) -> list[Sample]:
    keys = {f.name: f.name for f in fields(SetConfig)} | {"root": "folder", "source": "name"}
    for option in c.options:
        if option in keys:
            do = f"give `{keys[option]}` beside `options`"
            raise ConfigError("an option that is a key of the set", where=c.source, found=option, do=do)
    samples = read_set(
        c.format,
        data / c.folder,
        mpp=c.mpp,
        source=c.source,
        classes=c.classes,
        organ=c.organ,
        scanner=c.scanner,
        centre=c.centre,
        **c.options,
    )
    return [_shifted(s, c.shift_px) for s in samples]


def _check_names(cfg: TrainConfig) -> None:
    names = ["phantom", *(c.source for c in cfg.sets)]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ConfigError("two sets have one name", found=twice[0], do="give one of them another `name`")


def _check_fields(cfg: TrainConfig, own: list[list[Sample]]) -> None:
    holder: dict[tuple[str, str], str] = {}
    for c, samples in zip(cfg.sets, own, strict=True):
        for s in samples:
            other = holder.setdefault((normpath(c.folder), s.name), s.source)
            if other != s.source:
                found, do = f"{s.name} in {other} and {s.source}", "let one set alone read it"
                raise ConfigError("two sets hold the same field", where=c.folder, found=found, do=do)


def annotated(samples: list[Sample]) -> list[Sample]:
    """The fields on which something can be tested; how many others there are is told on stderr, by set."""
    for source, n in Counter(s.source for s in samples if not s.annotated).items():
        print(f"{source}: nothing is annotated, and nothing can be tested, on {n} of its fields", file=sys.stderr)
    return [s for s in samples if s.annotated]


def check_annotated(cfg: TrainConfig, samples: list[Sample]) -> None:
    """Refuse a set without any annotation that nobody teaches, or that folds would hold out to test nothing.

    Raises
    ------
    ConfigError : there is such a set.
    """
    known = {s.source for s in samples if s.annotated}
    for c in cfg.sets:
        if c.source not in known and not cfg.teachers:
            do = "give `teachers` (or --teachers) that tell what is there, or annotate it"
            raise ConfigError("nothing is annotated in this set, it teaches nothing", where=c.source, do=do)
        if c.source not in known and not c.train_only:
            do = "set `train_only: true` for it"
            raise ConfigError("nothing is annotated in this set, held out it tests nothing", where=c.source, do=do)


def field_id(sample: Sample) -> str:
    """What a field is called in `run.json`: its set and its name."""
    return f"{sample.source}/{sample.name}"


def field_hash(sample: Sample) -> str:
    """What a field is called in a model's `config.json`: a hash of its pixels as they were read, whatever its name."""
    shape, pixels = sample.image.shape, np.ascontiguousarray(sample.image)
    return hashlib.blake2b(repr(shape).encode() + pixels.tobytes()).hexdigest()[:HASH_DIGITS]


def _shifted(sample: Sample, by_px: float) -> Sample:
    """`sample` with its centres moved right and down."""
    return replace(sample, x_px=sample.x_px + np.float32(by_px), y_px=sample.y_px + np.float32(by_px))


def describe(cfg: TrainConfig, data: Path) -> str:
    """What the config's sets hold, and under which class map they are read."""
    maps = {c.source: class_map(c.format, c.classes) for c in cfg.sets}
    return describe_sets(read_sets(cfg, data), maps)


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
    """Training and held-out fields of one fold (None: train on all, hold nothing out).

    Fields of held-out patients on which nothing is annotated are in neither.

    Raises
    ------
    ConfigError : no such fold, or one that holds nothing out, or all: there are fewer groups than folds.
    """
    if fold is None:
        return samples, []
    if not 0 <= fold < cfg.folds:
        raise ConfigError("no such fold", found=fold, do=f"use 0 to {cfg.folds - 1}")
    kept = {c.source for c in cfg.sets if c.train_only}
    part = folds_of(samples, cfg.folds, by=cfg.split_by, kept=kept)
    learn = [s for s, k in zip(samples, part, strict=True) if k != fold]
    held = annotated([s for s, k in zip(samples, part, strict=True) if k == fold])
    if not held or not learn:
        groups = {group_of(s, cfg.split_by) for s in samples if s.source not in kept}
        what = "this fold holds nothing out" if not held else "this fold leaves no annotated field to learn from"
        found = f"{len(groups)} {_GROUPS[cfg.split_by]} in sets that may be held out"
        raise ConfigError(what, where=f"fold {fold} of {cfg.folds}", found=found, do=_mend(len(groups), cfg))
    return learn, held


def _mend(n_groups: int, cfg: TrainConfig) -> str:
    """What makes folds of which none is empty, nor holds all."""
    if n_groups >= 2:
        return f"set `folds` between 2 and {n_groups}" if n_groups > 2 else "set `folds: 2`"
    if not n_groups:
        return "take `train_only` off an annotated set, or train without --fold"
    if cfg.split_by == "centre":
        return "give the sets their `centre`, set `split_by: patient`, or train without --fold"
    return "give fields of two patients or more, or train without --fold"


class Crops(Dataset[tuple[Any, ...]]):
    """One epoch of random crops; crop `i` of an epoch depends on the seed alone, not on who reads it.

    An item is the crop's images [1 or 2, 3, s, s] uint8 (as the network sees it and, where teachers are, as it was
    before its colours were changed and it was degraded), and its targets in the order of `targets.Targets`.
    """

    def __init__(self, samples: list[Sample], cfg: TrainConfig, epoch: int, n_devices: int = 1) -> None:
        self.samples, self.cfg, self.epoch = samples, cfg, epoch
        self.n = cfg.steps_per_epoch * cfg.batch * cfg.accumulate * n_devices  # Lightning deals them out to the devices
        weight = {c.source: c.weight for c in cfg.sets} | {"phantom": cfg.phantoms.weight}
        self.augment = {"phantom": cfg.augment}
        for c in cfg.sets:
            self.augment[c.source] = replace(
                cfg.augment,
                mpp_low=cfg.augment.mpp_low if c.mpp_low is None else c.mpp_low,
                coarse_chance=cfg.augment.coarse_chance if c.coarse_chance is None else c.coarse_chance,
            )
        area = np.array([s.image.shape[0] * s.image.shape[1] * s.mpp**2 for s in samples])
        source = np.array([s.source for s in samples])
        share = np.array([weight.get(s.source, 1.0) for s in samples]) * area
        for name in set(source):
            share[source == name] /= area[source == name].sum()
        self.share = share / share.sum()

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        rng = np.random.default_rng([self.cfg.seed, self.epoch, i])
        sample = self.samples[rng.choice(len(self.samples), p=self.share)]
        crop = random_crop(sample, self.cfg.crop_px, self.augment[sample.source], rng)
        images = [crop.image, crop.seen] if self.cfg.teachers else [crop.image]
        stack = np.stack(images).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(stack), *encode(crop, self.cfg.loss)
