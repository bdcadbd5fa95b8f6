"""Models for other programs: ONNX, TorchScript, tiatoolbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import openvino
import pytest
import tifffile
import torch
from tiny_model import tiny_model

from tilscore.cli import main
from tilscore.errors import ModelError
from tilscore.files import sha256
from tilscore.modelstore import Model, find_model
from tilscore.modelstore.export import OPSET, export_model
from tilscore.network.nets import CellMaps, TilNet
from tilscore.phantom import training_tile


def test_exports_give_the_networks_outputs_at_any_size(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "small")
    model = find_model(str(folder))
    assert main(["models", "export", str(folder), "--out", str(tmp_path / "out")]) == 0
    image = torch.rand(3, 3, 160, 96, generator=torch.Generator().manual_seed(1)) * 255
    with torch.inference_mode():
        want = [m.numpy() for m in model.load()(image)]
    sheet = json.loads((tmp_path / "out" / "small.export.json").read_text())
    assert sheet["files"]["onnx"]["sha256"] == sha256(tmp_path / "out" / "small.onnx")
    assert (sheet["input"]["layout"], sheet["input"]["range"], sheet["opset"]) == ("NCHW", [0, 255], OPSET)
    core = openvino.Core()
    compiled = core.compile_model(str(tmp_path / "out" / "small.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    onnx_maps = compiled([image.numpy()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.load(str(tmp_path / "out" / "small.torchscript"))
    for i, name in enumerate(o["name"] for o in sheet["outputs"]):
        assert onnx_maps[name].shape == want[i].shape
        np.testing.assert_allclose(onnx_maps[name], want[i], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(script(image)[i].numpy(), want[i], rtol=1e-4, atol=1e-4)


def test_an_export_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_model(tmp_path / "small")

    class Frozen(TilNet):
        """Adds what a trace freezes: a number that depends on the size of the input."""

        def forward(self, image_B3HW: torch.Tensor) -> CellMaps:
            maps = super().forward(image_B3HW)
            return maps._replace(detection_B1hw=maps.detection_B1hw + float(image_B3HW.shape[2]))

    def load(_: Model) -> TilNet:
        torch.manual_seed(0)
        return Frozen().eval()

    monkeypatch.setattr(Model, "load", load)
    warnings.simplefilter("ignore")  # the tracer says itself that this net cannot be traced
    with pytest.raises(ModelError, match="does not give the network's outputs"):
        export_model(find_model(str(folder)), tmp_path / "out", ("torchscript",))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.skipif("TILSCORE_SLOW" not in os.environ, reason="imports tiatoolbox, up to 40 s; set TILSCORE_SLOW")
def test_tiatoolbox_finds_the_same_cells(tmp_path: Path) -> None:
    """One small slide through NucleusDetector and through this project, in a process of its own."""
    image = training_tile(seed=3, size_px=600, mpp=0.5)[0]
    options = {"tile": (128, 128), "photometric": "rgb", "compression": "deflate"}
    tifffile.imwrite(tmp_path / "s.tif", image, **options, resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    code = """
import numpy as np, zarr
from pathlib import Path
from scipy.spatial import cKDTree
from tilscore.backends.torch_backend import TorchBackend
from tilscore.infer import InferConfig, infer_slide
from tilscore.modelstore import find_model
from tilscore.modelstore.tiatoolbox import as_model_abc
from tilscore.raster import Raster
from tilscore.slide import SlideSpec, open_slide
from tiatoolbox.models.engine.nucleus_detector import NucleusDetector

model = find_model("tilscore-lite")
adapted = as_model_abc(model, patch_px=256)
assert adapted.class_dict == {0: "inflammatory", 1: "epithelial", 2: "stromal", 3: "other"}
detector = NucleusDetector(model=adapted, weights=None, batch_size=2, device="cpu", verbose=False)
found = detector.run([Path("s.tif")], patch_mode=False, ioconfig=adapted.ioconfig, save_dir=Path("out"),
                     output_type="zarr", auto_get_mask=False)
group = zarr.open(str(next(iter(found.values()))), mode="r")
theirs = np.stack([(group["x"][:] + 0.5) * 0.5, (group["y"][:] + 0.5) * 0.5, group["classes"][:] * 99], 1)

with open_slide(Path("s.tif")) as slide:
    grid = slide.level0.at(8.0)
    tissue = Raster(np.ones(grid.shape, np.uint8), grid)
    cfg = InferConfig(block_um=128, workers=0, white_balance=False)
    backend = TorchBackend(model.load(), "cpu", "full", model.config.calibration)
    cells = infer_slide(SlideSpec("s", Path("s.tif")), slide, tissue, backend, cfg,
                        threshold=model.config.detection_threshold).cells
ours = np.stack([cells.x_um, cells.y_um, cells.label * 99.0], 1)

def away(xyc):  # from the edge, beyond which the two readers see different white
    return xyc[((xyc[:, :2] > 32) & (xyc[:, :2] < 300 - 32)).all(1)]

def share_in(some, others):  # same class within 1 um: the engine rounds to pixels of 0.5 um
    return (cKDTree(others).query(some)[0] < 1.0).mean()

shares = share_in(away(ours), theirs), share_in(away(theirs), ours)
print(len(ours), len(theirs), shares)
assert len(away(ours)) > 100
assert min(shares) >= 0.99, shares
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=env, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
