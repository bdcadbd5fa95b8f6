"""Which nuclei lie where: lymphocytes in exact numbers, nests, fibroblasts along the fibres, vessels, fat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tilscore.labels import Region
from tilscore.phantom.config import PhantomConfig
from tilscore.phantom.fields import PAD, STEP_UM, Fields
from tilscore.phantom.nuclei import N_ANGLES, Bank, Kind
from tilscore.phantom.place import Floats, Nuclei, add_apart
from tilscore.phantom.texture import lattice_noise
from tilscore.raster import Raster

Points = NDArray[np.float32]


def populate(cfg: PhantomConfig, regions: Raster, fields: Fields, bank: Bank) -> tuple[Nuclei, Nuclei, Floats]:
    """All nuclei, the litter that does not count, and the centres of the fat cells ([n 2] x, y in um).

    Raises
    ------
    ValueError : there is no room for the TILs asked for.
    """
    rngs = [np.random.default_rng([cfg.seed, 2, k]) for k in range(6)]
    inside = Chooser(regions, fields)
    vessels = _capillaries(rngs[4], inside, bank)
    adipocytes = _adipocytes(rngs[3], inside)
    nuclei = _inflammatory(cfg, rngs[0], inside, bank, vessels)
    nuclei = Nuclei.concat([nuclei, _tumour_nuclei(rngs[1], inside, bank, nuclei)])
    flat = [_around_vessels(rngs[5], inside, bank, vessels), _on_walls(rngs[5], inside, bank, adipocytes)]
    spindles = Nuclei.concat([*flat, _fibroblasts(cfg, rngs[2], inside, bank)])
    spindles = spindles[fields.nearest("tissue", spindles.y_um, spindles.x_um) > 6]
    spindles = spindles[add_apart(Nuclei.concat([vessels, nuclei]), spindles, bank)]
    litter = Nuclei.concat([vessels, _debris(rngs[4], inside, bank)])
    return Nuclei.concat([nuclei, spindles]), litter, adipocytes


class Chooser:
    """Random points within regions of the map."""

    def __init__(self, regions: Raster, fields: Fields) -> None:
        self.regions, self.fields, self.grid = regions, fields, regions.grid

    def area_mm2(self, *values: int) -> float:
        return self.regions.area_mm2(*values)

    def pixels(self, region: Region) -> tuple[Floats, Floats]:
        """Top left corner, y and x in um, of every pixel of one region."""
        j, i = np.nonzero(self.regions.values == region)
        return self.grid.to_um(j), self.grid.to_um(i)

    def jittered(self, rng: np.random.Generator, y: Floats, x: Floats) -> tuple[Points, Points]:
        """A point in each of these pixels, off its border, so that rounding cannot move it out."""
        shift = rng.uniform(0.01, 0.99, (2, len(y))) * self.grid.mpp
        return (y + shift[0]).astype(np.float32), (x + shift[1]).astype(np.float32)


def _inflammatory(cfg: PhantomConfig, rng: np.random.Generator, inside: Chooser, bank: Bank, vessels: Nuclei) -> Nuclei:
    """Exactly the TILs asked for in the stroma, in clumps and rather near the tumour, and those in the nests."""
    out = Nuclei.empty()
    fields = inside.fields
    shape = (fields.stack.shape[1], fields.stack.shape[2])
    clumps = 1.0 * lattice_noise(rng, shape, STEP_UM, 70) + 0.8 * lattice_noise(rng, shape, STEP_UM, 220)
    plan = ((Region.STROMA, cfg.til_density_per_mm2, 1.15), (Region.TUMOUR, cfg.itil_density_per_mm2, 0.4))
    for region, density, contrast in plan:
        y, x = inside.pixels(region)
        j, i = (np.round((c + inside.grid.mpp / 2) / STEP_UM + PAD).astype(np.int64) for c in (y, x))
        near = np.clip(fields["tumour"][j, i] / 30, -1, 0)
        weight = np.exp(contrast * np.clip(clumps[j, i], -2.5, 2.2) + 0.5 * near)
        n = round(density * inside.area_mm2(region))
        there = Nuclei.concat([vessels, out])
        out = Nuclei.concat([out, _exactly(n, rng, inside, (y, x), weight, cfg.plasma_frac, bank, there)])
    return out


def _exactly(
    n: int,
    rng: np.random.Generator,
    inside: Chooser,
    pixels: tuple[Floats, Floats],
    weight: Floats,
    plasma_frac: float,
    bank: Bank,
    fixed: Nuclei,
) -> Nuclei:
    """`n` lymphocytes and plasma cells at random pixels by `weight`, which flattens where there is no more room."""
    out = Nuclei.empty()
    for attempt in range(60):
        missing = n - len(out)
        if missing == 0:
            return out
        odds = np.cumsum(weight ** (0.85**attempt))
        pick = np.searchsorted(odds, rng.random(int(missing * 1.15) + 8) * odds[-1]).clip(0, len(odds) - 1)
        y, x = inside.jittered(rng, pixels[0][pick], pixels[1][pick])
        plasma = rng.random(len(pick)) < plasma_frac
        variant = np.where(
            plasma, rng.choice(bank.of(Kind.PLASMA), len(pick)), rng.choice(bank.of(Kind.LYMPHOCYTE), len(pick))
        )
        new = Nuclei(x, y, variant)
        new = new[add_apart(Nuclei.concat([fixed, out]), new, bank)]
        out = Nuclei.concat([out, new[:missing]])
    raise ValueError(f"no room for {n} inflammatory cells in {len(weight)} pixels")


def _tumour_nuclei(rng: np.random.Generator, inside: Chooser, bank: Bank, fixed: Nuclei) -> Nuclei:
    """Nuclei on a jittered honeycomb within the nests, of the size and spread of the slide's grade."""
    radius, spread = rng.uniform(3.7, 5.1), rng.uniform(0.35, 0.8)
    step = 2 * radius * rng.uniform(1.12, 1.34)
    rows = np.arange(0, inside.grid.height_um, step * np.sqrt(0.75))
    cols = np.arange(0, inside.grid.width_um, step)
    y = np.repeat(rows, len(cols))
    x = (cols[None, :] + (np.arange(len(rows)) % 2)[:, None] * step / 2).ravel()
    y, x = (c + rng.normal(0, 0.17 * step, len(c)) for c in (y, x))
    in_slide = (y >= 0) & (y < inside.grid.height_um) & (x >= 0) & (x < inside.grid.width_um)
    y, x = y[in_slide].astype(np.float32), x[in_slide].astype(np.float32)
    fits = (inside.regions.sample(x, y) == Region.TUMOUR) & (inside.fields.nearest("tumour", y, x) > 2.0)
    fits &= rng.random(len(x)) > 0.03
    y, x = y[fits], x[fits]
    kinds = bank.of(Kind.TUMOUR)
    size = np.sqrt(bank.a_um[kinds] * bank.b_um[kinds])
    odds = np.exp(-0.5 * ((size - radius) / spread) ** 2) + 0.004 * (size > radius)
    new = Nuclei(x, y, rng.choice(kinds, len(x), p=odds / odds.sum()))
    kept = new[add_apart(fixed, new, bank)]
    # a second try with small nuclei fills the gaps of those that had to go
    again = Nuclei(x, y, rng.choice(kinds[: len(kinds) // 6], len(x)))
    return Nuclei.concat([kept, again[add_apart(Nuclei.concat([fixed, kept]), again, bank)]])


def _angles(fields: Fields, y: Points, x: Points) -> NDArray[np.floating]:
    """Direction of the collagen at points [n], radians from x towards y."""
    v = fields["v"]
    j, i = (np.round(c / STEP_UM + PAD).astype(np.int64) for c in (y, x))
    return np.asarray(np.arctan2(-(v[j, i + 1] - v[j, i - 1]), v[j + 1, i] - v[j - 1, i]))


def _spindles(
    rng: np.random.Generator,
    bank: Bank,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    angle: NDArray[np.floating],
) -> Nuclei:
    """Spindle nuclei of random size at these places, in the bank's nearest direction."""
    kinds = bank.of(Kind.SPINDLE)
    turn = np.round(angle / (np.pi / N_ANGLES)).astype(np.int64) % N_ANGLES
    size = rng.integers(0, len(kinds) // N_ANGLES, len(turn))
    return Nuclei(x.astype(np.float32), y.astype(np.float32), kinds[turn + N_ANGLES * size])


def _fibroblasts(cfg: PhantomConfig, rng: np.random.Generator, inside: Chooser, bank: Bank) -> Nuclei:
    """Spindles along the collagen."""
    y, x = inside.pixels(Region.STROMA)
    n = round(cfg.fibroblasts_per_mm2 * 1.15 * inside.area_mm2(Region.STROMA))
    pick = rng.integers(0, max(len(y), 1), n)
    y32, x32 = inside.jittered(rng, y[pick], x[pick])
    return _spindles(rng, bank, x32, y32, _angles(inside.fields, y32, x32) + rng.normal(0, 0.22, n))


def _capillaries(rng: np.random.Generator, inside: Chooser, bank: Bank) -> Nuclei:
    """Small vessels in the stroma, off its edges."""
    y, x = inside.pixels(Region.STROMA)
    pick = rng.integers(0, max(len(y), 1), round(45 * inside.area_mm2(Region.STROMA)))
    y32, x32 = inside.jittered(rng, y[pick], x[pick])
    f = inside.fields
    room = (f.nearest("tumour", y32, x32) < -12) & (f.nearest("fat", y32, x32) < -12)
    room &= f.nearest("tissue", y32, x32) > 20
    new = Nuclei(x32, y32, rng.choice(bank.of(Kind.CAPILLARY), len(pick)))[room]
    return new[add_apart(Nuclei.empty(), new, bank)]


def _around_vessels(rng: np.random.Generator, inside: Chooser, bank: Bank, vessels: Nuclei) -> Nuclei:
    """Endothelium: two or three flat nuclei along each vessel's wall."""
    v = np.repeat(vessels.variant, 3)
    t = rng.uniform(0, 2 * np.pi, len(v))
    a, b, theta = bank.a_um[v] * 1.06 + 2.0, bank.b_um[v] * 1.06 + 2.0, bank.theta[v]
    dx, dy = a * np.cos(t), b * np.sin(t)
    along = np.arctan2(b * np.cos(t), -a * np.sin(t)) + theta
    x = np.repeat(vessels.x_um, 3) + dx * np.cos(theta) - dy * np.sin(theta)
    y = np.repeat(vessels.y_um, 3) + dx * np.sin(theta) + dy * np.cos(theta)
    new = _spindles(rng, bank, x, y, along)
    return new[inside.regions.sample(new.x_um, new.y_um) == Region.STROMA]


def _on_walls(rng: np.random.Generator, inside: Chooser, bank: Bank, adipocytes: Floats) -> Nuclei:
    """Flat nuclei on some walls between fat cells."""
    if len(adipocytes) < 5:
        return Nuclei.empty()
    _, index = cKDTree(adipocytes).query(adipocytes, k=3)
    near = rng.integers(1, 3, len(adipocytes))
    other = adipocytes[index[np.arange(len(index)), near]]
    middle, across = (adipocytes + other) / 2, other - adipocytes
    new = _spindles(rng, bank, middle[:, 0], middle[:, 1], np.arctan2(across[:, 0], -across[:, 1]))
    some = (rng.random(len(new)) < 0.35) & (inside.regions.sample(new.x_um, new.y_um) == Region.FAT)
    return new[some]


def _adipocytes(rng: np.random.Generator, inside: Chooser) -> Floats:
    """[n 2] x, y of fat cells 45 to 75 um apart."""
    y, x = inside.pixels(Region.FAT)
    if len(y) == 0:
        return np.zeros((0, 2))
    step = 58.0
    key = np.round(y / (step * 0.87)).astype(np.int64) * 1_000_003 + np.round(
        (x + (np.round(y / (step * 0.87)) % 2) * step / 2) / step
    ).astype(np.int64)
    _, first = np.unique(key, return_inverse=True)
    count = np.bincount(first)
    cx, cy = np.bincount(first, x) / count, np.bincount(first, y) / count
    return np.column_stack([cx, cy]) + rng.normal(0, 9.0, (len(count), 2))


def _debris(rng: np.random.Generator, inside: Chooser, bank: Bank) -> Nuclei:
    """Remains of nuclei within necrosis."""
    y, x = inside.pixels(Region.NECROSIS)
    n = round(9000 * inside.area_mm2(Region.NECROSIS))
    if n == 0:
        return Nuclei.empty()
    pick = rng.integers(0, len(y), n)
    y32, x32 = inside.jittered(rng, y[pick], x[pick])
    return Nuclei(x32, y32, rng.choice(bank.of(Kind.DEBRIS), n))
