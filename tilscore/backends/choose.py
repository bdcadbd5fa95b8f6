"""Which backend runs a model on a device."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from tilscore.backends.base import Backend, Precision
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
    precision : `mixed` computes in bfloat16 where the device can, `full` in float32.

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
        return OpenVinoBackend(graph_of(model, turns), precision, calibration)
    from tilscore.backends.torch_backend import TorchBackend
    from tilscore.nets import turned

    return TorchBackend(turned(model.load(), turns), device, precision, calibration)
