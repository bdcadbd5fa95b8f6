"""From slides to scores: each stage reads the artefacts of the one before and writes its own beside them.

tissue  -> tissue.tif
infer   -> cells.parquet, regions.tif
score   -> score.json, a row of scores.csv
overlay -> overlay.png, report.html
and `provenance.json`, which every stage adds to.
"""

from __future__ import annotations

import json
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tilscore.bed import find_bed
from tilscore.cells import Cells, read_cells, write_cells
from tilscore.config import as_values
from tilscore.errors import OutputError, TilscoreError, printable
from tilscore.files import write_json
from tilscore.geojson import write_cells_geojson
from tilscore.infer import InferConfig, infer_slide
from tilscore.info import describe
from tilscore.labels import Area, Region
from tilscore.modelstore import Model, find_model
from tilscore.outputs import update_scores
from tilscore.overlay import Title, compose, write_overlay
from tilscore.panels import OverlayConfig, draw_panels
from tilscore.raster import Raster, fill_polygons, read_raster, write_raster
from tilscore.report import write_report
from tilscore.roi import read_roi
from tilscore.score import ScoreConfig, failed_row, read_score, score_slide, write_score
from tilscore.slide import Slide, SlideSpec, open_slide
from tilscore.tissue import TissueConfig, find_tissue

if TYPE_CHECKING:
    from tilscore.backends import Backend

ARTEFACTS = {
    "tissue": ("tissue.tif",),
    "infer": ("regions.tif", "cells.parquet"),
    "score": ("score.json",),
    "overlay": ("overlay.png", "report.html"),
}
EXTRAS = {"infer": ("cells.geojson.gz",)}
"""Written on request."""
STAGES = tuple(ARTEFACTS)
Say = Callable[[str], object]
_VERSIONS = ("tilscore", "numpy", "opencv-python-headless", "openslide-bin", "openvino", "tifffile", "torch")


@dataclass(frozen=True)
class RunConfig:
    """Settings of all stages; a YAML file gives any part of them."""

    tissue: TissueConfig = field(default_factory=TissueConfig)
    infer: InferConfig = field(default_factory=InferConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
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

        device = pick_device(self.device)
        return make_backend(
            self.model.load(),
            device,
            backend=self.backend_name,
            precision=self.precision,  # type: ignore[arg-type]
        )


class SlideJob:
    """One slide on its way through the stages."""

    def __init__(self, run: Run, spec: SlideSpec, slide: Slide) -> None:
        self.run, self.spec, self.slide = run, spec, slide
        self.folder = run.out / spec.slide_id
        self.notes = _read_notes(self.folder)
        self.notes.update({"slide_id": spec.slide_id, "slide": describe(slide), "versions": versions()})

    def tissue(self) -> None:
        """Find the tissue."""
        areas = find_tissue(self.slide, self.run.cfg.tissue)
        write_raster(self.folder / "tissue.tif", areas, Area)

    def infer(self) -> None:
        """Find cells and regions."""
        run = self.run
        result = infer_slide(
            self.spec,
            self.slide,
            read_raster(self.folder / "tissue.tif"),
            run.backend,
            run.cfg.infer,
            threshold=run.model.config.detection_threshold,
            allow_upsampling=run.allow_upsampling,
            progress=run.progress,
        )
        write_raster(self.folder / "regions.tif", result.regions, Region)
        write_cells(self.folder / "cells.parquet", result.cells)
        if run.geojson:
            path = self.folder / "cells.geojson.gz"
            write_cells_geojson(path, result.cells, self.slide.level0, self.slide.bounds_um)
        self.notes["model"] = {
            "name": run.model.config.name,
            "ident": run.model.ident,
            "sha256": run.model.config.weights_sha256,
        }
        self.notes["infer"] = {
            "backend": run.backend.name,
            "precision": run.precision,
            "detection_threshold": run.model.config.detection_threshold,
            "n_blocks": result.n_blocks,
            "unreadable_frac": round(result.unreadable_frac, 6),
            "glass_rgb": result.glass_rgb,
        }

    def score(self) -> None:
        """Score what was found."""
        cells, regions, tissue = self._artefacts()
        cfg = self.run.cfg.score
        score = score_slide(cells, regions, tissue, cfg, given=self._given(regions), flags=self.slide.flags)
        write_score(self.folder / "score.json", score, self.spec.slide_id, cfg)

    def overlay(self) -> None:
        """Draw what was found."""
        cells, regions, tissue = self._artefacts()
        score = read_score(self.folder / "score.json")
        evaluable = score.status == "ok"
        cfg = self.run.cfg.overlay
        bed = find_bed(regions, tissue, self.run.cfg.score.bed, given=self._given(regions))
        panels = draw_panels(self.slide, cells, regions, tissue, cfg, bed=bed, evaluable=evaluable)
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

    def _given(self, regions: Raster) -> NDArray[np.bool_] | None:
        """[h w] bool on the region grid: the drawn area, or all of a field; None where the bed is to be found."""
        if self.spec.roi is not None:
            return fill_polygons(regions.grid, read_roi(self.spec.roi, self.slide.level0, self.slide.bounds_um))
        return np.ones(regions.grid.shape, bool) if self.slide.is_field else None

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
            self.notes["done_for"] = self.slide.fingerprint()
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
        wanted = {s: as_values(getattr(run.cfg, s)) for s in STAGES}
        return (
            all((self.folder / name).exists() for names in ARTEFACTS.values() for name in names)
            and notes.get("done_for") == self.slide.fingerprint()
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


def summary(slide_id: str, row: dict[str, Any], *, skipped: bool = False) -> str:
    """A slide's result in one line."""
    note = " (done before)" if skipped else ""
    if row["status"] != "ok":
        return f"{slide_id}: {row['status']}: {row['reasons']}{note}"
    flags = f" [{row['reasons']}]" if row["reasons"] else ""
    return (
        f"{slide_id}: {row['til_density_per_mm2']:.0f} TILs/mm2 of stroma, sTIL area {row['stil_area_pct']:.1f} %, "
        f"{row['n_tils']} TILs in {row['stroma_mm2']:.2f} mm2{flags}{note}"
    )


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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


def _read_notes(folder: Path) -> dict[str, Any]:
    """`provenance.json` of earlier stages; empty where there is none."""
    try:
        notes = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}
