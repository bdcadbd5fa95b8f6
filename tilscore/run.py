"""What all slides of one run share: where results go, the settings of all stages, and the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tilscore.infer import InferConfig
from tilscore.modelstore import DEFAULT_MODEL, Model, find_model
from tilscore.overlay import OverlayConfig
from tilscore.score import ScoreConfig
from tilscore.spatial import SpatialConfig
from tilscore.tissue import TissueConfig

if TYPE_CHECKING:
    from tilscore.backends import Backend


@dataclass(frozen=True)
class RunConfig:
    """Settings of all stages; a YAML file gives any part of them."""

    tissue: TissueConfig = field(default_factory=TissueConfig)
    infer: InferConfig = field(default_factory=InferConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    spatial: SpatialConfig = field(default_factory=SpatialConfig)
    overlay: OverlayConfig = field(default_factory=OverlayConfig)


@dataclass
class Run:
    """What all slides of one run share. The network is loaded when the first slide needs it.

    Parameters
    ----------
    out : results folder. model_name : as for `modelstore.find_model`. device : as for `backends.pick_device`.
    backend_name, precision : as for `backends.make_backend`. progress : show a bar.
    allow_upsampling : take slides coarser than 0.8 um/px. geojson : write `cells.geojson.gz` for QuPath as well.
    """

    out: Path
    cfg: RunConfig = field(default_factory=RunConfig)
    model_name: str = DEFAULT_MODEL
    device: str = "auto"
    backend_name: str = "auto"
    precision: str = "mixed"
    allow_upsampling: bool = False
    progress: bool = False
    geojson: bool = False

    def __post_init__(self) -> None:
        self.out = Path(self.out)

    @cached_property
    def model(self) -> Model:
        return find_model(self.model_name)

    @cached_property
    def backend(self) -> Backend:
        from tilscore.backends import make_backend, pick_device

        return make_backend(
            self.model,
            pick_device(self.device),
            turns=self.cfg.infer.turns,
            backend=self.backend_name,
            precision=self.precision,  # type: ignore[arg-type]
        )
