"""The network compiled for this CPU by OpenVINO."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tilscore.backends.base import BlockResult, Precision, results_of
from tilscore.backends.devices import cpu_count
from tilscore.backends.openvino_runtime import ov
from tilscore.errors import ModelError
from tilscore.network.config import SIZE_MULTIPLE, Calibration
from tilscore.network.peaks import IDENTITY

if TYPE_CHECKING:
    from torch import nn


class OpenVinoBackend:
    """A graph as `convert` gives it, compiled once for blocks of every size."""

    def __init__(self, graph: ov.Model, precision: Precision = "mixed", calibration: Calibration = IDENTITY) -> None:
        self.calibration = calibration
        rounded = any(op.get_type_name() == "FakeQuantize" for op in graph.get_ops())
        self.name = "openvino-cpu-int8" if rounded else "openvino-cpu"
        self.batch = self.readers = 1
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "mixed" else "f32",
            "INFERENCE_NUM_THREADS": cpu_count(),
            "PERFORMANCE_HINT": "LATENCY",
            # Kernels of about ten sizes are kept: without a limit, memory grows by 4 MB with each new size.
            "CPU_RUNTIME_CACHE_CAPACITY": 1000,
        }
        self._compiled = ov.Core().compile_model(graph, "CPU", options)
        self._request = self._compiled.create_infer_request()

    def detect(self, images: NDArray[np.uint8], threshold: float) -> list[BlockResult]:
        """As `Backend.detect`.

        Raises
        ------
        ModelError : OpenVINO gives up, which it does without memory.
        """
        out = []
        for image in images:
            try:
                self._request.infer([image[None]], share_inputs=True)
            except RuntimeError as err:
                do = "free some memory, or use a smaller --block-um"
                raise ModelError("network cannot be run", where=self.name, found=err, do=do) from err
            maps = [self._request.get_output_tensor(i).data for i in range(4)]
            out += results_of(maps, threshold, self.calibration)
        return out

    def rest(self) -> None:
        """As `Backend.rest`: 0.4 GB, which the score and the overlay of a large slide need for themselves."""
        self._compiled.release_memory()


def convert(net: nn.Module) -> ov.Model:
    """A network as OpenVINO's graph: one block [1 h w 3] uint8 of any size in, the four maps of `nets.CellMaps` out."""
    import torch

    class FromPixels(torch.nn.Module):
        """The network fed with pixels as they are read: OpenVINO folds the conversion into its first layer."""

        def forward(self, images_BHW3: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(net(images_BHW3.permute(0, 3, 1, 2).float()))

        net: nn.Module

    whole = FromPixels()
    whole.net = net.eval().cpu()
    # Traced on a small example, then freed of its size: tracing at full size would take GBs.
    example = torch.zeros((1, SIZE_MULTIPLE, SIZE_MULTIPLE, 3), dtype=torch.uint8)
    with torch.no_grad():
        traced = torch.jit.trace(whole, example, check_trace=False)  # tests compare the graph with the network
    graph = ov.convert_model(traced, example_input=example)
    graph.reshape([1, -1, -1, 3])
    return graph
