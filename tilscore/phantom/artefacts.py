"""Marker strokes and a patch out of focus."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.phantom.config import PhantomConfig
from tilscore.phantom.fields import PAD, STEP_UM, Fields
from tilscore.phantom.place import Floats

_PEN_OD = {"green": (1.9, 0.55, 1.3), "blue": (2.2, 1.3, 0.35), "black": (2.3, 2.3, 2.2)}
"""Optical density (natural log) of the inks in red, green and blue."""


@dataclass(frozen=True)
class Artefacts:
    """What covers the tissue.

    Parameters
    ----------
    pen_um : rings [n 2] of the strokes, x and y in um; they may reach beyond the slide.
    pen_od : optical density of the ink in red, green and blue.
    blur_um : rings [n 2] of the patches out of focus.
    """

    pen_um: tuple[Floats, ...]
    pen_od: tuple[float, float, float]
    blur_um: tuple[Floats, ...]


def make_artefacts(cfg: PhantomConfig, fields: Fields) -> Artefacts:
    """Plan the artefacts and fill the fields `pen` and `focus` (um from the edge, positive inside)."""
    rng = np.random.default_rng([cfg.seed, 3])
    colour = str(rng.choice(list(_PEN_OD)))
    width, height = (1000 * s for s in cfg.size_mm)
    rows = ((np.arange(fields.stack.shape[1]) - PAD) * STEP_UM)[:, None]
    cols = ((np.arange(fields.stack.shape[2]) - PAD) * STEP_UM)[None, :]
    fields["pen"][:], fields["focus"][:] = -1000.0, -1000.0
    pen: list[Floats] = []
    blur: list[Floats] = []
    for line, half in _strokes(rng, width, height) if cfg.pen else []:
        d = np.min([_to_segment(rows, cols, p, q) for p, q in pairwise(line)], axis=0)
        np.maximum(fields["pen"], np.clip(half - d, -1000, 1000), out=fields["pen"])
        pen.append(_buffer(line, half))
    if cfg.blur:
        cx, cy = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65)
        rx, ry = width * rng.uniform(0.12, 0.18), height * rng.uniform(0.12, 0.18)
        q = np.hypot((cols - cx) / rx, (rows - cy) / ry)
        fields["focus"][:] = (1 - q) * min(rx, ry)
        t = np.linspace(0, 2 * np.pi, 97)
        blur.append(np.column_stack([cx + rx * np.cos(t), cy + ry * np.sin(t)]))
    return Artefacts(tuple(pen), _PEN_OD[colour], tuple(blur))


def _strokes(rng: np.random.Generator, width: float, height: float) -> list[tuple[Floats, float]]:
    """Two marker lines, each with its half width in um: one along the margin, one over the tissue's edge."""
    half = min(220.0, 0.04 * min(width, height))
    t = np.linspace(0, 1, 9)
    wave = 0.012 * height * np.sin(7 * t + rng.uniform(0, 6))
    top = np.column_stack([width * (0.08 + 0.55 * t), height * rng.uniform(0.05, 0.08) + wave])
    angle = rng.uniform(0.9, 1.4)
    start = np.array([width * rng.uniform(0.78, 0.86), height * 0.06])
    along = np.column_stack([np.cos(angle) * t, np.sin(angle) * t]) * 0.38 * min(width, height)
    return [(top, half), (start + along, half * 1.2)]


def _to_segment(y: NDArray[Any], x: NDArray[Any], p: Floats, q: Floats) -> Floats:
    """Distance of the points (y [h 1], x [1 w]) to the segment from `p` to `q` (x, y)."""
    d = q - p
    t = np.clip(((x - p[0]) * d[0] + (y - p[1]) * d[1]) / (d @ d), 0, 1)
    return np.asarray(np.hypot(x - p[0] - t * d[0], y - p[1] - t * d[1]))


def _buffer(line: Floats, half: float) -> Floats:
    from shapely.geometry import LineString

    return np.asarray(LineString(line).buffer(half, quad_segs=6).exterior.coords)
