"""Drawing on RGB pictures: text, tints, outlines, scale bars, colour maps. No knowledge of slides or scores.

Pictures are [h w 3] uint8 RGB. Covers are [h w] float32 in 0..1: how far a pixel belongs to a mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tilscore.labels import RGB
from tilscore.space import Grid, Window

Picture = NDArray[np.uint8]
Cover = NDArray[np.float32]

INK: RGB = (24, 28, 36)
MUTED: RGB = (98, 106, 120)
RULE: RGB = (221, 225, 231)
PAPER: RGB = (255, 255, 255)
_SHIFT = 4
"""Binary digits of a pixel that cv2 keeps when it draws circles."""


@lru_cache(maxsize=64)
def font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans (it comes with matplotlib) at `size_px`."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size_px)


def shorten(text: str, face: ImageFont.FreeTypeFont, width_px: float) -> str:
    """`text`, cut with an ellipsis in the middle so that it is at most `width_px` wide."""
    if face.getlength(text) <= width_px:
        return text
    keep = len(text)
    while keep > 2 and face.getlength(text[: keep // 2] + "…" + text[-(keep // 2) :]) > width_px:
        keep -= 1
    return text[: keep // 2] + "…" + text[-(keep // 2) :]


def wrap(text: str, face: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    """`text` broken at spaces into lines of at most `width_px` (a single longer word is shortened)."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(joined) <= width_px:
            lines[-1] = joined
        else:
            lines.append(shorten(word, face, width_px))
    return lines


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """A bar of a round length: `length_um` microns are `length_px` pixels."""

    length_um: float
    length_px: int

    @classmethod
    def fitting(cls, width_px: int, mpp: float) -> ScaleBar:
        """The longest bar of 1, 2 or 5 times a power of ten microns within a quarter of the picture's width."""
        limit_um = width_px * mpp / 4
        power = 10.0 ** math.floor(math.log10(limit_um))
        length_um = max(m * power for m in (1, 2, 5) if m * power <= limit_um * (1 + 1e-9))
        return cls(length_um, max(round(length_um / mpp), 1))

    @property
    def label(self) -> str:
        return f"{self.length_um / 1000:g} mm" if self.length_um >= 1000 else f"{self.length_um:g} µm"


def draw_scale_bar(picture: Picture, mpp: float) -> ScaleBar:
    """Draw a scale bar on a white plate at the bottom left, in place; pictures under 80 px are left alone."""
    height, width = picture.shape[:2]
    bar = ScaleBar.fitting(min(width, 2 * height), mpp)
    if width < 80 or height < 80:
        return bar
    size_px = 20
    face, pad = font(size_px), size_px // 2
    plate_w = max(bar.length_px, math.ceil(face.getlength(bar.label))) + 2 * pad
    plate_h = 2 * size_px + pad
    x, y = pad, height - pad - plate_h
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    draw.rectangle((x, y, x + plate_w - 1, y + plate_h - 1), fill=(255, 255, 255, 225))
    draw.text((x + plate_w / 2, y + pad // 2), bar.label, INK, face, anchor="ma")
    left, low = x + (plate_w - bar.length_px) // 2, y + plate_h - pad
    draw.rectangle((left, low - 5, left + bar.length_px - 1, low), fill=(0, 0, 0))
    picture[:] = np.asarray(image)
    return bar


def cover_of(mask: NDArray[np.bool_], grid: Grid, window: Window) -> Cover:
    """How far each pixel of `window` is covered by a mask on another grid.

    Parameters
    ----------
    mask : [h w] bool on `grid`.
    window : the part of the slide, at any mpp, to bring it to.

    Returns
    -------
    [window.h window.w] float32; bilinear between the mask's pixel centres, averaged when `window` is coarser.
    """
    out = warp(mask.astype(np.uint8) * np.uint8(255), grid, window) / np.float32(255)
    return np.asarray(out, np.float32)


def warp(
    values: NDArray[np.uint8] | NDArray[np.float32], grid: Grid, window: Window
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """`values` [h w] of `grid` at the pixel centres of `window`; 0 outside the grid. Kind as the input."""
    scale = window.grid.mpp / grid.mpp
    if not values.size or not window.w or not window.h:
        return np.zeros(window.shape, values.dtype)
    size = round(scale)
    source = cv2.blur(values, (size, size), borderType=cv2.BORDER_REPLICATE) if size > 1 else values
    # cv2.blur of an even size averages half a pixel up and left of the pixel's centre
    lean = 0.5 if size > 1 and size % 2 == 0 else 0.0
    shift_x, shift_y = ((at + 0.5) * scale - 0.5 + lean for at in (window.x, window.y))
    matrix = np.array([[scale, 0.0, shift_x], [0.0, scale, shift_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(source, matrix, (window.w, window.h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    for axis, start, count, limit in ((0, window.y, window.h, grid.height_um), (1, window.x, window.w, grid.width_um)):
        centre = (start + np.arange(count) + 0.5) * window.grid.mpp
        outside = np.flatnonzero((centre < 0) | (centre > limit))
        out[(slice(None),) * axis + (outside,)] = 0
    return np.asarray(out, np.float32) if values.dtype == np.float32 else np.asarray(out, np.uint8)


def grey(picture: Picture, fade: float = 0.35) -> Picture:
    """The picture in greys, mixed with `fade` of white."""
    light = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    light += (255 - light) * fade
    return np.repeat(np.round(light).astype(np.uint8)[..., None], 3, axis=2)


def blend(picture: Picture, colour: RGB | Picture, alpha: Cover) -> Picture:
    """`picture` under a colour, or another picture, of opacity `alpha` per pixel."""
    over = np.asarray(colour, np.float32)
    mixed = picture + (over - picture) * alpha[..., None]
    return np.round(mixed).astype(np.uint8)


def hatch(picture: Picture, cover: Cover, colour: RGB) -> Picture:
    """Tint the covered part lightly and rule it with diagonal lines."""
    height, width = cover.shape
    lines = (np.arange(height)[:, None] + np.arange(width)[None, :]) % 9 < 3
    return blend(picture, colour, cover * np.where(lines, 0.9, 0.25).astype(np.float32))


def outline(
    picture: Picture, cover: Cover, colour: RGB, line_px: int = 2, casing: RGB | None = None, dash_px: int = 0
) -> None:
    """Draw the edge of the covered part, in place, with a wider line of colour `casing` beneath.

    With `dash_px` it is dashed, on a whole casing: dashes and gaps of about that length.
    """
    pad = 2 * line_px + 4
    padded = cv2.copyMakeBorder((cover >= 0.5).astype(np.uint8), pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    contours, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    smooth = [s for s in (_smooth(np.asarray(c, np.int32)) for c in contours) if len(s) > 2]
    whole = [s - (pad << _SHIFT) for s in smooth]
    if casing is not None:
        cv2.polylines(picture, whole, True, casing, line_px + 2, cv2.LINE_AA, _SHIFT)
    # The points of a contour lie a pixel apart.
    dashes = [s[i : i + dash_px] for s in whole for i in range(0, len(s), 2 * dash_px)] if dash_px else whole
    cv2.polylines(picture, dashes, not dash_px, colour, line_px, cv2.LINE_AA, _SHIFT)


def _smooth(contour: NDArray[np.int32]) -> NDArray[np.int32]:
    """A closed pixel contour [n 1 2] with its stairs averaged out, in units of 1/16 px."""
    points = contour.astype(np.float64)
    if len(points) > 8:
        points = np.asarray(sum(np.roll(points, k, axis=0) for k in range(-2, 3))) / 5
    return np.asarray(np.round(points * (1 << _SHIFT)), np.int32)


def ring(picture: Picture, x_px: float, y_px: float, radius_px: float, colour: RGB, line_px: int, dot: bool) -> None:
    """Draw an unfilled circle, in place; `dot` marks its centre. 0 = left or top edge of pixel 0."""
    centre = (round((x_px - 0.5) * (1 << _SHIFT)), round((y_px - 0.5) * (1 << _SHIFT)))
    radius = round(radius_px * (1 << _SHIFT))
    cv2.circle(picture, centre, radius, colour, line_px, cv2.LINE_AA, _SHIFT)
    for size, tone in ((1.4, PAPER), (0.8, colour)) if dot else ():
        cv2.circle(picture, centre, round(line_px * size * (1 << _SHIFT)), tone, -1, cv2.LINE_AA, _SHIFT)


Rect = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of a picture."""


def badge(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, radius: int) -> None:
    """A dark disc with a number."""
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=INK, outline=PAPER, width=2)
    draw.text((x, y), text, PAPER, font(round(radius * 1.2), bold=True), anchor="mm")


def draw_badges(picture: Picture, boxes: list[Rect], labels: Sequence[Rect] = ()) -> None:
    """Frame each box and number it from 1, in place; a number goes to the corner that is farthest from the others and
    from `labels`, which it must not cover."""
    radius = 15
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    height, width = picture.shape[:2]
    placed: list[tuple[float, float]] = []
    middles = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes]
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        for grow, colour in ((2, PAPER), (0, INK)):
            draw.rectangle((x0 - grow, y0 - grow, x1 + grow, y1 + grow), outline=colour, width=2)
        reach = radius * 0.9
        corners = [(x, y) for y in (y0 - reach, y1 + reach) for x in (x1 + reach, x0 - reach)]
        corners = [(min(max(x, radius), width - radius), min(max(y, radius), height - radius)) for x, y in corners]
        others = placed + [m for i, m in enumerate(middles) if i != number - 1]
        far = [min([math.dist(c, o) for o in others], default=0.0) for c in corners]
        free = [all(_apart(c, label) > radius + 2 for label in labels) for c in corners]
        placed.append(corners[max(range(len(corners)), key=lambda i: (free[i], far[i]))])
    for number, (x, y) in enumerate(placed, 1):
        badge(draw, x, y, str(number), radius)
    picture[:] = np.asarray(image)


def _apart(point: tuple[float, float], box: Rect) -> float:
    """Distance of a point to a box; 0 inside."""
    return math.hypot(*(max(low - p, p - high, 0.0) for p, low, high in zip(point, box[:2], box[2:], strict=True)))


def draw_frame(picture: Picture, box: Rect, label: str, *, at_end: bool = False) -> Rect:
    """A thin grey frame with a label on a white plate in its top left corner (`at_end`: lower right), in place.

    Returns
    -------
    Where the label lies.
    """
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    draw.rectangle(box, outline=MUTED, width=2)
    face = font(18)
    w, h = math.ceil(face.getlength(label)) + 8, 24
    x, y = (box[2] - w - 2, box[3] - h - 2) if at_end else (box[0] + 2, box[1] + 2)
    x, y = max(min(x, picture.shape[1] - w), 0), max(min(y, picture.shape[0] - h), 0)
    draw.rectangle((x, y, x + w, y + h), fill=(255, 255, 255, 225))
    draw.text((x + 4, y + h / 2), label, INK, face, anchor="lm")
    picture[:] = np.asarray(image)
    return x, y, x + w, y + h


@dataclass(frozen=True, slots=True)
class ColourScale:
    """Colours for numbers from 0 to `top`; `value = top * t ** (1 / gamma)` at share `t` of the bar."""

    top: float
    ticks: tuple[float, ...]
    gamma: float = 0.5
    name: str = "viridis"

    def place(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Share of the bar, 0..1, at which each value lies."""
        return np.asarray(np.clip(np.nan_to_num(values) / self.top, 0, 1) ** self.gamma, np.float64)

    def colours(self, values: NDArray[np.floating]) -> Picture:
        """[... 3] uint8 colour of each value; NaN as 0."""
        import matplotlib

        table = np.round(matplotlib.colormaps[self.name](np.arange(256))[:, :3] * 255).astype(np.uint8)
        return np.asarray(table[np.round(self.place(values) * 255).astype(np.int64)])

    def bar(self, width_px: int, height_px: int) -> Picture:
        """The colour bar, lying, low values on the left."""
        share = (np.arange(width_px) + 0.5) / width_px
        row = self.colours(self.top * share ** (1 / self.gamma))
        return np.repeat(row[None], height_px, axis=0)
