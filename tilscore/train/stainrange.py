"""The stain and focus that a model was trained on, for its `config.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tilscore.augment import AugmentConfig, plain_crop, random_crop
from tilscore.datasets.sample import Sample
from tilscore.modelcard import MPP, ModelConfig, StainRange
from tilscore.stain import StainConfig, range_of, stain_of_image

CROP_PX = 768
"""Side of the crops at 0.5 um/px: 384 um, so that one crop holds enough nuclei to tell its stain."""
N_CROPS = 400
"""Crops in all, shared by the fields: then four lie beyond a limit at 1 %."""


def stain_range_of(
    samples: Sequence[Sample],
    augment: AugmentConfig | None = None,
    cfg: StainConfig | None = None,
    *,
    n_crops: int = N_CROPS,
    seed: int = 0,
) -> StainRange:
    """The range of stain and focus of training fields as the network saw them: through the augmentation itself.

    Parameters
    ----------
    samples : the fields that the model learned on, phantoms among them.
    augment : the augmentation of the run.
    n_crops : crops in all, at least one a field.
    """
    augment = augment or AugmentConfig()
    rng = np.random.default_rng([seed, 17])
    n_each = max(1, -(-n_crops // max(len(samples), 1)))
    plain = [stain_of_image(plain_crop(s).image, MPP, cfg) for s in samples]
    seen = [
        stain_of_image(random_crop(s, CROP_PX, augment, rng).image, MPP, cfg) for s in samples for _ in range(n_each)
    ]
    return range_of([*plain, *seen], plain)


def with_stain_range(
    config: ModelConfig, samples: Sequence[Sample], augment: AugmentConfig | None = None, *, n_crops: int = N_CROPS
) -> ModelConfig:
    """`config` with the range of these training fields, which `tilscore run` holds each slide against."""
    return replace(config, stain_range=stain_range_of(samples, augment, n_crops=n_crops))
