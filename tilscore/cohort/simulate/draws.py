"""The chances of a made cohort: true densities, areas, counts of clustered cells and their intervals, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from tilscore.config import check_ranges
from tilscore.inputs.words import SITES, SPECIMENS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TIMES = ("baseline", "week6", "week12", "post")


@dataclass(frozen=True)
class SimulateConfig:
    """A cohort of known truth. The defaults are sized like a study of 100 patients in which nothing changes."""

    patients: int = 100
    """Patients, each with a baseline."""
    pairs: int = 40
    """Of them, those with a biopsy after progression planned."""
    series: int = 20
    """Of them, those with biopsies at weeks 6 and 12 planned; others than the pairs as long as there are enough."""
    seed: int = 0
    median_density_per_mm2: float = 400.0
    """TILs per mm2 of stroma in the median core at baseline: some 4 % at `points_per_density`, as in HR+ tumours."""
    sd_patient_log: float = 0.8
    """SD between patients of the log density."""
    sd_biopsy_log: float = 0.25
    """SD between biopsies of a patient, on the log scale: another place, another day."""
    sd_block_log: float = 0.1
    """SD between blocks of a biopsy, on the log scale."""
    sd_centre_log: float = 0.1
    """SD between centres (stain, scanner) of the log density; the same for all of a patient's slides."""
    patches_per_mm2: float = 4.0
    """How finely TILs cluster: the density of 1 / this many mm2 varies as an exponential law (1/4: 0.5 x 0.5 mm)."""
    effect_log: Mapping[str, float] = field(default_factory=dict)
    """True change from baseline by time point, added to the log density (0.69 doubles it)."""
    effect_points: Mapping[str, float] = field(default_factory=dict)
    """True change from baseline by time point in points of the calibrated sTIL %; added after `effect_log`."""
    specimen_effect_log: Mapping[str, float] = field(default_factory=lambda: {"resection": 0.4, "excision": 0.3})
    """What a specimen adds to the log density against a core, treatment or not (published: 5 against 10 %)."""
    site_effect_log: Mapping[str, float] = field(default_factory=lambda: {"liver": -0.3, "lymph_node": 0.4})
    """What a site adds to the log density against the breast."""
    specimen_mix: Mapping[str, Mapping[str, float]] = field(
        default_factory=lambda: {
            "baseline": {"core": 0.85, "resection": 0.15},
            "week6": {"core": 1.0},
            "week12": {"core": 1.0},
            "post": {"core": 0.6, "resection": 0.3, "excision": 0.1},
        }
    )
    """Shares of the specimens at each time point."""
    site_mix: Mapping[str, float] = field(
        default_factory=lambda: {"breast": 0.45, "liver": 0.25, "lymph_node": 0.12, "skin": 0.1, "soft_tissue": 0.08}
    )
    """Shares of the sites."""
    same_site_frac: float = 0.7
    """Share of later biopsies that are taken where the baseline was; the others are drawn anew."""
    stroma_mm2: Mapping[str, float] = field(
        default_factory=lambda: {"core": 1.5, "resection": 20.0, "excision": 10.0, "cytology_block": 0.3}
    )
    """Median evaluable stroma of a slide by specimen."""
    sd_area_log: float = 0.5
    """SD of the log of that area."""
    blocks: Mapping[str, int] = field(default_factory=lambda: {"core": 1, "resection": 2, "excision": 1})
    """Blocks of a biopsy by specimen."""
    second_slide_frac: float = 0.2
    """Share of blocks with a second slide, which shows the same tissue."""
    centres: int = 4
    arms: tuple[str, ...] = ("A", "B")
    missing_frac: float = 0.0
    """Share of the planned later biopsies that were not taken, for a patient of average baseline."""
    missing_slope: float = 0.0
    """Log odds of a missing biopsy per SD of the patient's log density; 0 = missing completely at random."""
    failed_frac: float = 0.02
    """Share of slides that cannot be read."""
    not_evaluable_frac: float = 0.04
    """Share of slides without a score."""
    points_per_density: float = 0.01074
    """Points of the calibrated sTIL % per TIL/mm2: 107.4 um2 of stroma a TIL, gaps included."""
    measurement_sd_points: float | None = None
    """If given, a slide's sTIL % is the truth with a Gaussian error of this SD, and no cells are counted."""
    response_corr: float = 0.3
    """Correlation of the latent response with the patient's log density."""
    assay_corr: Mapping[str, float] = field(
        default_factory=lambda: {
            "ihc_cd3_per_mm2": 0.8,
            "ihc_cd8_per_mm2": 0.7,
            "facs_cd8_frac": 0.5,
            "expr_tcell_score": 0.6,
            "pik3ca_mut": -0.2,
        }
    )
    """Correlation of each assay (its log or latent) with the true log density of the biopsy."""
    hazard_ratio: float = 0.75
    """Of death and progression per SD of the patient's log density."""

    def __post_init__(self) -> None:
        if not (
            0 < self.patients <= 100_000 and 0 <= self.pairs <= self.patients and 0 <= self.series <= self.patients
        ):
            raise ValueError("pairs and series must be from 0 to the number of patients (at most 100000)")
        fracs = (self.missing_frac, self.failed_frac, self.not_evaluable_frac, self.same_site_frac)
        if not all(0 <= f < 1 or f == 1 for f in fracs) or self.failed_frac + self.not_evaluable_frac > 1:
            raise ValueError("shares must be from 0 to 1")
        known = set(SPECIMENS), set(SITES)
        if {s for mix in self.specimen_mix.values() for s in mix} - known[0] or set(self.site_mix) - known[1]:
            raise ValueError("unknown specimen or site in a mix")
        mixes = [[*mix.values()] for mix in (*self.specimen_mix.values(), self.site_mix)]
        if not all(0 < sum(mix) <= 1e9 and min(mix) >= 0 for mix in mixes):
            raise ValueError("shares of a mix must be 0 or more, and not all 0")
        if unknown := (set(self.effect_log) | set(self.effect_points)) - set(TIMES):
            raise ValueError(f"no time point {sorted(unknown)[0]!r}: effects are for {', '.join(TIMES)}")
        logs = dict.fromkeys(("effect_log", "specimen_effect_log", "site_effect_log", "missing_slope"), (-10, 10))
        sds = dict.fromkeys(("sd_patient_log", "sd_biopsy_log", "sd_block_log", "sd_centre_log", "sd_area_log"), (0, 2))
        points = {"effect_points": (-100, 100), "measurement_sd_points": (0, 100), "points_per_density": (1e-4, 1)}
        tissue = {"median_density_per_mm2": (1, 1e5), "patches_per_mm2": (0.01, 1e4), "stroma_mm2": (0.01, 1e4)}
        counts = {"seed": (0, 2**32), "blocks": (1, 100), "centres": (0, 10_000), "second_slide_frac": (0, 1)}
        corrs = {"response_corr": (-1, 1), "assay_corr": (-1, 1), "hazard_ratio": (0.01, 100)}
        check_ranges(self, "simulate", **logs, **sds, **points, **tissue, **counts, **corrs)


@dataclass(frozen=True)
class Drawn:
    """Biopsies of one time point; all arrays have the shape of the patients.

    Parameters
    ----------
    specimen, site : index into `words.SPECIMENS` and `words.SITES`.
    density_per_mm2 : true density of the biopsy, effects of specimen and site included.
    plain_per_mm2 : the same as if it were a core of the breast: what a paired analysis should recover.
    """

    specimen: Ints
    site: Ints
    density_per_mm2: Floats
    plain_per_mm2: Floats


def draw_biopsies(
    cfg: SimulateConfig, rng: np.random.Generator, patient_log: Floats, first_site: Ints | None, time: str
) -> Drawn:
    """Specimen, site and true density of each patient's biopsy at one time point.

    Parameters
    ----------
    patient_log : any shape; the patient's log density (1/mm2), the centre's part included.
    first_site : sites at baseline; None draws them.
    """
    shape = patient_log.shape
    mix = cfg.specimen_mix.get(time, {"core": 1.0})
    specimen = _choose(rng, mix, SPECIMENS, shape)
    site = _choose(rng, cfg.site_mix, SITES, shape)
    if first_site is not None:
        site = np.where(rng.random(shape) < cfg.same_site_frac, first_site, site)
    log = patient_log + cfg.effect_log.get(time, 0.0) + cfg.sd_biopsy_log * rng.standard_normal(shape)
    points = cfg.effect_points.get(time, 0.0) / cfg.points_per_density
    plain = np.maximum(np.exp(log) + points, 1.0)
    factor = _effects(cfg.specimen_effect_log, SPECIMENS)[specimen] + _effects(cfg.site_effect_log, SITES)[site]
    return Drawn(specimen, site, plain * np.exp(factor), plain)


def draw_areas(cfg: SimulateConfig, rng: np.random.Generator, specimen: Ints) -> Floats:
    """Evaluable stroma of slides in mm2, log-normal about the specimen's median."""
    medians = np.array([cfg.stroma_mm2.get(name, 1.0) for name in SPECIMENS])
    areas: Floats = medians[specimen] * np.exp(cfg.sd_area_log * rng.standard_normal(specimen.shape))
    return np.maximum(areas, 0.02)


def draw_cores(rng: np.random.Generator, specimen: Ints) -> Floats:
    """Number of cores on slides; NaN where the specimen is no core."""
    return np.where(specimen == SPECIMENS.index("core"), 1.0 + rng.poisson(1.5, specimen.shape), np.nan)


def draw_counts(rng: np.random.Generator, density_per_mm2: Floats, area_mm2: Floats, patches_per_mm2: float) -> Floats:
    """Counts of clustered cells: negative binomial, Poisson about a gamma of one exponential patch per 1 / patches mm2.

    Mean density * area; variance mean + mean^2 / (patches * area), so clusters average out as the area grows.
    """
    shape = patches_per_mm2 * area_mm2
    clumped = density_per_mm2 * area_mm2 * rng.gamma(shape) / shape
    counts: Floats = rng.poisson(clumped).astype(float)
    return counts


def count_interval(counts: Floats, area_mm2: Floats, patches_per_mm2: float) -> tuple[Floats, Floats]:
    """95 % interval of the density: a gamma law with the variance of `draw_counts`, its shape taken at the estimate.

    Without any cell, low is 0 and high the density at which that has a chance of 2.5 %.
    """
    some = np.maximum(counts, 1.0)
    shape = 1 / (1 / some + 1 / (patches_per_mm2 * area_mm2))
    density = counts / area_mm2
    with np.errstate(over="ignore"):
        none = patches_per_mm2 * (0.025 ** (-1 / (patches_per_mm2 * area_mm2)) - 1)
    low = density * shape / gammaincinv(shape, 0.975)
    high = np.where(counts > 0, density * shape / gammaincinv(shape, 0.025), none)
    return low, np.minimum(high, 1e6)


def measure(
    cfg: SimulateConfig, rng: np.random.Generator, density_per_mm2: Floats, area_mm2: Floats
) -> dict[str, Floats]:
    """What a slide reports of a true density: counts, density and calibrated sTIL %, each with its interval."""
    scale = cfg.points_per_density
    if cfg.measurement_sd_points is None:
        counts = draw_counts(rng, density_per_mm2, area_mm2, cfg.patches_per_mm2)
        low, high = count_interval(counts, area_mm2, cfg.patches_per_mm2)
        density = counts / area_mm2
    else:
        sd = cfg.measurement_sd_points
        points = np.clip(density_per_mm2 * scale + sd * rng.standard_normal(density_per_mm2.shape), 0, 100)
        low, high = (np.clip(points + sign * 1.96 * sd, 0, 100) / scale for sign in (-1, 1))
        density = points / scale
        counts = np.round(density * area_mm2)
    named = {"n_tils": counts, "til_density_per_mm2": density, "til_density_low": low, "til_density_high": high}
    for name, factor in (("stil_area", 28.3e-4), ("calibrated_stil", scale)):
        values = zip(("_pct", "_low", "_high"), (density, low, high), strict=True)
        named |= {name + end: np.minimum(100.0, value * factor) for end, value in values}
    return named


def _choose(rng: np.random.Generator, mix: Mapping[str, float], words: tuple[str, ...], shape: Any) -> Ints:
    shares = np.array([mix.get(word, 0.0) for word in words])
    edges = np.cumsum(shares / shares.sum())
    chosen: Ints = np.searchsorted(edges, rng.random(shape), side="right").clip(max=len(words) - 1)
    return chosen


def _effects(effects: Mapping[str, float], words: tuple[str, ...]) -> Floats:
    return np.array([effects.get(word, 0.0) for word in words])
