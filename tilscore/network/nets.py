"""The network: a light encoder, one feature pyramid, a cell head at 1 um/px and a region head at 4 um/px."""

from __future__ import annotations

from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tilscore.errors import ConfigError, UsageError
from tilscore.labels import Cell, Region
from tilscore.network.config import CELL_STRIDE, NetConfig


class CellMaps(NamedTuple):
    """Raw outputs for a batch; `h, w` is the input size over the stride."""

    detection_B1hw: Tensor
    """Logit of a nucleus centre, stride 2."""
    types_BChw: Tensor
    """Logits of the four cell classes, stride 2."""
    offset_B2hw: Tensor
    """From the pixel's centre to the nucleus centre (x, y), in pixels of this map."""
    regions_BRhw: Tensor
    """Logits of the five region classes, stride 8."""


TURNS = tuple((swap, x, x != y) for swap in (False, True) for y in (False, True) for x in (False, True))
"""Views of a square: transposed or not, then mirrored left to right or not, then top to bottom or not."""
N_TURNS = (1, 2, 4, 8)
"""How many of `TURNS`, from the first, may be averaged: each of these is a group, so turned input is turned output."""


def conv_block(n_in: int, n_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


def _encoder(name: str) -> nn.Module:
    """A timm encoder with features at strides 2, 4, 8, 16 and 32."""
    do = "name one with features at strides 2, 4, 8, 16 and 32"
    try:
        if not timm.is_model(name):  # timm would ask a hub for `hf-hub:owner/name`
            raise ValueError(name)
        encoder = timm.create_model(name, features_only=True, pretrained=False)
    except (RuntimeError, AttributeError, ValueError) as err:
        raise ConfigError("timm makes no such encoder", where="net.encoder", found=name, do=do) from err
    strides = encoder.feature_info.reduction()  # type: ignore[operator, union-attr]
    if strides != [2, 4, 8, 16, 32]:
        raise ConfigError(f"an encoder with features at strides {strides}", where="net.encoder", found=name, do=do)
    return encoder


class TilNet(nn.Module):
    """RGB at 0.5 um/px to cell maps at 1 um/px and region logits at 4 um/px, in one forward pass.

    Raises
    ------
    ConfigError : timm has no such encoder, or it lacks a level of the pyramid.
    """

    def __init__(self, cfg: NetConfig | None = None) -> None:
        super().__init__()
        self.cfg = cfg or NetConfig()
        width = self.cfg.width
        self.encoder = _encoder(self.cfg.encoder)
        channels: list[int] = self.encoder.feature_info.channels()  # type: ignore[operator, union-attr]
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels[2:])
        self.smooth_8 = conv_block(width, width)
        # A 1 x 1 convolution of p8 made twice as large, f4, and f2 by space-to-depth, side by side: full detail at a
        # quarter of the cost. It is the sum of one of each, so nothing is copied, and p8 may be enlarged after it.
        self.fuse_8 = nn.Conv2d(width, width, 1, bias=False)
        self.fuse_4 = nn.Conv2d(channels[1], width, 1, bias=False)
        self.fuse_2 = nn.Conv2d(channels[0], width, 2, stride=2, bias=False)
        self.fused = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.smooth_4 = nn.Sequential(conv_block(width, width), conv_block(width, width))
        self.fold = CELL_STRIDE // self.cfg.zoom  # map pixels per side of a pixel of the finest level
        self.cell_head = nn.Conv2d(width, self.fold**2 * (1 + len(Cell) + 2), 1)
        self.region_head = nn.Sequential(
            conv_block(width, width, stride=self.cfg.zoom), nn.Conv2d(width, len(Region), 1)
        )
        with torch.no_grad():
            assert self.cell_head.bias is not None
            self.cell_head.bias.zero_()
            self.cell_head.bias[: self.fold**2] = -4.0  # about 2 % of the pixels lie at a nucleus centre

    def forward(self, image_B3HW: Tensor) -> CellMaps:
        """Run the network.

        Parameters
        ----------
        image_B3HW : float, RGB values 0 to 255; height and width multiples of 32.
        """
        image = (image_B3HW - 127.0) / 128.0
        if self.cfg.zoom > 1:
            image = F.interpolate(image, scale_factor=float(self.cfg.zoom), mode="bilinear", align_corners=False)
        f2, f4, f8, f16, f32 = self.encoder(image)
        p = self.lateral[2](f32)
        p = self.lateral[1](f16) + F.interpolate(p, scale_factor=2.0, mode="nearest")
        p8 = self.smooth_8(self.lateral[0](f8) + F.interpolate(p, scale_factor=2.0, mode="nearest"))
        coarse = F.interpolate(self.fuse_8(p8), scale_factor=2.0, mode="nearest")
        p4 = self.smooth_4(self.fused(self.fuse_2(f2) + self.fuse_4(f4) + coarse))
        maps = F.pixel_shuffle(self.cell_head(p4), self.fold)
        detection, types, offset = maps.split([1, len(Cell), 2], dim=1)
        return CellMaps(detection, types, offset, self.region_head(p8))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Also reads files in which the three parts of the fused level are one convolution, `fuse_4.0`."""
        whole = state_dict.pop(f"{prefix}fuse_4.0.weight", None)
        if whole is not None:
            parts = {"fuse_8": self.fuse_8, "fuse_4": self.fuse_4, "fuse_2": self.fuse_2}
            widths = [conv.weight[0].numel() for conv in parts.values()]
            for (name, conv), part in zip(parts.items(), whole.split(widths, dim=1), strict=True):
                state_dict[f"{prefix}{name}.weight"] = part.reshape(conv.weight.shape)
            for key in [key for key in state_dict if key.startswith(f"{prefix}fuse_4.1.")]:
                state_dict[key.replace("fuse_4.1.", "fused.0.")] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class TurnedNet(nn.Module):
    """The mean of a network's maps over turned and mirrored views of its input: test-time augmentation."""

    def __init__(self, net: nn.Module, n_turns: int) -> None:
        super().__init__()
        self.net, self.n_turns = net, n_turns

    def forward(self, image_B3HW: Tensor) -> CellMaps:
        """As `TilNet.forward`; the means are of logits and offsets."""
        sums = list(self._view(image_B3HW, *TURNS[0]))
        for turn in TURNS[1 : self.n_turns]:
            sums = [s + m for s, m in zip(sums, self._view(image_B3HW, *turn), strict=True)]
        return CellMaps(*(s / self.n_turns for s in sums))

    def _view(self, image: Tensor, swap: bool, mirror_x: bool, mirror_y: bool) -> CellMaps:
        """What the network says of one view, turned back."""
        axes = [axis for axis, mirrored in ((3, mirror_x), (2, mirror_y)) if mirrored]
        seen = image.transpose(2, 3) if swap else image
        maps = [m.flip(axes) for m in self.net(seen.flip(axes))] if axes else list(self.net(seen))
        dx, dy = maps[2][:, :1], maps[2][:, 1:]
        maps[2] = torch.cat([-dx if mirror_x else dx, -dy if mirror_y else dy], dim=1)
        if swap:
            maps = [m.transpose(2, 3) for m in maps]
            maps[2] = maps[2].flip(1)
        return CellMaps(*maps)


def turned(net: nn.Module, n_turns: int) -> nn.Module:
    """`net` with its maps averaged over `n_turns` views; itself for one.

    Raises
    ------
    UsageError : not one of `N_TURNS`.
    """
    if n_turns not in N_TURNS:
        raise UsageError("no such number of turned views", found=n_turns, do=f"use one of {N_TURNS}")
    return net if n_turns == 1 else TurnedNet(net, n_turns)
