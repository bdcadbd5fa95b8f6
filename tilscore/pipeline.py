"""From slides to scores: each stage reads the artefacts of the one before and writes its own beside them.

tissue  -> tissue.tif
infer   -> cells.parquet, regions.tif, stain.json
score   -> score.json, parts.tif, spatial.json, a row of scores.csv
overlay -> overlay.png, report.html
and `provenance.json`, which every stage adds to.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells, read_cells, write_cells
from tilscore.config import as_values
from tilscore.errors import OutputError, TilscoreError, printable
from tilscore.files import sha256, write_json
from tilscore.geojson import write_cells_geojson
from tilscore.infer import InferConfig, infer_slide
from tilscore.info import describe, versions
from tilscore.labels import Area, Region
from tilscore.modelstore import Model, find_model
from tilscore.outputs import read_notes, summary, update_scores
from tilscore.overlay import Title, compose, write_overlay
from tilscore.panels import OverlayConfig, draw_panels
from tilscore.raster import Raster, fill_polygons, read_raster, write_raster
from tilscore.report import write_report
from tilscore.roi import read_areas
from tilscore.score import Part, ScoreConfig, failed_row, read_score, score_with_parts, write_score
from tilscore.score.parts import as_regions, bed_of
from tilscore.slide import Slide, SlideSpec, open_slide
from tilscore.spatial import SpatialConfig, spatial_statistics, write_spatial
from tilscore.stain import read_stain
from tilscore.tissue import TissueConfig, find_tissue

if TYPE_CHECKING:
    from tilscore.backends import Backend

ARTEFACTS = {
    "tissue": ("tissue.tif",),
    "infer": ("stain.json", "regions.tif", "cells.parquet"),
    "score": ("score.json", "parts.tif", "spatial.json"),
    "overlay": ("overlay.png", "report.html"),
}
EXTRAS = {"infer": ("cells.geojson.gz",)}
"""Written on request."""
STAGES = tuple(ARTEFACTS)
Say = Callable[[str], object]


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
    """What all slides of one run share. The network is loaded when the first slide needs it."""

    out: Path
    cfg: RunConfig = field(default_factory=RunConfig)
    model_name: str = ""
    device: str = "auto"
    backend_name: str = "auto"
    precision: str = "mixed"
    allow_upsampling: bool = False
    progress: bool = False
    geojson: bool = False
    """Write `cells.geojson.gz` for QuPath as well."""

    @cached_property
    def model(self) -> Model:
        return find_model(self.model_name)

    @cached_property
    def backend(self) -> Backend:
        from tilscore.backends import make_backend, pick_device
        from tilscore.nets import turned

        device = pick_device(self.device)
        return make_backend(
            turned(self.model.load(), self.cfg.infer.turns),
            device,
            backend=self.backend_name,
            precision=self.precision,  # type: ignore[arg-type]
            calibration=self.model.config.calibration,
        )


class SlideJob:
    """One slide on its way through the stages."""

    def __init__(self, run: Run, spec: SlideSpec, slide: Slide) -> None:
        self.run, self.spec, self.slide = run, spec, slide
        self.folder = run.out / spec.slide_id
        self.notes = read_notes(self.folder)
        self.notes.update({"slide_id": spec.slide_id, "slide": describe(slide), "versions": versions()})

    def tissue(self) -> None:
        """Find the tissue."""
        areas = find_tissue(self.slide, self.run.cfg.tissue)
        write_raster(self.folder / "tissue.tif", areas, Area)

    def infer(self) -> None:
        """Find cells and regions."""
        run, model = self.run, self.run.model.config
        result = infer_slide(
            self.spec,
            self.slide,
            read_raster(self.folder / "tissue.tif"),
            run.backend,
            run.cfg.infer,
            threshold=model.detection_threshold,
            stain_range=model.stain_range,
            allow_upsampling=run.allow_upsampling,
            progress=run.progress,
        )
        write_json(self.folder / "stain.json", result.stain.as_values())
        write_raster(self.folder / "regions.tif", result.regions, Region)
        write_cells(self.folder / "cells.parquet", result.cells)
        if run.geojson:
            path = self.folder / "cells.geojson.gz"
            write_cells_geojson(path, result.cells, self.slide.level0, self.slide.bounds_um)
        self.notes["model"] = {"name": model.name, "ident": run.model.ident, "sha256": model.weights_sha256}
        self.notes["infer"] = {
            "backend": run.backend.name,
            "precision": run.precision,
            "detection_threshold": model.detection_threshold,
            "til_threshold": model.til_threshold,
            "turns": run.cfg.infer.turns,
            "n_blocks": result.n_blocks,
            "unreadable_frac": round(result.unreadable_frac, 6),
            "glass_rgb": result.glass_rgb,
            "stain_normalisation": result.stain.normalisation.as_values(),
        }

    def score(self) -> None:
        """Score what was found."""
        cells, regions, tissue = self._artefacts()
        cfg, stain = self.run.cfg.score, read_stain(self.folder / "stain.json")
        made = score_with_parts(
            cells,
            regions,
            tissue,
            cfg,
            given=np.ones(regions.grid.shape, bool) if self.slide.is_field else None,
            drawn=self._drawn(regions),
            flags=(*self.slide.flags, *stain.get("reasons", ())),
            site=self.spec.site,
            specimen=self.spec.specimen,
        )
        made.score.constants["detection_threshold"] = self.notes.get("infer", {}).get("detection_threshold")
        write_raster(self.folder / "parts.tif", made.parts.raster, Part)
        write_score(self.folder / "score.json", replace(made.score, stain=stain), self.spec.slide_id, cfg)
        ok, parts, own = made.score.status == "ok", made.parts.raster, self.run.cfg.spatial
        seen = as_regions(parts, regions)
        found = spatial_statistics(cells, seen, bed_of(parts), own, min_prob=cfg.min_prob, evaluable=ok)
        write_spatial(self.folder / "spatial.json", self.spec.slide_id, found)
        self.notes.setdefault("config", {})["spatial"] = as_values(own)

    def overlay(self) -> None:
        """Draw what was found."""
        cells, regions, tissue = self._artefacts()
        score, parts = read_score(self.folder / "score.json"), read_raster(self.folder / "parts.tif")
        evaluable = score.status == "ok"
        cfg = self.run.cfg.overlay
        threshold = self.notes.get("infer", {}).get("til_threshold")
        if cfg.fields.prob_threshold is None and threshold is not None:
            cfg = replace(cfg, fields=replace(cfg.fields, prob_threshold=threshold))
        shown, lowest = as_regions(parts, regions), float(score.constants.get("min_prob", 0.0))
        how: dict[str, Any] = {"bed": bed_of(parts), "evaluable": evaluable, "cores": score.cores, "min_prob": lowest}
        panels = draw_panels(self.slide, cells, shown, tissue, cfg, **how)
        ident = self.notes.get("model", {}).get("ident", "unknown")
        title = Title(self.spec.slide_id, ident, self.slide.mpp, self.slide.mpp_source)
        write_overlay(self.folder / "overlay.png", compose(panels, score, title, cfg))
        write_report(self.folder / "report.html", panels, score, title, self.notes)

    def _artefacts(self) -> tuple[Cells, Raster, Raster]:
        return (
            read_cells(self.folder / "cells.parquet"),
            read_raster(self.folder / "regions.tif"),
            read_raster(self.folder / "tissue.tif"),
        )

    def _drawn(self, regions: Raster) -> dict[str, NDArray[np.bool_]]:
        """[h w] bool on the region grid by kind of drawn area."""
        if self.spec.roi is None:
            return {}
        areas = read_areas(self.spec.roi, self.slide.level0, self.slide.bounds_um)
        return {kind: fill_polygons(regions.grid, polygons) for kind, polygons in areas.items()}

    def _asked(self) -> dict[str, Any]:
        """What the user says about the slide, and what changes its score."""
        spec = self.spec
        return {"site": spec.site, "specimen": spec.specimen, "roi": None if spec.roi is None else sha256(spec.roi)}

    def do(self, stages: tuple[str, ...]) -> dict[str, Any]:
        """Run stages in order, note their times, and return the slide's row of `scores.csv` (empty before a score)."""
        seconds = dict(self.notes.get("seconds", {}))
        for stage in stages:
            remove_artefacts(self.folder, stage)
            start = time.perf_counter()
            getattr(self, stage)()
            seconds[stage] = round(time.perf_counter() - start, 3)
            self.notes["seconds"] = seconds
            self.notes.setdefault("config", {})[stage] = as_values(getattr(self.run.cfg, stage))
        if STAGES[-1] in stages:
            self.notes["done_for"], self.notes["asked"] = self.slide.fingerprint(), self._asked()
        write_json(self.folder / "provenance.json", self.notes)
        (self.folder / "error.json").unlink(missing_ok=True)
        return self.row()

    def row(self) -> dict[str, Any]:
        """The slide's row of `scores.csv`; empty before it has a score."""
        if not (self.folder / "score.json").exists():
            return {}
        return read_score(self.folder / "score.json").row(
            self.spec.slide_id,
            mpp_um=self.slide.mpp,
            mpp_source=self.slide.mpp_source,
            model=self.notes.get("model", {}).get("ident", ""),
            seconds=round(sum(self.notes.get("seconds", {}).values()), 2),
        )

    def is_done(self) -> bool:
        """Whether every artefact is there, made from this slide with these settings and this model."""
        notes, run = self.notes, self.run
        wanted = {s: as_values(getattr(run.cfg, s)) for s in (*STAGES, "spatial")}
        return (
            all((self.folder / name).exists() for names in ARTEFACTS.values() for name in names)
            and notes.get("done_for") == self.slide.fingerprint()
            and notes.get("asked") == self._asked()
            and notes.get("config") == json.loads(json.dumps(wanted))
            and notes.get("model", {}).get("ident") == run.model.ident
        )


def remove_artefacts(folder: Path, stage: str) -> None:
    """Remove what `stage` and the stages after it wrote before: no old number stands beside a new one."""
    for later in STAGES[STAGES.index(stage) :]:
        for name in (*ARTEFACTS[later], *EXTRAS.get(later, ())):
            (folder / name).unlink(missing_ok=True)


def process(
    specs: list[SlideSpec], run: Run, stages: tuple[str, ...] = STAGES, *, resume: bool = False, say: Say = print
) -> int:
    """Take slides through `stages`; a slide that fails is told and noted, and the others go on.

    Returns
    -------
    The number of slides that failed.
    """
    n_failed = 0
    for spec in specs:
        try:
            with open_slide(spec.path, mpp=spec.mpp, allow_upsampling=run.allow_upsampling) as slide:
                job = SlideJob(run, spec, slide)
                skip = resume and job.is_done()
                row = job.row() if skip else job.do(stages)
            say(summary(spec.slide_id, row, skipped=skip) if row else f"{spec.slide_id}: {', '.join(stages)} done")
        except OutputError:
            raise
        except Exception as err:
            n_failed += 1
            row = _failed(run, spec, err, stages)
            say(f"{spec.slide_id}: FAILED: {row['message']}")
        if row:
            update_scores(run.out / "scores.csv", [row])
    return n_failed


def _failed(run: Run, spec: SlideSpec, err: Exception, stages: tuple[str, ...]) -> dict[str, Any]:
    """Leave no score behind, and the reason: in the row, and at length in `error.json`."""
    folder = run.out / spec.slide_id
    known = isinstance(err, TilscoreError)
    message = str(err) if known else f"internal error, please report it: {type(err).__name__}: {printable(err)}"
    code = err.code if isinstance(err, TilscoreError) else "internal"
    remove_artefacts(folder, stages[0])
    trace = [] if known else traceback.format_exception(err)
    write_json(folder / "error.json", {"slide_id": spec.slide_id, "code": code, "message": message, "trace": trace})
    return {**failed_row(spec.slide_id, code), "message": message}
