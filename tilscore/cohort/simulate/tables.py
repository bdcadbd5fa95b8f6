"""The tables of a made cohort: who has which biopsies, their blocks and slides, scores and other assays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tilscore.cohort.simulate.draws import (
    TIMES,
    Drawn,
    Floats,
    Ints,
    SimulateConfig,
    draw_areas,
    draw_biopsies,
    draw_cores,
    measure,
)
from tilscore.config import as_values
from tilscore.inputs.words import COLUMNS, RESPONSES, SITES, SPECIMENS

if TYPE_CHECKING:
    import pandas as pd

_RESPONSE_EDGES = (1.2816, 0.2533, -0.5244)
"""Latent response (standard normal) from which it is CR (10 %), PR (30 %), SD (30 %)."""
_ESTIMATES = (
    "til_density_per_mm2",
    "til_density_low",
    "til_density_high",
    "stil_area_pct",
    "stil_area_low",
    "stil_area_high",
    "infiltrated_area_pct",
    "calibrated_stil_pct",
    "calibrated_stil_low",
    "calibrated_stil_high",
    "itil_density_per_mm2",
    "contact_itil_density_per_mm2",
)
_AREAS = ("stroma_mm2", "tumour_mm2", "tissue_mm2")
_DAYS = {"baseline": 0.0, "week6": 42.0, "week12": 84.0, "post": 300.0}


def make_tables(cfg: SimulateConfig) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any], pd.DataFrame]:
    """Manifest, scores, truth and assays of one made cohort."""
    import pandas as pd

    rng = np.random.default_rng(cfg.seed)
    people = _people(cfg, rng)
    taken = []
    planned = _planned(cfg, rng)
    first_site: Ints | None = None
    for time in TIMES:
        drawn = draw_biopsies(cfg, rng, people["log"], first_site, time)
        first_site = drawn.site if first_site is None else first_site
        there = planned[time] & (_kept(cfg, rng, people["z"]) if time != "baseline" else True)
        taken.append(_biopsies(people, drawn, np.flatnonzero(there), time))
    biopsies = pd.concat(taken).sort_values(["who", "at"], kind="stable").reset_index(drop=True)
    slides = _slides(cfg, rng, biopsies)
    manifest, scores = _manifest(slides), _scores(cfg, rng, slides)
    columns = ["patient_id", "timepoint", "specimen", "site", "true_density_per_mm2", "plain_density_per_mm2"]
    truth = {
        "config": as_values(cfg),
        "n_slides": len(slides),
        "n_planned": {time: int(planned[time].sum()) for time in TIMES},
        "n_taken": {time: int((biopsies["timepoint"] == time).sum()) for time in TIMES},
        "biopsies": biopsies[columns].round(4).to_dict("records"),
    }
    return manifest, scores, truth, _assays(cfg, rng, people, biopsies)


def _people(cfg: SimulateConfig, rng: np.random.Generator) -> dict[str, Any]:
    """Patients: `z`, their standard log density; `log` with the centre's part; labels."""
    n, width = cfg.patients, max(3, len(str(cfg.patients)))
    z = rng.standard_normal(n)
    centre = rng.integers(0, max(cfg.centres, 1), n)
    of_centre = cfg.sd_centre_log * rng.standard_normal(max(cfg.centres, 1))
    latent = cfg.response_corr * z + np.sqrt(1 - cfg.response_corr**2) * rng.standard_normal(n)
    return {
        "patient_id": np.array([f"SIM-{i + 1:0{width}d}" for i in range(n)], dtype=object),
        "z": z,
        "log": np.log(cfg.median_density_per_mm2) + cfg.sd_patient_log * z + of_centre[centre],
        "centre": np.array([f"C{i + 1}" for i in centre], dtype=object),
        "arm": np.array(cfg.arms or ("",), dtype=object)[rng.integers(0, max(len(cfg.arms), 1), n)],
        "response": np.array(RESPONSES, dtype=object)[(latent[:, None] < np.array(_RESPONSE_EDGES)).sum(1)],
    }


def _planned(cfg: SimulateConfig, rng: np.random.Generator) -> dict[str, Any]:
    """Who is to have a biopsy when: pairs first, series next, and again from the start where patients run out."""
    shuffled = rng.permutation(cfg.patients)
    rank = np.empty(cfg.patients, dtype=int)
    rank[shuffled] = np.arange(cfg.patients)
    in_series = (rank - cfg.pairs) % cfg.patients < cfg.series
    return {"baseline": rank >= 0, "week6": in_series, "week12": in_series, "post": rank < cfg.pairs}


def _kept(cfg: SimulateConfig, rng: np.random.Generator, z: Floats) -> Any:
    """Whether each planned biopsy was taken."""
    u = rng.random(z.shape)
    if cfg.missing_frac in (0.0, 1.0):
        return u >= cfg.missing_frac
    odds = cfg.missing_frac / (1 - cfg.missing_frac) * np.exp(cfg.missing_slope * z)
    return u >= odds / (1 + odds)


def _biopsies(people: Mapping[str, Any], drawn: Drawn, who: Ints, time: str) -> pd.DataFrame:
    import pandas as pd

    of_patient = {name: people[name][who] for name in ("patient_id", "centre", "arm", "response", "z")}
    return pd.DataFrame(
        of_patient
        | {
            "who": who,
            "at": TIMES.index(time),
            "timepoint": time,
            "day": _DAYS[time],
            "specimen_index": drawn.specimen[who],
            "specimen": np.array(SPECIMENS, dtype=object)[drawn.specimen[who]],
            "site": np.array(SITES, dtype=object)[drawn.site[who]],
            "true_density_per_mm2": drawn.density_per_mm2[who],
            "plain_density_per_mm2": drawn.plain_per_mm2[who],
        }
    )


def _slides(cfg: SimulateConfig, rng: np.random.Generator, biopsies: pd.DataFrame) -> pd.DataFrame:
    """Blocks of the biopsies and slides of the blocks; the slides of a block show the same tissue."""
    n_blocks = biopsies["specimen"].map(lambda s: cfg.blocks.get(s, 1)).to_numpy(int)
    blocks = biopsies.loc[biopsies.index.repeat(n_blocks)]
    number = blocks.groupby(level=0).cumcount() + 1
    blocks = blocks.assign(block=[f"{t[0].upper()}{n}" for t, n in zip(blocks["timepoint"], number, strict=True)])
    blocks = blocks.reset_index(drop=True)
    specimen = blocks["specimen_index"].to_numpy()
    area = draw_areas(cfg, rng, specimen)
    true = blocks["true_density_per_mm2"].to_numpy() * np.exp(cfg.sd_block_log * rng.standard_normal(len(blocks)))
    blocks = blocks.assign(stroma_mm2=area, n_cores=draw_cores(rng, specimen), **measure(cfg, rng, true, area))
    twice = 1 + (rng.random(len(blocks)) < cfg.second_slide_frac)
    slides = blocks.loc[blocks.index.repeat(twice)]
    number = slides.groupby(level=0).cumcount() + 1
    parts = zip(slides["patient_id"], slides["timepoint"], slides["block"], number, strict=True)
    return slides.assign(slide_id=["_".join(map(str, part)) for part in parts]).reset_index(drop=True)


def _manifest(slides: pd.DataFrame) -> pd.DataFrame:
    table = slides.assign(
        path="slides/" + slides["slide_id"] + ".svs",
        stain="H&E",
        mpp=np.nan,
        roi="",
        line=np.arange(2, len(slides) + 2),
    )
    return table[[*COLUMNS, "day", "line"]]


def _scores(cfg: SimulateConfig, rng: np.random.Generator, slides: pd.DataFrame) -> pd.DataFrame:
    """The table of a run over these slides."""
    fate = rng.random(len(slides))
    status = np.select(
        [fate < cfg.failed_frac, fate < cfg.failed_frac + cfg.not_evaluable_frac], ["failed", "not_evaluable"], "ok"
    )
    reasons = np.select(
        [status == "failed", status == "not_evaluable", slides["stroma_mm2"] < 0.1],
        ["slide_unreadable", "no_tumour", "little_stroma"],
        "",
    )
    tumour = slides["stroma_mm2"] * np.exp(0.4 * rng.standard_normal(len(slides)))
    clumps = np.exp(0.3 * rng.standard_normal(len(slides)))
    table = slides.assign(
        status=status,
        reasons=reasons,
        tumour_mm2=tumour,
        tissue_mm2=slides["stroma_mm2"] + 1.5 * tumour,
        infiltrated_area_pct=np.minimum(100.0, slides["calibrated_stil_pct"] * 1.3),
        itil_density_per_mm2=slides["til_density_per_mm2"] * 0.3 * clumps,
        contact_itil_density_per_mm2=slides["til_density_per_mm2"] * 0.5 * clumps,
        mpp_um=0.25,
        mpp_source="simulated",
        model="simulated",
        settings="",
        version="",
        seconds=0.0,
    )
    table.loc[status != "ok", [*_ESTIMATES, "n_tils", "n_cores"]] = np.nan
    table.loc[status == "failed", list(_AREAS)] = np.nan
    head, tail = ["slide_id", "status", "reasons"], ["mpp_um", "mpp_source", "model", "seconds", "settings", "version"]
    return table[[*head, *_ESTIMATES, "n_tils", "n_cores", *_AREAS, "site", "specimen", *tail]]


def _assays(
    cfg: SimulateConfig, rng: np.random.Generator, people: Mapping[str, Any], biopsies: pd.DataFrame
) -> pd.DataFrame:
    sd = np.hypot(cfg.sd_patient_log, cfg.sd_biopsy_log) or 1.0
    z = (np.log(biopsies["plain_density_per_mm2"].to_numpy()) - np.log(cfg.median_density_per_mm2)) / sd

    def latent(name: str, of: Floats) -> Floats:
        corr = cfg.assay_corr.get(name, 0.0)
        values: Floats = corr * of + np.sqrt(1 - corr**2) * rng.standard_normal(of.shape)
        return values

    table = biopsies[["patient_id", "timepoint"]].assign(
        ihc_cd3_per_mm2=np.exp(np.log(500.0) + 0.8 * latent("ihc_cd3_per_mm2", z)),
        ihc_cd8_per_mm2=np.exp(np.log(200.0) + 0.9 * latent("ihc_cd8_per_mm2", z)),
        facs_cd8_frac=1 / (1 + np.exp(2.0 - 0.8 * latent("facs_cd8_frac", z))),
        expr_tcell_score=latent("expr_tcell_score", z),
    )
    of_patient = people["z"]
    mutated = (latent("pik3ca_mut", of_patient) > 0.2533).astype(int)
    who = biopsies["who"].to_numpy()
    table["pik3ca_mut"] = mutated[who]
    censored = rng.uniform(12.0, 60.0, cfg.patients)
    for name, median in (("pfs", 9.0), ("os", 30.0)):
        rate = np.log(2) / median * cfg.hazard_ratio**of_patient
        months = rng.exponential(1 / rate)
        table[f"{name}_months"] = np.maximum(np.minimum(months, censored), 0.05)[who]
        table[f"{name}_event"] = (months <= censored).astype(int)[who]
    return table.reset_index(drop=True)
