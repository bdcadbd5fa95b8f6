"""Parts of the overlay's page: the slide pictures with their legends, and the fields."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from tilscore.inputs.words import several
from tilscore.labels import RGB
from tilscore.overlay.draw import INK, MUTED, PAPER, RULE, ColourScale, badge, font, shorten, wrap
from tilscore.overlay.fieldpanels import FieldPanel
from tilscore.overlay.panels import Panels
from tilscore.overlay.slidepanel import Key, Panel, mm2

MARGIN = 60
"""White at the left and right of the page, px."""
GAP = 40
"""White between columns, px."""
NO_DENSITY = "No density: no score or no evaluable stroma"
WASH: RGB = (247, 248, 250)


def number(value: float | None, digits: int = 3) -> str:
    """A number of `digits` significant digits with thousands marked; a dash for None or NaN. Next to nothing is not
    written out: a row of zeros says no more and does not fit."""
    if value is None or not math.isfinite(value):
        return "-"
    if 0 < abs(value) < 0.0005:
        return "<0.001" if value > 0 else ">-0.001"
    places = 0 if value == 0 else max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{places}f}"


def count(value: int | None) -> str:
    """A count with thousands marked; a dash for None."""
    return "-" if value is None else f"{value:,}"


def field_text(panel: FieldPanel, scored: bool) -> tuple[str, ...]:
    """What lies in a field, in one or two lines; only the cells on a slide that has no score."""
    shown = panel.field
    cells = ", ".join(f"{n} {c.name.lower()}" for c, n in panel.n_cells.items() if n) or "none"
    if not scored:
        return (f"Cells found: {cells}",)
    if not shown.stroma_mm2:
        return "No evaluable stroma in this field", f"Cells found: {cells}"
    counts = f"{several(shown.n_tils, 'TIL')} counted in {mm2(shown.stroma_mm2)} of evaluable stroma"
    density = shown.til_density_per_mm2
    if density is not None:
        counts += f": {number(density)} per mm²"
    return counts, f"Cells found: {cells}"


def blank(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty part of the page and its pen."""
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)


def slide_rows(panels: Panels, width: int) -> list[Image.Image]:
    """A, B and C beside each other, or below each other where the slide is wide."""
    shown = [("A", panels.overview), ("B", panels.regions), ("C", panels.heat)]
    column = (width - 2 * MARGIN - 2 * GAP) // 3
    wide = max(p.drawn.shape[1] for _, p in shown if p) > column
    if wide:
        column = width - 2 * MARGIN
    blocks = [_slide_block(letter, p, panels.scale, column) for letter, p in shown]
    rows = [[b] for b in blocks] if wide else [blocks]
    out = []
    for row in rows:
        image, draw = blank(width, max(b.height for b in row) + 20)
        draw.line((MARGIN, 0, width - MARGIN, 0), RULE, 2)
        for i, block in enumerate(row):
            image.paste(block, (MARGIN + i * (column + GAP), 16))
        out.append(image)
    return out


def _slide_block(letter: str, panel: Panel | None, scale: ColourScale, column: int) -> Image.Image:
    title = panel.title if panel else "Stromal TIL density"
    height = panel.drawn.shape[0] if panel else 200
    wide = column > 1500
    n_rows = (1 if wide and panel.keys else len(panel.keys)) if panel else 0
    bar_px = 130 if panel and not panel.keys else 0
    note = wrap(panel.note, font(22), column) if panel else []
    image, draw = blank(column, 56 + height + 20 + 38 * n_rows + bar_px + 32 * len(note) + 20)
    draw.text((0, 4), letter, INK, font(30, bold=True))
    draw.text((40, 4), title, INK, font(30))
    if panel is None:
        draw.rectangle((0, 56, column - 1, 55 + height), fill=WASH)
        draw.text((column / 2, 56 + height / 2), NO_DENSITY, MUTED, font(26), anchor="mm")
        return image
    image.paste(Image.fromarray(panel.drawn), (0, 56))
    draw.rectangle((0, 56, panel.drawn.shape[1] - 1, 55 + height), outline=RULE)
    x, y, face = 0.0, 56 + height + 20, font(22 if wide else 24)
    for key in panel.keys:
        _legend_key(draw, key, x, y)
        draw.text((x + 46, y), key.label, INK, face)
        after = x + 46 + face.getlength(key.label) + 12 if wide else 312
        draw.text((after, y), key.value, MUTED, face)
        x, y = (after + face.getlength(key.value) + 36, y) if wide else (0.0, y + 38)
    y = 56 + height + 20 + 38 * n_rows
    if bar_px:
        _colour_bar(image, scale, y, min(column, 1100))
        y += bar_px
    for i, line in enumerate(note):
        draw.text((0, y + 32 * i), line, MUTED, font(22))
    return image


def _colour_bar(image: Image.Image, scale: ColourScale, y: int, width: int) -> None:
    """The scale with its ticks and unit, from the left edge of `image`."""
    draw, pad = ImageDraw.Draw(image), 44
    bar = scale.bar(width - 2 * pad, 26)
    image.paste(Image.fromarray(bar), (pad, y))
    for tick in scale.ticks:
        x = pad + float(scale.place(np.array(tick))) * (bar.shape[1] - 1)
        draw.line((x, y + 26, x, y + 36), INK, 2)
        label = f"{tick:,.0f}" if tick < scale.top else f"≥{tick:,.0f}"
        draw.text((x, y + 42), label, INK, font(22), anchor="ma")
    draw.text((pad, y + 78), "TILs per mm² of stroma (same scale on every slide)", MUTED, font(22))


def _legend_key(draw: ImageDraw.ImageDraw, key: Key, x: float, y: float) -> None:
    """A sign 32 x 24 px for one legend entry."""
    if key.kind == "line":
        draw.line((x, y + 14, x + 32, y + 14), key.colour, 5)
    elif key.kind == "dash":
        for k in (0, 12, 24):
            draw.line((x + k, y + 14, x + k + 7, y + 14), key.colour, 5)
    elif key.kind in ("ring", "dot"):
        draw.ellipse((x + 5, y + 3, x + 27, y + 25), outline=key.colour, width=4)
        if key.kind == "dot":
            draw.ellipse((x + 12, y + 10, x + 20, y + 18), fill=key.colour)
    else:
        soft = tuple(round(255 - (255 - c) * 0.35) for c in key.colour)
        draw.rectangle((x, y + 2, x + 32, y + 26), fill=soft if key.kind == "hatch" else key.colour, outline=RULE)
        for k in range(4, 30, 10) if key.kind == "hatch" else ():
            draw.line((x + k, y + 25, x + k + 8, y + 3), key.colour, 4)


def field_rows(panels: Panels, scored: bool, width: int) -> list[Image.Image]:
    """The fields, two per row; one alone gets the whole width."""
    head, draw = blank(width, 120)
    draw.line((MARGIN, 0, width - MARGIN, 0), RULE, 2)
    draw.text((MARGIN, 20), "D", INK, font(30, bold=True))
    text = "Fields: H&E, and the same with the model's cells" if panels.fields else "Fields: none, no tissue was found"
    draw.text((MARGIN + 40, 20), text, INK, font(30))
    x = float(MARGIN)
    for key in panels.cell_keys if panels.fields else ():
        _legend_key(draw, key, x, 76)
        draw.text((x + 42, 75), key.label, INK, font(22))
        x += 42 + font(22).getlength(key.label) + 34
    rows = [head]
    block_w = width - 2 * MARGIN if len(panels.fields) == 1 else (width - 2 * MARGIN - GAP) // 2
    for i in range(0, len(panels.fields), 2):
        pair = [_field_block(p, scored, block_w) for p in panels.fields[i : i + 2]]
        row, _ = blank(width, pair[0].height)
        for k, block in enumerate(pair):
            row.paste(block, (MARGIN + k * (block.width + GAP), 0))
        rows.append(row)
    return rows


def _field_block(panel: FieldPanel, scored: bool, width: int) -> Image.Image:
    side = (width - 8) // 2
    top = 114
    image, draw = blank(width, top + side + 36)
    badge(draw, 22, 24, str(panel.number), 20)
    draw.text((56, 6), panel.field.name, INK, font(28, bold=True))
    for i, line in enumerate(field_text(panel, scored)):
        draw.text((56, 46 + 30 * i), shorten(line, font(22), width - 56), MUTED, font(22))
    for k, picture in enumerate((panel.plain, panel.drawn)):
        shown = Image.fromarray(picture)
        if shown.size != (side, side):
            shown = shown.resize((side, side), Image.Resampling.LANCZOS)
        image.paste(shown, (k * (side + 8), top))
    return image
