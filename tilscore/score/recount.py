"""A score counted again from its artefacts: the terms of each number, and what `score.json` says otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilscore.cells import Cells
from tilscore.config import parse_config
from tilscore.labels import Cell
from tilscore.raster import Raster
from tilscore.score.compat import BIO_TOTEM_UM2, TIGER_UM2, VUNO_UM2, area_pct, compat_numbers, positive_patches
from tilscore.score.config import CompatConfig, InfiltratedConfig
from tilscore.score.infiltrated import infiltrated
from tilscore.score.numbers import contact
from tilscore.score.parts import NOT_TISSUE, Part, area_mm2, histogram
from tilscore.score.result import Score

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Number:
    """One number: its formula, the formula with its terms, what they give, and what `score.json` says.

    `counted` is False where the artefacts do not hold its terms, so that it cannot be counted again.
    """

    name: str
    unit: str
    formula: str
    terms: str
    recomputed: float | None
    reported: float | None
    interval: tuple[float | None, float | None] = (None, None)
    counted: bool = True

    @property
    def agrees(self) -> bool:
        """Whether the terms give the reported number; true where it cannot be counted again from them."""
        return not self.counted or same(self.recomputed, self.reported)


def same(one: float | None, other: float | None) -> bool:
    """Whether two numbers are equal but for rounding, or both missing."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


class Recount:
    """A score that exists, counted again.

    Parameters
    ----------
    score : as `score.json` says. parts : of `parts.Part`. cells : of the slide.
    """

    def __init__(self, score: Score, parts: Raster, cells: Cells) -> None:
        self.score, self.parts, self.cells = score, parts, cells
        found = cells[(cells.label == Cell.INFLAMMATORY) & (cells.prob >= score.constants.get("min_prob", 0.0))]
        self._x, self._y = np.asarray(found.x_um, np.float64), np.asarray(found.y_um, np.float64)
        self._under = parts.sample(found.x_um, found.y_um)
        self.n_px = histogram(parts.values)
        self.n_in = np.bincount(self._under, minlength=256)
        """Inflammatory cells by part."""

    def mm2(self, *parts: Part) -> float:
        """Area of some parts."""
        return area_mm2(self.n_px, self.parts.grid, *parts, slide_mm2=self.score.constants.get("slide_mm2"))

    def _tils(self, *parts: Part) -> tuple[Floats, Floats]:
        """x and y of the inflammatory cells of some parts."""
        inside = np.isin(self._under, parts)
        return self._x[inside], self._y[inside]

    @cached_property
    def _stroma(self) -> str:
        return f"({self._pixels(Part.STROMA)} of evaluable stroma)"

    def _pixels(self, part: Part) -> str:
        return f"{self.n_px[part]:,} px * {self.parts.grid.mpp**2:g} um2 = {self.mm2(part):.6g} mm2"

    def numbers(self) -> list[Number]:
        """Every number of the score with its terms."""
        made = [*self._densities(), self._infiltrated(), *self._itils(), self._calibrated()]
        bounds = [(self.score.bound(n.name, "low"), self.score.bound(n.name, "high")) for n in made]
        return [replace(n, interval=b) for n, b in zip(made, bounds, strict=True)] + self._compat()

    def _number(self, name: str, unit: str, formula: str, terms: str, again: float | None, **more: Any) -> Number:
        return Number(name, unit, formula, terms, again, getattr(self.score, name), **more)

    def _densities(self) -> list[Number]:
        constants, n, stroma = self.score.constants, int(self.n_in[Part.STROMA]), self.mm2(Part.STROMA)
        area = constants.get("mean_area_per_til_um2") or constants["area_per_til_um2"]
        share = f"100 * {n:,} TILs * {area:g} um2 ({constants.get('area_per_til', 'declared')}) / {self._stroma}"
        of_area = "100 * TILs * area per TIL / stroma, at most 100"
        density = n / stroma if stroma else None
        filled = min(area_pct(n, area, stroma), 100.0) if stroma else None
        return [
            self._number("til_density_per_mm2", "1/mm2", "TILs / stroma", f"{n:,} TILs / {self._stroma}", density),
            self._number("stil_area_pct", "%", of_area, share, filled),
        ]

    def _infiltrated(self) -> Number:
        cfg = InfiltratedConfig(**self.score.constants["infiltrated"])
        x_um, y_um = self._tils(Part.STROMA)
        covered, _ = infiltrated(x_um, y_um, self.parts.values == Part.STROMA, self.parts.grid, cfg)
        terms = f"100 * {covered:.6g} mm2 within {cfg.radius_um:g} um of one of {len(x_um):,} TILs / {self._stroma}"
        again = 100 * covered / stroma if (stroma := self.mm2(Part.STROMA)) else None
        return self._number("infiltrated_area_pct", "%", "100 * stroma near a TIL / stroma", terms, again)

    def _itils(self) -> list[Number]:
        n, tumour = int(self.n_in[Part.TUMOUR]), self.mm2(Part.TUMOUR)
        n_at, at_mm2 = contact(*self._tils(Part.STROMA), self.parts, self.score.constants["contact_um"])
        inside = f"{n:,} TILs / ({self._pixels(Part.TUMOUR)} of tumour)"
        touching = f"({n:,} + {n_at:,}) TILs / ({tumour:.6g} + {at_mm2:.6g}) mm2 of tumour and its contact"
        at_tumour = "TILs in or at tumour / tumour and its contact"
        density = n / tumour if tumour else None
        contact_density = (n + n_at) / (tumour + at_mm2) if tumour else None
        return [
            self._number("itil_density_per_mm2", "1/mm2", "TILs in tumour / tumour", inside, density),
            self._number("contact_itil_density_per_mm2", "1/mm2", at_tumour, touching, contact_density),
        ]

    def _calibrated(self) -> Number:
        """The curve lies in a file of its own."""
        name, source = "calibrated_stil_pct", self.score.constants.get("calibration_input")
        terms = "no calibration was given"
        if source is not None:
            terms = (
                f"curve of {self.score.constants['calibration_ident']} at {source} = {getattr(self.score, source):.6g}"
            )
        return self._number(name, "%", "curve(input)", terms, None, counted=source is None)

    def _compat(self) -> list[Number]:
        """The numbers of other systems; that of measured areas alone, which no artefact holds, is not counted."""
        cfg = parse_config(CompatConfig, self.score.constants["compat"], where="score.json")
        n, stroma, grid = int(self.n_in[Part.STROMA]), self.mm2(Part.STROMA), self.parts.grid
        bed_tils, tumour_cells = self._tils(Part.STROMA, Part.TUMOUR), self._tumour_cells()
        evaluable = (self.parts.values == Part.STROMA) | (self.parts.values == Part.TUMOUR)
        measured = self.score.constants.get("area_per_til") == "measured"
        again: dict[str, Any] = {}
        if stroma:
            tils = self._tils(Part.STROMA)
            again = compat_numbers(tils, bed_tils, tumour_cells, stroma, evaluable, grid, cfg)
        n_positive, n_patches = positive_patches(bed_tils, evaluable, grid, cfg)
        pair = f"{len(bed_tils[0]):,} TILs of stroma and tumour, {len(tumour_cells[0]):,} tumour cells"
        overlap = (again.get("morisita_horn") or {}).get("value")
        terms = {
            name: f"100 * {n:,} TILs * {um2:.5g} um2 / {self._stroma}"
            for name, um2 in (("tiger_pct", TIGER_UM2), ("vuno_pct", VUNO_UM2), ("bio_totem_pct", BIO_TOTEM_UM2))
        } | {
            "eastils_pct": "" if measured else "the cells carry no measured areas",
            "morisita_horn": f"squares of {cfg.tilab_patch_um:g} um: {pair}",
            "tilab": f"0.5 * {overlap:.6g} * {len(bed_tils[0]):,} / {len(tumour_cells[0]):,}" if overlap else pair,
            "positive_patches_frac": f"{n_positive:,} of {n_patches:,} patches of {cfg.patch_um:g} um hold "
            f"{cfg.patch_min_tils} TILs or more",
        }
        return [
            Number(
                f"compat.{name}",
                "%" if name.endswith("_pct") else "",
                entry["formula"],
                terms.get(name, ""),
                (again.get(name) or {}).get("value"),
                entry["value"],
                counted=name in again and not (measured and name == "eastils_pct"),
            )
            for name, entry in self.score.compat.items()
        ]

    def _tumour_cells(self) -> tuple[Floats, Floats]:
        cells = self.cells[self.cells.label == Cell.EPITHELIAL]
        inside = self.parts.sample(cells.x_um, cells.y_um) == Part.TUMOUR
        return np.asarray(cells.x_um[inside], np.float64), np.asarray(cells.y_um[inside], np.float64)

    def differences(self) -> list[str]:
        """What `score.json` says otherwise of the terms, the account and the cores, one line each."""
        score, counted, tumour = self.score, self.n_in, Part.TUMOUR
        pairs: list[tuple[str, float | None, float | None]] = [
            ("n_tils", score.n_tils, int(counted[Part.STROMA])),
            ("n_itils", score.n_itils, int(counted[tumour])),
            ("stroma_mm2", score.stroma_mm2, self.mm2(Part.STROMA)),
            ("tumour_mm2", score.tumour_mm2, self.mm2(tumour)),
            ("tissue_mm2", score.tissue_mm2, self.mm2(*(p for p in Part if p not in NOT_TISSUE))),
        ]
        for row in score.account:
            if row["role"] != "flagged":
                part = Part[row["part"].upper()]
                pairs += [
                    (f"account of {row['part']}, {what}", row[what], again)
                    for what, again in (
                        ("mm2", self.mm2(part)),
                        ("n_px", int(self.n_px[part])),
                        ("n_tils", int(counted[part])),
                    )
                ]
        if score.cores:
            for what, again in (("n_tils", int(counted[Part.STROMA])), ("stroma_mm2", self.mm2(Part.STROMA))):
                pairs.append((f"sum of the cores, {what}", math.fsum(c[what] for c in score.cores), again))
        return [
            f"{name}: {said} in score.json, {again} counted" for name, said, again in pairs if not same(said, again)
        ]
