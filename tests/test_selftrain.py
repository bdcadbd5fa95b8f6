"""A model teaches regions: where it is sure, in the frame of the field, and never over what is annotated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tilscore.datasets import Sample
from tilscore.labels import UNKNOWN, Region
from tilscore.modelstore import find_model
from tilscore.nets import TilNet
from tilscore.phantom import training_tile
from tilscore.train.config import SetConfig, TrainConfig
from tilscore.train.data import taught
from tilscore.train.selftrain import with_taught_regions

NONE = np.zeros(0, np.float32)


def field(image: np.ndarray, mpp: float, regions: np.ndarray | None = None) -> Sample:
    return Sample("f", "set", image, mpp, NONE, NONE, NONE.astype(np.int8), regions=regions)


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, np.ndarray]:
    image, _, regions = training_tile(seed=3, size_px=256, mpp=0.5)
    return image, regions


def says(region: Region, probability: float) -> TilNet:
    """A network that gives `region` this probability everywhere, and the others equal shares of the rest."""
    net = TilNet().eval()
    last = net.region_head[1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(np.log((1 - probability) / (len(Region) - 1)))
        last.bias[region] = np.log(probability)
    return net


@pytest.mark.parametrize(
    ("region", "probability", "taught"),
    [
        (Region.STROMA, 0.81, Region.STROMA),
        (Region.TUMOUR, 0.99, Region.TUMOUR),
        (Region.STROMA, 0.79, UNKNOWN),
        (Region.FAT, 0.99, UNKNOWN),
        (Region.OTHER, 0.99, UNKNOWN),
    ],
)
def test_only_sure_tumour_and_stroma_are_taught(
    phantom: tuple[np.ndarray, np.ndarray], region: Region, probability: float, taught: int
) -> None:
    out = with_taught_regions(field(phantom[0], 0.5), says(region, probability))
    assert out.regions is not None
    assert np.unique(out.regions).tolist() == [taught]


def test_drawn_regions_stay(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    given = field(phantom[0], 0.5, regions=phantom[1])
    assert with_taught_regions(given, says(Region.STROMA, 0.99)) is given


def test_only_the_sets_that_ask_are_taught(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    asks, other = SetConfig("asks", regions_from="tilscore-lite"), SetConfig("other")
    fields = [replace(field(phantom[0], 0.5), source=name) for name in ("asks", "other", "phantom")]
    learn = taught(fields, TrainConfig("m", (asks, other)))
    assert [s.source for s in learn] == ["asks", "other", "phantom"]
    assert [s.regions is None for s in learn] == [False, True, True]


def test_taught_regions_lie_where_the_tissue_is(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    """The shipped model on a phantom: what it teaches is true, and the same in a field of twice the pixels."""
    image, truth = phantom
    net = find_model("tilscore-lite").load()
    plain = with_taught_regions(field(image, 0.5), net).regions
    assert plain is not None
    sure = plain != UNKNOWN
    assert sure.mean() > 0.3
    assert (plain == truth)[sure].mean() > 0.9
    fine = with_taught_regions(field(image.repeat(2, axis=0).repeat(2, axis=1), 0.25), net).regions
    assert fine is not None
    assert (fine == plain.repeat(2, axis=0).repeat(2, axis=1)).mean() > 0.99
