"""Which backend runs a model on a device."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from tilscore.backends.base import Backend, Precision
from tilscore.backends.devices import computes_int8
from tilscore.errors import UsageError

if TYPE_CHECKING:
    from tilscore.modelstore import Model


def make_backend(
    model: Model, device: str, *, turns: int = 1, backend: str = "auto", precision: Precision = "mixed"
) -> Backend:
    """The backend for a device: OpenVINO on a CPU (measured the fastest there), torch elsewhere.

    Parameters
    ----------
    device : as `pick_device` returns it.
    turns : views of each block whose maps are averaged (`nets.turned`).
    backend : `auto`, `torch` or `openvino`.
    precision : `mixed` computes one view in int8 on a CPU, where the model's activations were observed and the
        processor has the kernels, and else in bfloat16 where the device can; `full` in float32.

    Raises
    ------
    UsageError : OpenVINO for a device that is no CPU.
    """
    if backend == "auto":
        backend = "openvino" if device == "cpu" and find_spec("openvino") is not None else "torch"
    calibration = model.config.calibration
    if backend == "openvino":
        from tilscore.backends.graphs import graph_of
        from tilscore.backends.openvino_backend import OpenVinoBackend

        if device != "cpu":
            raise UsageError("openvino runs on the CPU alone", found=f"--device {device}", do="use --backend torch")
        # OpenVINO 2026.4 computes nonsense in int8 where several views share their weights.
        int8 = precision == "mixed" and turns == 1 and computes_int8()
        return OpenVinoBackend(graph_of(model, turns, int8=int8), precision, calibration)
    from tilscore.backends.torch_backend import TorchBackend
    from tilscore.network.nets import turned

    return TorchBackend(turned(model.load(), turns), device, precision, calibration)
