"""What a backend is, and how its maps become cells and regions on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tilscore.network.config import CELL_STRIDE, Calibration
from tilscore.network.peaks import IDENTITY, Peaks, find_peaks

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

    def rest(self) -> None:
        """Give back the memory that blocks need, until the next ones come."""
        ...


def results_of(
    maps: Sequence[NDArray[np.float32]], threshold: float, calibration: Calibration = IDENTITY
) -> list[BlockResult]:
    """Cells and regions of the four maps of `nets.CellMaps` [b C h w], as arrays."""
    out = []
    for d, t, o, r in zip(*(np.asarray(m, np.float32) for m in maps), strict=True):
        peaks = find_peaks(d[0], t, o, threshold=threshold, stride=CELL_STRIDE, calibration=calibration)
        out.append(BlockResult(peaks, r.argmax(axis=0).astype(np.uint8)))
    return out
