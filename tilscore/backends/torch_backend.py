"""The network in torch, on any device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tilscore.backends.base import BlockResult, Precision, results_of
from tilscore.backends.devices import cpu_count
from tilscore.errors import ModelError
from tilscore.labels import Cell
from tilscore.network.config import CELL_STRIDE, REGION_STRIDE, Calibration
from tilscore.network.nets import CellMaps
from tilscore.network.peaks import IDENTITY, RADIUS_PX, lowest_logit, operate, refine

SIDE_PX = 256
"""Sides of what a GPU is shown are multiples of this: few shapes, see `TorchBackend`."""


class TorchBackend:
    """The network in torch; on a GPU the peaks are found there and only points come back.

    cuDNN plans its kernels anew for each shape of a batch, which takes some two seconds where the computing takes some
    hundredths. So a GPU sees each slide in batches of one shape: blocks are filled up with glass to the largest side so
    far (they come largest first), and batches of several blocks to full ones.
    """

    def __init__(
        self, net: nn.Module, device: str, precision: Precision = "mixed", calibration: Calibration = IDENTITY
    ) -> None:
        self.calibration = calibration
        self.name = f"torch-{device}"
        self.device = torch.device(device)
        self.batch, self.readers = (1, 1) if self.device.type == "cpu" else (8, min(8, cpu_count()))
        self.net = net.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mixed = precision == "mixed" and self.device.type == "cuda"
        self.uniform = self.device.type == "cuda"
        self._full, self._side = self.batch, 0

    def detect(self, images: NDArray[np.uint8], threshold: float) -> list[BlockResult]:
        """As `Backend.detect`; halves the batch when the device's memory is too small."""
        try:
            maps = self._forward(images)
        except RuntimeError as err:
            if not _is_of_memory(err):
                raise
            self._give_back()
            if len(images) == 1:
                do = "use a smaller --block-um, or --device cpu"
                raise ModelError("not enough memory on the device", where=self.device, do=do) from err
            half = self._full = len(images) // 2
            return self.detect(images[:half], threshold) + self.detect(images[half:], threshold)
        if self.device.type == "cpu":
            return results_of([m.numpy() for m in maps], threshold, self.calibration)
        return results_on_device(maps, threshold, self.calibration)

    def rest(self) -> None:
        """As `Backend.rest`: other programs may want the device's memory."""
        self._full, self._side = self.batch, 0
        self._give_back()

    def _give_back(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def _forward(self, images: NDArray[np.uint8]) -> CellMaps:
        n, height, width, _ = images.shape
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            batch = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float()
            maps = self.net(self._filled_up(batch) if self.uniform else batch)
        strides = (CELL_STRIDE, CELL_STRIDE, CELL_STRIDE, REGION_STRIDE)
        return CellMaps(*(m[:n, :, : height // s, : width // s].float() for m, s in zip(maps, strides, strict=True)))

    def _filled_up(self, batch_B3HW: Tensor) -> Tensor:
        """The images in the upper left corners of a batch of the shape that this slide's have."""
        n, _, height, width = batch_B3HW.shape
        self._side = max(self._side, -(-max(height, width) // SIDE_PX) * SIDE_PX)
        more = max(self._full - n, 0) if n > 1 else 0
        return F.pad(batch_B3HW, (0, self._side - width, 0, self._side - height, 0, 0, 0, more), value=255.0)


def _is_of_memory(err: RuntimeError) -> bool:
    """Whether a device is out of memory; Apple's says so in words alone."""
    return isinstance(err, torch.OutOfMemoryError) or str(err).startswith("MPS backend out of memory")


def results_on_device(maps: CellMaps, threshold: float, calibration: Calibration = IDENTITY) -> list[BlockResult]:
    """The same as `base.results_of`, with the peaks found by max-pooling where the maps are."""
    d = maps.detection_B1hw
    size = 2 * RADIUS_PX + 1
    peak = (F.max_pool2d(d, size, stride=1, padding=RADIUS_PX) == d) & (d > lowest_logit(threshold, calibration))
    b, _, row, col = peak.nonzero(as_tuple=True)
    values = torch.cat(
        [d[b, :, row, col], maps.offset_B2hw[b, :, row, col].clamp(-1, 1), maps.types_BChw[b, :, row, col]], 1
    )
    points = [t.cpu().numpy() for t in (b, row, col, values)]
    regions = maps.regions_BRhw.argmax(dim=1).to(torch.uint8).cpu().numpy()
    out = []
    for i, region in enumerate(regions):
        own = points[0] == i
        v = points[3][own]
        found = refine(points[1][own], points[2][own], v[:, 1], v[:, 2], v[:, 0], v[:, 3 : 3 + len(Cell)], CELL_STRIDE)
        out.append(BlockResult(operate(found, threshold, calibration), region))
    return out
