"""One slide on its way to a score: each stage reads the artefacts of the one before and writes its own beside them.

tissue  -> tissue.tif
infer   -> cells.parquet, regions.tif, stain.json
score   -> score.json, parts.tif, spatial.json, a row of scores.csv
overlay -> overlay.png, report.html
and `provenance.json`, which every stage adds to: what made the artefacts that are there, and of nothing else.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from tilscore import __version__
from tilscore.cells import Cells, read_cells, write_cells
from tilscore.config import as_values
from tilscore.errors import DataError
from tilscore.files import sha256, write_json
from tilscore.infer import infer_slide
from tilscore.info import describe, versions
from tilscore.labels import Area, Region
from tilscore.masks import Mask
from tilscore.overlay import Title, compose, draw_panels, write_overlay, write_report
from tilscore.qupath.cells import write_cells_geojson
from tilscore.qupath.roi import Polygon, read_areas
from tilscore.raster import Raster, fill_polygons, read_raster, write_raster
from tilscore.results.artefacts import ARTEFACTS, CELLS_GEOJSON, STAGES, remove_artefacts
from tilscore.results.owners import full_path
from tilscore.results.provenance import read_notes, settings_of, version_of
from tilscore.results.table import update_scores
from tilscore.run import Run
from tilscore.score import Part, read_calibration, read_score, score_with_parts, write_score
from tilscore.score.parts import as_regions, as_tissue, bed_of, left_out_of
from tilscore.slide import Slide, SlideSpec
from tilscore.spatial import spatial_statistics, write_spatial
from tilscore.stain import read_stain
from tilscore.tissue import find_tissue

_NOTES = {"infer": ("model", "infer")}
"""What a stage notes besides its settings and its time."""


class SlideJob:
    """One slide on its way through the stages."""

    def __init__(self, run: Run, spec: SlideSpec, slide: Slide) -> None:
        self.run, self.spec, self.slide = run, spec, slide
        self.folder = run.out / spec.slide_id
        self.stage = ""
        """The stage at work."""
        self.notes = read_notes(self.folder)
        facts = describe(slide)
        was = self.notes.get("slide", {})
        self._known = bool(was)
        self._same_slide = all(was.get(name) == facts[name] for name in ("fingerprint", "mpp"))
        facts["path"] = full_path(slide.path)
        self.notes.update({"slide_id": spec.slide_id, "slide": facts, "versions": versions()})

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
            zoom=model.net.zoom,
            stain_range=model.stain_range,
            allow_upsampling=run.allow_upsampling,
            progress=run.progress,
        )
        write_json(self.folder / "stain.json", result.stain.as_values())
        write_raster(self.folder / "regions.tif", result.regions, Region)
        write_cells(self.folder / "cells.parquet", result.cells)
        if run.geojson:
            self._write_geojson(result.cells)
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
            box=self.slide.level0.box,
        )
        made.score.constants["detection_threshold"] = self.notes.get("infer", {}).get("detection_threshold")
        write_raster(self.folder / "parts.tif", made.parts.raster, Part)
        write_score(self.folder / "score.json", replace(made.score, stain=stain), self.spec.slide_id, cfg)
        parts, own = made.parts.raster, self.run.cfg.spatial
        found = spatial_statistics(
            cells,
            as_regions(parts, regions),
            bed_of(parts),
            own,
            min_prob=cfg.min_prob,
            evaluable=made.score.status == "ok",
            no_tumour=parts.mask(Part.BENIGN, Part.EXCLUDED),
        )
        write_spatial(self.folder / "spatial.json", self.spec.slide_id, found)
        self.notes.setdefault("config", {})["spatial"] = as_values(own)

    def overlay(self) -> None:
        """Draw what was found."""
        cells, regions, _ = self._artefacts()
        score, parts = read_score(self.folder / "score.json"), read_raster(self.folder / "parts.tif")
        cfg = self.run.cfg.overlay
        threshold = self.notes.get("infer", {}).get("til_threshold")
        if cfg.fields.prob_threshold is None and threshold is not None:
            cfg = replace(cfg, fields=replace(cfg.fields, prob_threshold=threshold))
        drawn = self._drawn(regions)
        panels = draw_panels(
            self.slide,
            cells,
            as_regions(parts, regions),
            as_tissue(parts),
            cfg,
            bed=bed_of(parts),
            evaluable=score.status == "ok",
            min_prob=float(score.constants.get("min_prob", 0.0)),
            cores=score.cores,
            left_out=left_out_of(parts),
            given=drawn.get("roi"),
            aggregates=score.aggregates,
            tls=drawn.get("tls"),
        )
        ident = self.notes.get("model", {}).get("ident", "unknown")
        title = Title(self.spec.slide_id, ident, self.slide.mpp, self.slide.mpp_source)
        write_overlay(self.folder / "overlay.png", compose(panels, score, title, cfg))
        write_report(self.folder / "report.html", panels, score, title, self.notes)

    def _write_geojson(self, cells: Cells) -> None:
        write_cells_geojson(self.folder / CELLS_GEOJSON, cells, self.slide.level0, self.slide.bounds_um)

    def _artefacts(self) -> tuple[Cells, Raster, Raster]:
        return (
            read_cells(self.folder / "cells.parquet"),
            read_raster(self.folder / "regions.tif"),
            read_raster(self.folder / "tissue.tif"),
        )

    @cached_property
    def _areas(self) -> dict[str, list[Polygon]]:
        """What the user has drawn, by what it is for."""
        roi = self.spec.roi
        return {} if roi is None else read_areas(roi, self.slide.level0, self.slide.bounds_um)

    def _drawn(self, regions: Raster) -> dict[str, Mask]:
        """[h w] bool on the region grid by kind of drawn area."""
        return {kind: fill_polygons(regions.grid, polygons) for kind, polygons in self._areas.items()}

    def do(self, stages: tuple[str, ...]) -> dict[str, Any]:
        """Run stages in order, and return the slide's row of `scores.csv` (empty before a score).

        What a stage and those after it made before is forgotten when it starts, so that a run that is killed leaves
        nothing that the notes do not tell, and no row whose score is gone.

        Raises
        ------
        DataError : the stages before these were made from another slide, or at another resolution.
        """
        self._check(stages)
        if stages[0] != "overlay" and (self.folder / "score.json").exists():
            update_scores(self.run.out / "scores.csv", [], without=(self.spec.slide_id,))
        for self.stage in stages:
            self._forget(self.stage)
            start = time.perf_counter()
            getattr(self, self.stage)()
            self.notes["seconds"][self.stage] = round(time.perf_counter() - start, 3)
            self.notes["config"][self.stage] = as_values(getattr(self.run.cfg, self.stage))
            self.notes["made_with"][self.stage] = self._made_with(self.stage)
            self.notes["made_by"][self.stage] = f"tilscore {__version__}"
            write_json(self.folder / "provenance.json", self.notes)
        return self.row()

    def resume(self) -> tuple[dict[str, Any], bool]:
        """Run the stages that are not done with these settings; the row, and whether there were none."""
        self._check(STAGES)
        todo = STAGES[next((i for i, stage in enumerate(STAGES) if not self._is_done(stage)), len(STAGES)) :]
        if self.run.geojson and "infer" not in todo and not (self.folder / CELLS_GEOJSON).exists():
            self._write_geojson(read_cells(self.folder / "cells.parquet"))
        return (self.do(todo) if todo else self.row()), not todo

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
            settings=settings_of(self.notes),
            version=version_of(self.notes),
        )

    @property
    def other_versions(self) -> list[str]:
        """Versions of tilscore, other than this one, that made some of what is there, as far as the notes tell."""
        return sorted(set(self.notes.get("made_by", {}).values()) - {f"tilscore {__version__}"})

    def _check(self, stages: tuple[str, ...]) -> None:
        """Find what is wrong with the user's own files before hours are spent, and artefacts of what the file was."""
        if stages[0] != STAGES[0] and self._known and not self._same_slide:
            do = "run the stages from tissue on again"
            raise DataError("made from another slide, or at another resolution", where=self.folder, do=do)
        if stages[0] == "overlay" and self.spec.roi is not None:
            _ = self._areas
            drawn = sha256(self.spec.roi)
            if self.notes.get("made_with", {}).get("score", {}).get("roi", drawn) != drawn:
                do = "run the stages from score on again"
                raise DataError("was not what the score was made with", where=self.spec.roi, do=do)
        if "score" in stages:
            self.stage = "score"
            _ = self._areas
            if self.run.cfg.score.calibration is not None:
                read_calibration(self.run.cfg.score.calibration)

    def _is_done(self, stage: str) -> bool:
        """Whether what a stage made is there, of this slide, with this model and these settings."""
        there = all((self.folder / name).exists() for name in ARTEFACTS[stage])
        return there and self._same_slide and self.notes.get("made_with", {}).get(stage) == self._made_with(stage)

    def _made_with(self, stage: str) -> dict[str, Any]:
        """All that a stage's results depend on, besides the slide and the stages before, as plain JSON values."""
        run, spec = self.run, self.spec
        made: dict[str, Any] = {stage: as_values(getattr(run.cfg, stage))}
        if stage == "infer":
            del made["infer"]["workers"]
            made |= {"model": run.model.ident, "precision": run.precision}
        elif stage == "score":
            files = {"roi": spec.roi, "calibration": run.cfg.score.calibration}
            made |= {name: None if path is None else sha256(path) for name, path in files.items()}
            made |= {"site": spec.site, "specimen": spec.specimen, "spatial": as_values(run.cfg.spatial)}
        return dict(json.loads(json.dumps(made)))

    def _forget(self, stage: str) -> None:
        """Remove what a stage and those after it made before, and what the notes say of it."""
        remove_artefacts(self.folder, stage)
        for later in STAGES[STAGES.index(stage) :]:
            for group in ("seconds", "config", "made_with", "made_by"):
                self.notes.setdefault(group, {}).pop(later, None)
            for name in _NOTES.get(later, ()):
                self.notes.pop(name, None)
        write_json(self.folder / "provenance.json", self.notes)
