"""Made cohorts of known truth: a manifest, its scores, other assays, and what is true of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilscore.cohort.simulate.draws import Floats, SimulateConfig, draw_areas, draw_biopsies, draw_cores, measure
from tilscore.cohort.simulate.tables import make_tables
from tilscore.cohort.tables import write_table
from tilscore.errors import UsageError
from tilscore.files import write_json
from tilscore.inputs.words import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SimulateConfig", "simulate", "simulate_assays", "simulate_cohort", "simulate_pairs", "write_simulation"]


def simulate_pairs(cfg: SimulateConfig, n_cohorts: int) -> dict[str, Floats]:
    """Baseline and post of `cfg.pairs` patients in many cohorts at once, one slide each, none missing.

    Returns
    -------
    Arrays [n_cohorts, cfg.pairs, 2], last axis baseline and post: `n_tils`; `til_density_per_mm2`, `stil_area_pct`,
    `calibrated_stil_pct`, each with `_low` and `_high` as in `scores.csv`; `stroma_mm2`, `n_cores` (NaN where no core),
    `specimen`, `site` (index into `words.SPECIMENS`, `words.SITES`), `true_density_per_mm2` (of the tissue that was
    taken) and `plain_density_per_mm2` (as if it were a core of the breast).
    """
    rng = np.random.default_rng(cfg.seed)
    shape = (n_cohorts, cfg.pairs)
    log = np.log(cfg.median_density_per_mm2) + np.hypot(cfg.sd_patient_log, cfg.sd_centre_log) * rng.standard_normal(
        shape
    )
    first = draw_biopsies(cfg, rng, log, None, "baseline")
    drawn = (first, draw_biopsies(cfg, rng, log, first.site, "post"))
    specimen, site, true, plain = (
        np.stack([getattr(d, name) for d in drawn], axis=-1)
        for name in ("specimen", "site", "density_per_mm2", "plain_per_mm2")
    )
    area = draw_areas(cfg, rng, specimen)
    of_block = true * np.exp(cfg.sd_block_log * rng.standard_normal(true.shape))
    return measure(cfg, rng, of_block, area) | {
        "stroma_mm2": area,
        "n_cores": draw_cores(rng, specimen),
        "specimen": specimen,
        "site": site,
        "true_density_per_mm2": true,
        "plain_density_per_mm2": plain,
    }


def simulate_cohort(cfg: SimulateConfig) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """One made cohort; the same seed gives the same cohort.

    Returns
    -------
    manifest : as from `read_manifest`. scores : as from `read_scores`. truth : settings, plan and true densities.
    """
    manifest, scores, truth, _ = make_tables(cfg)
    return manifest, scores, truth


def simulate_assays(cfg: SimulateConfig) -> pd.DataFrame:
    """Other assays of the same cohort, one row a biopsy that was taken: IHC, FACS, expression; mutation and survival
    are the patient's, the same in all rows."""
    return make_tables(cfg)[3]


def write_simulation(out: Path | str, cfg: SimulateConfig) -> dict[str, Any]:
    """Write `slides.csv`, `scores.csv`, `assays.csv` and `truth.json` into `out`; returns the truth."""
    out = Path(out)
    manifest, scores, truth, assays = make_tables(cfg)
    write_table(out / "slides.csv", manifest[[*COLUMNS, "day"]])
    write_table(out / "scores.csv", scores)
    write_table(out / "assays.csv", assays)
    write_json(out / "truth.json", truth)
    return truth


def simulate(
    out: Path,
    *,
    patients: int = 100,
    pairs: int = 40,
    series: int = 20,
    effect: Sequence[str] = (),
    effect_points: Sequence[str] = (),
    missing_frac: float = 0.0,
    missing_slope: float = 0.0,
    seed: int = 0,
    config: Path | None = None,
) -> int:
    """The verb: make a cohort. `effect` is written TIME=SHIFT (log density), `effect_points` TIME=POINTS of sTIL %.

    `config` is a YAML with any keys of `SimulateConfig`; arguments that differ from their defaults win over it.

    Raises
    ------
    UsageError, ConfigError : effects that cannot be read, counts that do not fit.
    """
    from dataclasses import replace

    from tilscore.config import load_config

    cfg = load_config(SimulateConfig, config) if config else SimulateConfig()
    given: dict[str, Any] = {"patients": patients, "pairs": pairs, "series": series, "seed": seed}
    given |= {"missing_frac": missing_frac, "missing_slope": missing_slope}
    given |= {"effect_log": _effects(effect, "--effect"), "effect_points": _effects(effect_points, "--effect-points")}
    plain = SimulateConfig()
    changed = {name: value for name, value in given.items() if value != getattr(plain, name)}
    for name in ("pairs", "series"):  # a small cohort has fewer, unless they were asked for
        if "patients" in changed and getattr(cfg, name) == getattr(plain, name):
            changed.setdefault(name, min(getattr(plain, name), patients))
    try:
        cfg = replace(cfg, **changed)
    except ValueError as err:
        raise UsageError(f"this cohort cannot be made: {err}") from err
    truth = write_simulation(out, cfg)
    print(f"{out}: {truth['n_slides']} slides of {cfg.patients} patients, {len(truth['biopsies'])} biopsies")
    return 0


def _effects(texts: Sequence[str], where: str) -> dict[str, float]:
    found = {}
    for text in texts:
        time, _, value = text.partition("=")
        try:
            found[time.strip()] = float(value)
        except ValueError as err:
            raise UsageError("not an effect", where=where, found=text, do="write TIME=NUMBER, e.g. post=0.4") from err
    return found
