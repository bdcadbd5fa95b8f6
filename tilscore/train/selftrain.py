"""Regions that a model tells its successor: on fields whose own annotation tells none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tilscore.augment import plain_crop
from tilscore.datasets import Sample
from tilscore.evaluate.predict import forward_crop
from tilscore.labels import UNKNOWN, Region
from tilscore.modelcard import MPP, REGION_STRIDE
from tilscore.nets import turned

SURE = 0.8
"""Least probability of a region for the teacher to be believed."""
BELIEVED = (Region.TUMOUR, Region.STROMA)
"""What teachers learn on real fields; unfamiliar tissue falls into the other regions."""
N_TURNS = 4
"""Views of a field that the teacher's probability is the mean of."""


def with_taught_regions(sample: Sample, net: torch.nn.Module) -> Sample:
    """`sample` with the regions that `net` is sure of on the sharp field; unchanged where it has regions of its own.

    The student sees the field recoloured, blurred and through coarser scans, and learns to call it the same (noisy
    student: Xie et al. 2020).

    Parameters
    ----------
    net : a `TilNet` in evaluation mode.
    """
    if sample.regions is not None:
        return sample
    logits = forward_crop(turned(net, N_TURNS), plain_crop(sample))[3]
    probability = torch.from_numpy(logits).softmax(dim=0).numpy()
    believed = np.isin(probability.argmax(axis=0), BELIEVED) & (probability.max(axis=0) >= SURE)
    regions = np.where(believed, probability.argmax(axis=0), UNKNOWN).astype(np.uint8)
    height, width = sample.image.shape[:2]
    step = REGION_STRIDE * MPP / sample.mpp
    row, col = (np.floor((np.arange(n) + 0.5) / step).astype(np.int64) for n in (height, width))
    return replace(sample, regions=np.ascontiguousarray(regions[np.ix_(row, col)]))
