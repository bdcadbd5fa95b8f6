"""What the loss may learn from a set: nothing that the set does not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tiny_sets import sample

from tilscore.datasets import UNTYPED, Sample
from tilscore.datasets.crops import plain_crop
from tilscore.datasets.reading import near
from tilscore.labels import Region
from tilscore.network.config import NetConfig
from tilscore.network.nets import TilNet
from tilscore.train.targets import LossConfig, Targets, encode, loss


def terms(one: Sample) -> dict[str, float]:
    """Loss terms of a field, and how strongly each map's values are pulled: 0 detection, 1 types, 3 regions."""
    torch.manual_seed(0)
    net = TilNet(NetConfig())
    crop = plain_crop(one)
    targets = Targets(*(torch.from_numpy(t)[None] for t in encode(crop, LossConfig())))
    maps = net(torch.from_numpy(crop.image.transpose(2, 0, 1)[None].astype(np.float32)))
    for i in (0, 1, 3):
        maps[i].retain_grad()
    out = loss(maps, targets, LossConfig())
    out["loss"].backward()
    grads = {f"grad{i}": float(maps[i].grad.abs().sum()) for i in (0, 1, 3)}
    return {k: float(v.detach()) for k, v in out.items()} | grads


def test_regions_alone_teach_nothing_about_nuclei() -> None:
    regions = np.full((64, 64), Region.STROMA, np.uint8)
    alone = sample(n=0, known=np.zeros((64, 64), bool), regions=regions)
    got = terms(alone)
    assert got["detection"] == got["types"] == got["offset"] == 0
    assert got["grad0"] == got["grad1"] == 0, "no gradient reaches detection or types"
    assert got["grad3"] > 0
    negative = terms(replace(alone, known=None))
    assert negative["grad0"] > 0, "where it is known that there is no nucleus, detection learns"


def test_nuclei_alone_teach_nothing_about_regions() -> None:
    got = terms(sample(n=4))
    assert got["regions"] == got["grad3"] == 0
    assert got["grad0"] > 0
    assert got["grad1"] > 0
    untyped = terms(sample(n=4, label=np.full(4, UNTYPED, np.int8)))
    assert untyped["grad1"] == 0
    assert untyped["grad0"] > 0


def test_partly_labelled_fields_teach_near_their_nuclei_only() -> None:
    """A missing nucleus is no negative, a labelled one is a positive with known ground around it."""
    one = sample(n=1, size=64)
    partial = replace(one, known=near((one.x_px, one.y_px), (64, 64), one.mpp))
    peak, known, *_ = encode(plain_crop(partial), LossConfig())
    assert (peak == 1).sum() == 1
    assert known[peak == 1].all()
    assert 0 < known.sum() < 40
    whole = encode(plain_crop(one), LossConfig())
    assert whole[1].all()
