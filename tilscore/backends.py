"""What runs the network: torch on any device, or OpenVINO on a CPU. Blocks of pixels in, cells and regions out."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tilscore.errors import ModelError, UsageError
from tilscore.labels import Cell
from tilscore.modelcard import CELL_STRIDE, SIZE_MULTIPLE, Calibration
from tilscore.nets import CellMaps
from tilscore.peaks import IDENTITY, RADIUS_PX, Peaks, find_peaks, lowest_logit, operate, refine

Precision = Literal["mixed", "full"]


@dataclass(frozen=True)
class BlockResult:
    """What the network says of one block: its cells, and its regions [h/8 w/8] uint8."""

    peaks: Peaks
    regions: NDArray[np.uint8]


class Backend(Protocol):
    """Runs one network."""

    name: str
    batch: int
    """Blocks per call that use the device well."""
    readers: int
    """Processes that read slides fast enough for it."""

    def detect(self, images: NDArray[np.uint8], threshold: float) -> list[BlockResult]:
        """Cells and regions of blocks [b h w 3] at 0.5 um/px; h and w multiples of 32."""
        ...


def pick_device(wanted: str) -> str:
    """`auto` is cuda, then mps, then cpu.

    Raises
    ------
    UsageError : the device is not here.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, there in here.items() if there)
    kind, _, number = wanted.partition(":")
    n_devices = torch.cuda.device_count() if kind == "cuda" else 1
    if not here.get(kind, False) or (":" in wanted and not (number.isdecimal() and int(number) < n_devices)):
        have = ", ".join(name for name, there in here.items() if there)
        raise UsageError("no such device on this machine", found=wanted, do=f"use one of: auto, {have}")
    return wanted


def make_backend(
    net: nn.Module,
    device: str,
    *,
    backend: str = "auto",
    precision: Precision = "mixed",
    calibration: Calibration = IDENTITY,
) -> Backend:
    """The backend for a device: OpenVINO on a CPU (measured the fastest there), torch elsewhere.

    Parameters
    ----------
    device : as `pick_device` returns it.
    backend : `auto`, `torch` or `openvino`.
    precision : `mixed` computes in bfloat16 where the device can, `full` in float32.
    calibration : the model's.

    Raises
    ------
    UsageError : OpenVINO for a device that is no CPU.
    """
    if backend == "auto":
        backend = "openvino" if device == "cpu" and _has_openvino() else "torch"
    if backend == "openvino":
        if device != "cpu":
            raise UsageError("openvino runs on the CPU alone", found=f"--device {device}", do="use --backend torch")
        return OpenVinoBackend(net, precision, calibration)
    return TorchBackend(net, device, precision, calibration)


def native_bfloat16(device: str) -> bool:
    """Whether a device, as `pick_device` returns it, computes in bfloat16 and does not emulate it."""
    if device != "cpu":
        return True
    has = torch.cpu.get_capabilities()
    return any(bool(has.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _has_openvino() -> bool:
    from importlib.util import find_spec

    return find_spec("openvino") is not None


class TorchBackend:
    """The network in torch; on a GPU the peaks are found there and only points come back."""

    def __init__(
        self, net: nn.Module, device: str, precision: Precision = "mixed", calibration: Calibration = IDENTITY
    ) -> None:
        self.calibration = calibration
        self.name = f"torch-{device}"
        self.device = torch.device(device)
        self.batch, self.readers = (1, 1) if self.device.type == "cpu" else (8, min(8, cpu_count()))
        self.net = net.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mixed = precision == "mixed" and self.device.type == "cuda"

    def detect(self, images: NDArray[np.uint8], threshold: float) -> list[BlockResult]:
        """As `Backend.detect`; halves the batch when the device's memory is too small."""
        try:
            maps = self._forward(images)
        except torch.OutOfMemoryError as err:
            torch.cuda.empty_cache()
            if len(images) == 1:
                do = "use a smaller --block-um, or --device cpu"
                raise ModelError("not enough memory on the device", where=self.device, do=do) from err
            half = len(images) // 2
            return self.detect(images[:half], threshold) + self.detect(images[half:], threshold)
        if self.device.type == "cpu":
            return _results([m.numpy() for m in maps], threshold, self.calibration)
        return _results_on_device(maps, threshold, self.calibration)

    def _forward(self, images: NDArray[np.uint8]) -> CellMaps:
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            batch = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float()
            return CellMaps(*(m.float() for m in self.net(batch)))


class _FromPixels(nn.Module):
    """The network fed with [b h w 3] uint8, so that OpenVINO folds the conversion into its first layer."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images_BHW3: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        maps = self.net(images_BHW3.permute(0, 3, 1, 2).float())
        return maps.detection_B1hw, maps.types_BChw, maps.offset_B2hw, maps.regions_BRhw


class OpenVinoBackend:
    """The network compiled for this CPU, once for blocks of every size."""

    def __init__(self, net: nn.Module, precision: Precision = "mixed", calibration: Calibration = IDENTITY) -> None:
        self.calibration = calibration
        self.name = "openvino-cpu"
        self.batch = self.readers = 1
        self._net = _FromPixels(net.eval().cpu())
        self._precision = "bf16" if precision == "mixed" else "f32"

    def detect(self, images: NDArray[np.uint8], threshold: float) -> list[BlockResult]:
        """As `Backend.detect`."""
        out = []
        for image in images:
            self._request.infer([image[None]], share_inputs=True)
            maps = [self._request.get_output_tensor(i).data for i in range(4)]
            out += _results(maps, threshold, self.calibration)
        return out

    @cached_property
    def _request(self) -> Any:
        import openvino as ov

        logging.getLogger("openvino").setLevel(logging.ERROR)
        # Traced on a small example, then freed of its size: tracing at full size would take GBs.
        example = torch.zeros((1, SIZE_MULTIPLE, SIZE_MULTIPLE, 3), dtype=torch.uint8)
        model = ov.convert_model(self._net, example_input=example)
        model.reshape([1, -1, -1, 3])
        options = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": cpu_count(),
            "PERFORMANCE_HINT": "LATENCY",
            # Kernels of about ten sizes are kept: without a limit, memory grows by 4 MB with each new size.
            "CPU_RUNTIME_CACHE_CAPACITY": 1000,
        }
        return ov.Core().compile_model(model, "CPU", options).create_infer_request()


def _results(
    maps: list[NDArray[np.float32]], threshold: float, calibration: Calibration = IDENTITY
) -> list[BlockResult]:
    out = []
    for d, t, o, r in zip(*(np.asarray(m, np.float32) for m in maps), strict=True):
        peaks = find_peaks(d[0], t, o, threshold=threshold, stride=CELL_STRIDE, calibration=calibration)
        out.append(BlockResult(peaks, r.argmax(axis=0).astype(np.uint8)))
    return out


def _results_on_device(maps: CellMaps, threshold: float, calibration: Calibration = IDENTITY) -> list[BlockResult]:
    """The same as `_results`, with the peaks found by max-pooling where the maps are."""
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
