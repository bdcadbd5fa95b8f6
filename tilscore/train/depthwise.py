"""Depthwise convolutions whose gradients are computed in float32: on CPUs, several times faster than in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Depthwise(torch.autograd.Function):
    """A convolution in the type of its input; its backward pass in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, conv: nn.Conv2d) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.conv = conv
        return F.conv2d(x, weight.to(x.dtype), None, conv.stride, conv.padding, 1, conv.groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (x, weight), conv = ctx.saved_tensors, ctx.conv
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(
            grad.float(), x.float(), weight.float(), None, conv.stride, conv.padding, [1, 1], False, [0, 0],
            conv.groups, [True, True, False],
        )  # fmt: skip
        return to_x.to(x.dtype), to_weight.to(weight.dtype), None


class _FastDepthwise(nn.Conv2d):
    """`Conv2d` on a GPU and outside training; in mixed precision on a CPU, `_Depthwise`."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return _Depthwise.apply(x.to(torch.get_autocast_dtype("cpu")), self.weight, self)  # type: ignore[no-any-return]


def speed_up_depthwise(net: nn.Module) -> None:
    """Give the depthwise convolutions of `net` a faster backward pass, in place; weights and names stay.

    Torch's CPU library has no fast bfloat16 kernel for these gradients (2.12: 3 to 7 times slower than in float32), and
    a light encoder spends half of a training step in them.
    """
    for m in net.modules():
        plain = type(m) is nn.Conv2d and m.groups == m.in_channels > 1 and m.bias is None
        if plain and m.dilation == (1, 1) and m.padding_mode == "zeros" and not isinstance(m.padding, str):
            m.__class__ = _FastDepthwise
