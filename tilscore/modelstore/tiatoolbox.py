"""A model for tiatoolbox's NucleusDetector. Importing this file imports tiatoolbox, which takes many seconds.

>>> detector = NucleusDetector(model=adapted, weights=None)
>>> detector.run([slide], patch_mode=False, ioconfig=adapted.ioconfig, ...)
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tilscore.modelstore.store import Model
from tilscore.network.config import CELL_STRIDE, SIZE_MULTIPLE
from tilscore.network.nets import CellMaps
from tilscore.network.peaks import Peaks, find_peaks
from tilscore.slide.tiatoolbox_reader import logging_kept

with logging_kept(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.models_abc import ModelABC

HALO_PX = 64
"""What is read around a patch, at 0.5 um/px: as in tilscore's own runs."""


def as_model_abc(model: Model, *, patch_px: int = 1024) -> CellModel:
    """A model that tiatoolbox's engines run.

    Parameters
    ----------
    patch_px : side of what one patch gives, at 0.5 um/px; rounded to the network's multiple.

    Returns
    -------
    The model; its `ioconfig` goes to the engine's `run`.
    """
    return CellModel(model, patch_px)


class CellModel(ModelABC):
    """The network with its cells as points: each patch gives a map that is 0 but at the centres of cells.

    The cells are found within the patch, where the network's maps are: neither they nor their classes pass through the
    engine's canvas, and the patches' own centres tile the slide, so that no cell is found twice.
    """

    min_distance = 1
    """Pixels around a tile that the engine hands to `postproc`, which needs none."""
    tile_shape = (2048, 2048)
    """Height and width of the tiles that `postproc` gets."""

    def __init__(self, model: Model, patch_px: int) -> None:
        super().__init__()
        self.net = model.load()
        self.threshold = model.config.detection_threshold
        self.calibration = model.config.calibration
        self.class_dict = dict(enumerate(model.config.cell_classes))
        out = max(1, round(patch_px / SIZE_MULTIPLE)) * SIZE_MULTIPLE
        at = [{"units": "mpp", "resolution": model.config.mpp}]
        self.ioconfig = IOSegmentorConfig(
            input_resolutions=at,
            output_resolutions=at,
            save_resolution=at[0],
            patch_input_shape=(out + 2 * HALO_PX, out + 2 * HALO_PX),
            patch_output_shape=(out, out),
            stride_shape=(out, out),
        )

    def forward(self, image_B3HW: Tensor, *_: Any, **__: Any) -> CellMaps:
        """As `TilNet.forward`: RGB, 0 to 255."""
        maps: CellMaps = self.net(image_B3HW)
        return maps

    @staticmethod
    def infer_batch(model: nn.Module, batch_data: Tensor, *, device: str) -> NDArray[np.float32]:
        """Patches [b H W 3], 0 to 255, on the CPU, to points [b h w 4] of the patches' middles.

        A channel a class; a point's value is P(nucleus) * P(class), as `prob` of `cells.parquet`.
        """
        own = cast("CellModel", getattr(model, "module", model))
        model.eval()
        with torch.inference_mode():
            maps = model(batch_data.to(device, torch.float32).permute(0, 3, 1, 2).contiguous())
        arrays = [m.float().cpu().numpy() for m in maps]
        height, width = batch_data.shape[1:3]
        points = [
            _draw(
                find_peaks(d[0], t, o, threshold=own.threshold, stride=CELL_STRIDE, calibration=own.calibration),
                (height, width, len(own.class_dict)),
            )
            for d, t, o in zip(*arrays[:3], strict=True)
        ]
        return np.stack(points)[:, HALO_PX : height - HALO_PX, HALO_PX : width - HALO_PX]

    @staticmethod
    def preproc(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels as they are: the network scales them."""
        return image

    def postproc(self, block: NDArray[np.float32], threshold_abs: float | None = None, **_: Any) -> NDArray[np.float32]:
        """Points [h w 4] of a tile; `threshold_abs` of the engine leaves out those of a lower value."""
        return np.where(block >= threshold_abs, block, np.float32(0)) if threshold_abs else block


def _draw(peaks: Peaks, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """A map of the shape given, with each cell's value at the pixel and the class that it has."""
    out = np.zeros(shape, np.float32)
    row = np.clip(np.floor(peaks.y_px).astype(np.int64), 0, shape[0] - 1)
    col = np.clip(np.floor(peaks.x_px).astype(np.int64), 0, shape[1] - 1)
    out[row, col, peaks.types.argmax(axis=1)] = peaks.detection * peaks.types.max(axis=1, initial=0)
    return out
