"""Spatial statistics of the cells of a slide, each with its reference; they go to `spatial.json`."""

from __future__ import annotations

from tilscore.spatial.config import SpatialConfig
from tilscore.spatial.run import spatial_statistics, write_spatial

__all__ = ["SpatialConfig", "spatial_statistics", "write_spatial"]
