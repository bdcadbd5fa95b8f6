"""A field of nuclei with a network's findings, whose figures are known."""

from __future__ import annotations

import numpy as np

from tilscore.datasets.sample import Sample
from tilscore.evaluate.predict import FieldResult
from tilscore.labels import Region
from tilscore.network.peaks import Candidates


def toy(
    seed: int = 0, *, name: str = "f", source: str = "toy", n: int = 60, typed: float = 1.0, known: bool = True
) -> FieldResult:
    """A field of 400 x 400 um: nuclei on a wide grid, most found, some misnamed, and some spurious cells."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(20, 380, 20), np.arange(20, 380, 20)), -1).reshape(-1, 2).astype(float)
    spots = grid[rng.permutation(len(grid))[: n + 25]]
    true_um, extra_um = spots[:n], spots[n:]
    label = rng.integers(0, 4, n).astype(np.int8)
    hit = rng.random(n) < 0.85
    said = np.where(rng.random(n) < 0.75, label, rng.integers(0, 4, n))[hit]
    found_um = np.concatenate([true_um[hit] + rng.uniform(-1.5, 1.5, (int(hit.sum()), 2)), extra_um])
    said = np.concatenate([said, rng.integers(0, 4, len(extra_um))])
    types = rng.normal(0, 1, (len(found_um), 4)).astype(np.float32)
    types[np.arange(len(said)), said] += 2
    logit = rng.normal(np.where(np.arange(len(found_um)) < hit.sum(), 1.0, -0.8), 1.2).astype(np.float32)
    shown = np.where(rng.random(n) < typed, label, -1).astype(np.int8)
    x, y = (true_um / 0.5).astype(np.float32).T
    mask = None if known else np.zeros((800, 800), bool)
    image = np.full((800, 800, 3), 230, np.uint8)
    sample = Sample(name, source, image, 0.5, x, y, shown, known=mask, group=name)
    found = Candidates(*(found_um / 0.5).astype(np.float32).T, logit, types)
    regions = rng.integers(0, 50, (len(Region), len(Region)))
    return FieldResult(sample, found, regions, radius_um=3.0, threshold=0.3)


def as_lists(f: FieldResult) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """True and found class of every nucleus and cell (4 = none), and both probabilities, by plain distance.

    Independent of the matching: on this grid no cell is near two nuclei.
    """
    cells = np.flatnonzero(f.kept)
    gap = np.hypot(*(f.true_um[:, None] - f.found_um[None, cells]).transpose(2, 0, 1))
    z = f.found.type_logits[cells].astype(float)
    types = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    named = types.argmax(1)
    nothing = np.full(4, np.nan)
    rows = []
    for t, label in enumerate(f.sample.label):
        near = np.flatnonzero(gap[t] <= 3.0)
        rows.append((label, named[near[0]] if len(near) else 4, types[near[0]] if len(near) else nothing))
    rows += [(4, named[k], types[k]) for k in range(len(cells)) if gap[:, k].min() > 3.0]
    true, found, p = zip(*rows, strict=True)
    return np.array(true), np.array(found), np.stack(p), 1 / (1 + np.exp(-f.found.logit[cells].astype(float)))


def over_confident(seed: int, sharp: float, n: int = 1500, name: str = "f") -> FieldResult:
    """A field whose outcomes follow probabilities p, told as logits `sharp` times too large; 1 mm2 or more."""
    rng = np.random.default_rng(seed)
    xy = np.stack(np.meshgrid(np.arange(50), np.arange(-(-n // 50))), -1).reshape(-1, 2)[:n] * 20.0 + 10
    logit = rng.normal(0.5, 1.5, n)
    types = rng.normal(0, 1.5, (n, 4))
    there = rng.random(n) < 1 / (1 + np.exp(-logit))
    share = np.exp(types) / np.exp(types).sum(1, keepdims=True)
    label = (share.cumsum(1) < rng.random((n, 1))).sum(1).clip(0, 3)
    true = xy[there]
    image = np.zeros((int(xy[:, 1].max()) + 20, 1010, 3), np.uint8)
    x, y = true.astype(np.float32).T
    sample = Sample(name, "toy", image, 1.0, x, y, label[there].astype(np.int8), group=name)
    found = Candidates(
        *(2 * xy).astype(np.float32).T, (sharp * logit).astype(np.float32), (sharp * types).astype(np.float32)
    )
    return FieldResult(sample, found, np.zeros((len(Region), len(Region)), np.int64), threshold=0.3)
