"""The stain and focus that a model was trained on: `tilscore run` holds each slide against it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilscore.datasets.crops import AugmentConfig, plain_crop, random_crop
from tilscore.datasets.sample import Sample
from tilscore.network.config import MPP, StainRange
from tilscore.stain import range_of, stain_of_image

CROP_PX = 768
"""Side of the crops at 0.5 um/px: 384 um, so that one crop holds enough nuclei to tell its stain."""


def stain_range_of(samples: Sequence[Sample], augment: AugmentConfig, n_crops: int) -> StainRange:
    """The range of stain and focus of training fields as the network saw them: through the augmentation itself.

    Parameters
    ----------
    samples : the fields that the model learned on, phantoms among them.
    augment : the augmentation of the run.
    n_crops : crops in all, at least one a field.
    """
    rng = np.random.default_rng([0, 17])
    n_each = max(1, -(-n_crops // max(len(samples), 1)))
    plain = [stain_of_image(plain_crop(s).image, MPP) for s in samples]
    seen = [stain_of_image(random_crop(s, CROP_PX, augment, rng).image, MPP) for s in samples for _ in range(n_each)]
    return range_of([*plain, *seen], plain)
