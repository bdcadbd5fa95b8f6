"""Settings of the spatial statistics."""

from __future__ import annotations

from dataclasses import dataclass, field

from tilscore.config import check_ranges
from tilscore.spatial.border import BorderConfig


@dataclass(frozen=True)
class SpatialConfig:
    """Distances and sizes of the spatial statistics; the same for every slide, so that slides can be compared."""

    max_um: float = 300.0
    """Pairs of cells are looked at up to this distance: a core is 800 um wide or more."""
    step_um: float = 8.0
    """Width of the bins of pair distances: a nucleus."""
    nearest_um: tuple[float, ...] = (10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0)
    """Distances at which the nearest-neighbour distribution is told."""
    border: BorderConfig = field(default_factory=BorderConfig)
    hotspot_um: float = 200.0
    """Side of the squares of the hotspots; a neighbourhood is 3 x 3 of them: 0.36 mm2, about a x 20 field."""
    hotspot_fdr: float = 0.05
    """False discovery rate of the hotspots."""
    min_share: float = 0.25
    """Squares with less than this share of window are left out."""
    mixing_um: tuple[float, ...] = (50.0, 100.0, 200.0)
    """Sides of the squares of Morisita-Horn: contact, neighbourhood, architecture."""
    unevenness_um: tuple[float, ...] = (100.0, 200.0, 500.0)
    """Sides of the squares of unevenness."""
    cluster_um: float = 20.0
    """Two TILs this near are linked: two diameters."""
    cluster_min_tils: int = 8
    """A TIL with this many within `cluster_um`, itself included, is inside a cluster: 6,400 per mm2 around it."""
    min_tils: int = 10
    """With fewer TILs nothing is said of their pattern."""
    max_exact: int = 200_000
    """Nearest distances are taken of at most this many cells of a kind, drawn at random; neighbours are all cells."""
    seed: int = 0
    """Of what is drawn at random."""

    def __post_init__(self) -> None:
        distances = {"max_um": (10, 5000), "step_um": (1, self.max_um / 2), "nearest_um": (1, 5000)}
        sides = dict.fromkeys(("hotspot_um", "mixing_um", "unevenness_um"), (10, 5000))
        shares = {"hotspot_fdr": (0, 1), "min_share": (0.01, 1)}
        cells = {"cluster_um": (1, 500), "cluster_min_tils": (2, 10_000), "min_tils": (2, 1e6), "max_exact": (100, 1e7)}
        check_ranges(self, "spatial", **distances, **sides, **shares, **cells, seed=(0, 2**32))
