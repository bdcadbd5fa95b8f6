"""Batch normalisations merged into the convolutions before them: a network that no longer learns, in less time."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tilscore.network.config import SIZE_MULTIPLE
from tilscore.network.nets import TilNet


def merged(net: TilNet) -> TilNet:
    """A copy of a network in evaluation mode that says the same, without most of its batch normalisations.

    A normalisation that is listed next after a convolution is taken to follow it. That is so in this network and in
    most of timm's encoders; where what is said proves otherwise, `net` itself is given back.
    """
    out = copy.deepcopy(net)
    for parent in list(out.modules()):
        for (name, conv), (after, norm) in pairwise(list(parent.named_children())):
            if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                continue
            if conv.out_channels == norm.num_features:
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, after, nn.Sequential(*norm.children()))  # timm's hold the activation that follows
    side = 2 * SIZE_MULTIPLE
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        alike = [torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(out(image), net(image), strict=True)]
    return out if all(alike) else net
