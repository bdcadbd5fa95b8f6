"""One annotated field, whatever set it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tilscore.labels import UNKNOWN, Cell

UNTYPED = -1
"""Label of a nucleus whose class nobody gave: a nucleus all the same, never a negative."""


@dataclass(frozen=True)
class Sample:
    """An annotated field.

    What a set does not tell must not be taught. A labelled nucleus is always a positive. A pixel without one is a
    negative for detection only where `known`; where it is not, a nucleus of a class outside `complete` may lie there.

    Parameters
    ----------
    name : name of the image within its set.
    source : name of the set.
    image : [h w 3] uint8, RGB.
    mpp : microns per pixel of `image`.
    x_px, y_px : [n] float32, nucleus centres in continuous pixel coordinates (0 = edge of pixel 0).
    label : [n] int8, values of `labels.Cell`, or `UNTYPED`; from a reader also `classes.IGNORED`, which `read_set`
        takes out.
    known : [h w] bool, where a missing nucleus means that there is none; None = everywhere.
    regions : [h w] uint8, values of `labels.Region` or `labels.UNKNOWN`; None = unknown everywhere.
    group : what a split must keep together: the patient where the set tells it, else the image.
    patient : the patient where the set tells it, the same text in every set (TCGA barcode); else "".
    centre : where the slide comes from, e.g. `TCGA-A1`; "" = not told.
    organ, scanner : lower-case words; "" = not told.
    complete : classes of which every nucleus of the field is labelled, even where `known` is False.
    exhaustive : False where a set labels some nuclei only and `known` is what lies right beside them: enough to learn
        from, but a detection elsewhere is neither right nor wrong, unless it is of a `complete` class: of the others,
        recall is all that can be measured.
    unit : what intervals draw again as one, where it is less than `group` (PanNuke: the patch); "" = patient or group.
    n_left_out : nuclei marked on the same slide that no sample holds; told once a slide, with its first sample.
    """

    name: str
    source: str
    image: NDArray[np.uint8]
    mpp: float
    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    label: NDArray[np.int8]
    known: NDArray[np.bool_] | None = None
    regions: NDArray[np.uint8] | None = None
    group: str = ""
    patient: str = ""
    centre: str = ""
    organ: str = ""
    scanner: str = ""
    complete: tuple[Cell, ...] = ()
    exhaustive: bool = True
    unit: str = ""
    n_left_out: int = 0

    def __post_init__(self) -> None:
        if not len(self.x_px) == len(self.y_px) == len(self.label):
            raise ValueError(f"{self.source}/{self.name}: x_px, y_px and label differ in length")
        for name in ("known", "regions"):
            mask = getattr(self, name)
            if mask is not None and mask.shape != self.image.shape[:2]:
                raise ValueError(f"{self.source}/{self.name}: {name} has shape {mask.shape}, image {self.image.shape}")

    def __deepcopy__(self, _memo: dict[int, object]) -> Sample:
        """Itself: it is never changed, and who copies a training task need not copy its pictures."""
        return self

    @property
    def area_mm2(self) -> float:
        """Area of the whole image."""
        return float(self.image.shape[0] * self.image.shape[1] * self.mpp**2 / 1e6)

    @property
    def known_mm2(self) -> float:
        """Area in which every nucleus is labelled."""
        return self.area_mm2 if self.known is None else float(self.known.mean()) * self.area_mm2

    @property
    def annotated(self) -> bool:
        """Whether anything is known: a nucleus, ground without one, a region, or all nuclei of a class."""
        drawn = self.regions is not None and bool((self.regions != UNKNOWN).any())
        return drawn or len(self.label) > 0 or self.known_mm2 > 0 or bool(self.complete)
