"""The quality-control page of one slide: score, slide, regions, TIL density and fields with cells, as one picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tilscore import NOTE
from tilscore.errors import printable
from tilscore.files import replacing
from tilscore.labels import RGB
from tilscore.overlay.draw import INK, MUTED, PAPER, RULE, font, shorten, wrap
from tilscore.overlay.page import MARGIN, WASH, blank, count, field_rows, number, slide_rows
from tilscore.overlay.panels import OverlayConfig, Panels
from tilscore.overlay.slidepanel import area_text
from tilscore.score import Score
from tilscore.score.reasons import in_words

_RED: RGB = (176, 32, 40)
_AMBER: RGB = (150, 98, 0)
_GREEN: RGB = (24, 120, 70)


@dataclass(frozen=True)
class Title:
    """What the page is about."""

    slide_id: str
    model: str
    """Name of the model, with its version."""
    mpp_um: float
    """um per pixel of level 0."""
    mpp_source: str
    """Where `mpp_um` comes from, e.g. `openslide.mpp-x` or `given`."""


def compose(panels: Panels, score: Score, title: Title, cfg: OverlayConfig | None = None) -> Image.Image:
    """Put pictures that are already drawn on one page."""
    cfg = cfg or OverlayConfig()
    width = cfg.width_px
    scored = score.status == "ok"
    parts = [_header(score, title, width)]
    if not scored or score.reasons:
        parts.append(_banner(score, width))
    parts += [_numbers(score, width), *slide_rows(panels, width)]
    parts += [*field_rows(panels, scored, width), _footer(width)]
    page = Image.new("RGB", (width, sum(p.height for p in parts)), PAPER)
    y = 0
    for part in parts:
        page.paste(part, (0, y))
        y += part.height
    return page


def write_overlay(path: Path, page: Image.Image) -> None:
    """Write the page as PNG, beside and renamed.

    Raises
    ------
    OutputError : the folder cannot be written.
    """
    with replacing(path) as beside:
        page.save(beside, format="PNG", dpi=(290, 290), compress_level=4)  # in half the time of 6, 3 % larger


def headline(score: Score) -> str:
    """The state of a score in plain words."""
    return {"ok": "Scored", "not_evaluable": "Not evaluable"}.get(score.status, "Failed")


def interval_text(score: Score, name: str) -> str:
    """The 95 % interval of a number in a few characters; empty where there is none."""
    low, high = score.bound(name, "low"), score.bound(name, "high")
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def _header(score: Score, title: Title, width: int) -> Image.Image:
    image, draw = blank(width, 190)
    draw.rectangle((0, 0, width, 10), fill=INK)
    draw.text((MARGIN, 40), "Stromal TIL score: quality control", MUTED, font(26))
    draw.text((width - MARGIN, 40), NOTE, _RED, font(26, bold=True), anchor="ra")
    face, chip = font(52, bold=True), font(28, bold=True)
    word = headline(score)
    chip_w = chip.getlength(word) + 48
    name = shorten(printable(title.slide_id), face, width - 2 * MARGIN - chip_w - 40)
    draw.text((MARGIN, 80), name, INK, face)
    colour = _GREEN if score.status == "ok" else _RED
    draw.rounded_rectangle((width - MARGIN - chip_w, 84, width - MARGIN, 138), 27, fill=colour)
    draw.text((width - MARGIN - chip_w / 2, 111), word, PAPER, chip, anchor="mm")
    mpp = f"{title.mpp_um:.4g} µm per pixel ({printable(title.mpp_source)})"
    line = shorten(f"Model {printable(title.model)}   ·   {mpp}", font(26), width - 2 * MARGIN)
    draw.text((MARGIN, 148), line, MUTED, font(26))
    return image


def _banner(score: Score, width: int) -> Image.Image:
    ok = score.status == "ok"
    colour = _AMBER if ok else _RED
    face = font(30)
    lines = [w for r in score.reasons for w in wrap("• " + in_words(r), face, width - 2 * MARGIN - 100)]
    lead = 0 if ok else 100
    height = 40 + lead + 44 * max(len(lines), 1 if ok else 0) + 24
    image, draw = blank(width, height + 20)
    wash = tuple(round(255 - (255 - c) * 0.08) for c in colour)
    draw.rectangle((MARGIN, 20, width - MARGIN, height), fill=wash)
    draw.rectangle((MARGIN, 20, MARGIN + 10, height), fill=colour)
    if not ok:
        text = f"{headline(score).upper()}: no score is given for this slide"
        draw.text((MARGIN + 44, 40), text, colour, font(56, bold=True))
    for i, line in enumerate(lines):
        draw.text((MARGIN + 44, 40 + lead + 44 * i), line, INK if not ok else colour, face)
    return image


def _numbers(score: Score, width: int) -> Image.Image:
    """The strip of numbers; only areas and counts where there is no score."""
    scored = score.status == "ok"
    cards = (
        [
            ("TIL density in stroma", number(score.til_density_per_mm2), "TILs per mm² of stroma"),
            ("sTIL area", number(score.stil_area_pct), "% of stroma"),
            ("Infiltrated area", number(score.infiltrated_area_pct), "% of stroma"),
        ]
        if scored
        else []
    )
    sure = [interval_text(score, n) for n in ("til_density_per_mm2", "stil_area_pct", "infiltrated_area_pct")]
    cards += [("TILs counted", count(score.n_tils), "cells")] if scored else []
    cards += [
        ("Evaluable stroma", area_text(score.stroma_mm2), "mm²"),
        ("Tumour in bed", area_text(score.tumour_mm2), "mm²"),
        ("Tissue", area_text(score.tissue_mm2), "mm²"),
    ]
    image, draw = blank(width, 236)
    step = (width - 2 * MARGIN + 20) / len(cards)
    for i, (label, value, unit) in enumerate(cards):
        x, lead = MARGIN + i * step, scored and i < 3
        draw.rounded_rectangle((x, 20, x + step - 20, 206), 12, fill=INK if lead else WASH)
        soft = (200, 206, 216) if lead else MUTED
        draw.text((x + 26, 38), label, soft, font(24))
        draw.text((x + 26, 134), value, PAPER if lead else INK, font(60, bold=True), anchor="ls")
        draw.text((x + 26, 146), unit, soft, font(22))
        if lead and sure[i]:
            draw.text((x + 26, 174), f"95 %: {sure[i]}", soft, font(22))
    return image


def _footer(width: int) -> Image.Image:
    image, draw = blank(width, 90)
    draw.line((MARGIN, 10, width - MARGIN, 10), RULE, 2)
    text = "Tumour means epithelium; invasive and benign are not told apart. Cells were learned on breast and colon."
    draw.text((MARGIN, 30), text, MUTED, font(22))
    draw.text((width - MARGIN, 30), NOTE, _RED, font(22, bold=True), anchor="ra")
    return image
