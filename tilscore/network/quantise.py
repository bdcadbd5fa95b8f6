"""The network in 8-bit integers (int8), as CPUs compute it fastest: from what its activations were in training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tilscore.network.nets import TilNet

IN_FLOAT = ("cell_head", "region_head.1")
"""The last convolutions: little work, and their sums are the logits themselves."""
BITS_DENSE, BITS_DEPTHWISE = 7, 8
"""Of weights. Processors without VNNI add two products of 8 bits in 16: with 7 bits of weight that never overflows, and
every processor computes the same. Depthwise convolutions are not computed so."""
_STEPS = 255


class Activation(NamedTuple):
    """What came into one convolution over the pictures that `observe` was shown."""

    limits: Tensor
    """[2] lowest and highest value; what lies beyond is clipped."""
    mean: Tensor
    """[C] mean of each channel."""


Activations = Mapping[str, Activation]
"""By the name of the convolution."""


def observe(net: TilNet, images: Iterable[NDArray[np.uint8]]) -> dict[str, Activation]:
    """What comes into each convolution that `quantised` rounds.

    Parameters
    ----------
    images : [h w 3] RGB at 0.5 um/px; sides multiples of 32.
    """
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def watch(name: str) -> Any:
        def see(_: nn.Module, inputs: tuple[Tensor]) -> None:
            limits = torch.stack(inputs[0].aminmax())
            seen.setdefault(name, []).append((limits, inputs[0].mean(dim=(0, 2, 3))))

        return see

    hooks = [conv.register_forward_pre_hook(watch(name)) for name, conv in _rounded_convolutions(net)]
    with torch.inference_mode():
        for image in images:
            net(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)))
    for hook in hooks:
        hook.remove()
    out = {}
    for name, pairs in seen.items():
        limits, means = (torch.stack(values) for values in zip(*pairs, strict=True))
        out[name] = Activation(torch.stack([limits[:, 0].min(), limits[:, 1].max()]), means.mean(dim=0))
    return out


def quantised(net: TilNet, activations: Activations) -> TilNet:
    """A copy of the network that rounds what comes into its convolutions, and their weights, as int8 does.

    Weights are rounded channel by channel, activations to 8 bits within their limits (Krishnamoorthi 2018). Rounding
    weights shifts a channel by the rounding errors times the mean of what comes in: its bias takes that off again
    (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction"). In torch this tells
    what comes out, and is slower; OpenVINO computes it in integers.
    """
    out = copy.deepcopy(net).eval()
    for name, conv in _rounded_convolutions(out):
        limits, mean = activations[name]
        weight = conv.weight.detach()
        rounding = _RoundedWeight(weight, BITS_DEPTHWISE if conv.groups > 1 else BITS_DENSE)
        error = (rounding(weight) - weight).sum(dim=(2, 3))  # [out in], of a depthwise convolution [out 1]
        shift = error[:, 0] * mean if conv.groups > 1 else error @ mean
        conv.bias = nn.Parameter((0.0 if conv.bias is None else conv.bias.detach()) - shift)
        parametrize.register_parametrization(conv, "weight", rounding)
        conv.register_forward_pre_hook(_rounded_input(*limits.tolist()))
    return out


def _rounded_convolutions(net: TilNet) -> list[tuple[str, nn.Conv2d]]:
    return [(name, m) for name, m in net.named_modules() if isinstance(m, nn.Conv2d) and name not in IN_FLOAT]


class _RoundedWeight(nn.Module):
    """Weights [out in h w] rounded to whole steps, as many on either side of 0; a step for each output channel."""

    step: Tensor
    zero: Tensor

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.n_steps = 2 ** (bits - 1) - 1
        self.register_buffer("step", weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / self.n_steps)
        self.register_buffer("zero", torch.zeros(len(weight), dtype=torch.int32))

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weights."""
        rounded: Tensor = torch.fake_quantize_per_channel_affine(
            weight, self.step, self.zero, 0, -self.n_steps, self.n_steps
        )
        return rounded


def _rounded_input(low: float, high: float) -> Any:
    """A hook that rounds what comes in to 256 levels from `low` to `high`, of which one is 0."""
    low, high = min(low, 0.0), max(high, 1e-6)
    step = (high - low) / _STEPS
    zero = round(-low / step)

    def hook(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (torch.fake_quantize_per_tensor_affine(inputs[0], step, zero, 0, _STEPS),)

    return hook
