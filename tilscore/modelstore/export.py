"""A model as ONNX and TorchScript, for other programs: written, read back, and held against the network."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import tilscore
from tilscore.config import as_values
from tilscore.errors import ModelError
from tilscore.files import replacing, sha256, write_json
from tilscore.modelstore.store import Model
from tilscore.network.config import CELL_STRIDE, REGION_STRIDE, SIZE_MULTIPLE

Format = Literal["onnx", "torchscript"]
FORMATS: tuple[Format, ...] = ("onnx", "torchscript")
SUFFIX: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".torchscript"}
OPSET = 17
"""Read by ONNX Runtime from 1.12, OpenVINO from 2022.2 and TensorRT from 8.5."""
TOLERANCE = 1e-4
"""Largest difference of a logit in float32, absolute or relative: sums are taken in another order."""
OUTPUTS = ("detection", "types", "offset", "regions")
_TRACED = (1, 3, 2 * SIZE_MULTIPLE, 3 * SIZE_MULTIPLE)
_CHECKED = ((1, 3, 3 * SIZE_MULTIPLE, SIZE_MULTIPLE), (2, 3, 4 * SIZE_MULTIPLE, 5 * SIZE_MULTIPLE))
"""Batches and sizes other than the traced one, so that a size that was frozen in shows."""


class _Maps(nn.Module):
    """The network with a plain tuple of maps as its output."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        maps = self.net(image)
        return maps.detection_B1hw, maps.types_BChw, maps.offset_B2hw, maps.regions_BRhw


def export_model(model: Model, out: Path, formats: tuple[Format, ...] = FORMATS) -> list[Path]:
    """Write a model for other programs, with `<name>.export.json` that says what goes in and what comes out.

    Parameters
    ----------
    out : folder; the files are called `<name>.onnx`, `<name>.torchscript`, `<name>.export.json`.

    Returns
    -------
    The files, the JSON last.

    Raises
    ------
    ModelError : what was written does not give the network's outputs at every size; nothing is left then.
    """
    net = _Maps(model.load()).eval().requires_grad_(False)  # who runs TorchScript need not know `torch.no_grad`
    paths: list[Path] = []
    files: dict[str, dict[str, str | float]] = {}
    with _quiet(), torch.no_grad():
        for form in formats:
            path = out / (model.config.name + SUFFIX[form])
            with replacing(path) as beside:
                (_write_onnx if form == "onnx" else _write_torchscript)(net, beside, model)
                worst = _compare(net, _runner(form, beside), path)
            paths.append(path)
            files[form] = {"file": path.name, "sha256": sha256(path), "largest_difference": worst}
    sheet = out / f"{model.config.name}.export.json"
    write_json(sheet, {**describe_io(model), "files": files})
    return [*paths, sheet]


def describe_io(model: Model) -> dict[str, Any]:
    """What goes into the exported network and what comes out, for the program that runs it; `config` is the model's."""
    cfg, h, r = model.config, f"height / {CELL_STRIDE}", f"height / {REGION_STRIDE}"
    w, q = h.replace("height", "width"), r.replace("height", "width")
    n_cells, n_regions = len(cfg.cell_classes), len(cfg.region_classes)
    return {
        "tilscore": tilscore.__version__,
        "note": tilscore.NOTE,
        "opset": OPSET,
        "input": {
            "name": "image",
            "layout": "NCHW",
            "dtype": "float32",
            "channels": "RGB",
            "range": [0, 255],
            "mpp": cfg.mpp,
            "shape": ["batch", 3, "height", "width"],
            "height_and_width_multiple_of": SIZE_MULTIPLE,
        },
        "outputs": [
            {"name": "detection", "shape": ["batch", 1, h, w], "is": "logit of a nucleus centre; peaks are nuclei"},
            {"name": "types", "shape": ["batch", n_cells, h, w], "is": "logits of cell_classes"},
            {"name": "offset", "shape": ["batch", 2, h, w], "is": "pixel centre to nucleus centre (x, y), map pixels"},
            {"name": "regions", "shape": ["batch", n_regions, r, q], "is": "logits of region_classes"},
        ],
        "config": as_values(cfg),
    }


def _write_torchscript(net: nn.Module, path: Path, model: Model) -> None:
    traced: Any = torch.jit.trace(net, torch.full(_TRACED, 128.0), check_trace=False)  # `_compare` checks more
    traced.save(str(path), _extra_files={"tilscore.json": json.dumps(describe_io(model))})


def _write_onnx(net: nn.Module, path: Path, model: Model) -> None:
    import onnx

    cells, regions = (
        {0: "batch", 2: "cell_height", 3: "cell_width"},
        {0: "batch", 2: "region_height", 3: "region_width"},
    )
    torch.onnx.export(
        net,
        (torch.full(_TRACED, 128.0),),
        str(path),
        dynamo=False,  # the newer exporter needs a further package, and gives the same graph
        opset_version=OPSET,
        input_names=["image"],
        output_names=list(OUTPUTS),
        dynamic_axes={
            "image": {0: "batch", 2: "height", 3: "width"},
            **{name: regions if name == "regions" else cells for name in OUTPUTS},
        },
    )
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {"tilscore": json.dumps(describe_io(model))})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _runner(form: Format, path: Path) -> Any:
    """What runs a written file: batch in, four arrays out. ONNX runs in OpenVINO, TorchScript in torch."""
    if form == "torchscript":
        script = torch.jit.load(str(path))
        return lambda image: [m.numpy() for m in script(torch.from_numpy(image))]
    from tilscore.backends.openvino_runtime import ov

    core = ov.Core()
    request = core.compile_model(core.read_model(path.read_bytes()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: [request([image])[i] for i in range(len(OUTPUTS))]


def _compare(net: nn.Module, run: Any, path: Path) -> float:
    """The largest difference of a written file's outputs from the network's, over sizes and batches."""
    worst = 0.0
    for i, shape in enumerate(_CHECKED):
        image = np.random.default_rng(i).uniform(0, 255, shape).astype(np.float32)
        want = [m.numpy() for m in net(torch.from_numpy(image))]
        got = run(image)
        worst = max(worst, *(_difference(a, b) for a, b in zip(want, got, strict=True)))
    if not worst <= TOLERANCE:
        raise ModelError("the exported file does not give the network's outputs", where=path, found=f"{worst:.2g}")
    return worst


def _difference(want: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Largest difference, relative to values above 1."""
    if want.shape != got.shape:
        return float("inf")
    return float((abs(want - got) / np.maximum(1, abs(want))).max())


@contextmanager
def _quiet() -> Iterator[None]:
    """torch calls TorchScript deprecated at every step; programs still read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
