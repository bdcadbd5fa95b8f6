"""The worst errors as pictures: missed, spurious and misnamed nuclei of which the model was most certain."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.crops import warped
from tilscore.evaluate.predict import FieldResult
from tilscore.labels import CELL_COLOURS, RGB, Cell

KINDS = ("spurious", "mistyped", "missed")
SIDE_UM = 40.0
"""Side of a picture: the nucleus and what is around it."""
SIDE_PX = 240
PER_FIELD = 2
"""Errors of one kind from one field at most, so that one bad field does not hide the others."""
UNTYPED_COLOUR: RGB = (255, 255, 255)
MARK: RGB = (255, 210, 0)


@dataclass(frozen=True)
class Mistake:
    """One error.

    `kind` : of `KINDS`. `certainty` : 0..1, see `mistakes`. `at_um` : from the field's corner.
    """

    kind: str
    field: FieldResult
    at_um: tuple[float, float]
    certainty: float
    true: str
    found: str

    @property
    def at_px(self) -> tuple[float, float]:
        """Place in the field's own image."""
        return self.at_um[0] / self.field.sample.mpp, self.at_um[1] / self.field.sample.mpp


def worst(fields: list[FieldResult], kind: str, n: int) -> list[Mistake]:
    """The `n` most certain errors of one kind, at most `PER_FIELD` of a field."""
    own = []
    for f in fields:
        some = sorted((m for m in mistakes(f) if m.kind == kind), key=lambda m: -m.certainty)
        own += some[:PER_FIELD]
    return sorted(own, key=lambda m: -m.certainty)[:n]


def mistakes(f: FieldResult) -> list[Mistake]:
    """Every error of a field.

    The certainty is P(nucleus) of a spurious cell, P(nucleus of the wrong class) of a misnamed one, and of a missed
    nucleus 1 - P(nucleus) of the most probable candidate on it that is not another nucleus's cell.
    """
    m, (detection, types) = f.matches, f.probs
    out = []
    for i in m.spurious:
        k = f.cells[i]
        out.append(_mistake("spurious", f, f.found_um[k], detection[k], "nothing", _name(m.found_label[i])))
    for t, i in m.pairs:
        if m.true_label[t] >= 0 and m.true_label[t] != m.found_label[i]:
            k = f.cells[i]
            sure = detection[k] * types[k, m.found_label[i]]
            names = _name(m.true_label[t]), _name(m.found_label[i])
            out.append(_mistake("mistyped", f, f.true_um[t], sure, *names))
    taken = np.zeros(len(detection), bool)
    taken[f.cells[m.pairs[:, 1]]] = True
    for t in np.delete(np.arange(len(f.true_um)), m.pairs[:, 0]):
        near = np.hypot(*(f.found_um - f.true_um[t]).T) <= f.radius_um
        sure = 1 - float(detection[near & ~taken].max(initial=0.0))
        out.append(_mistake("missed", f, f.true_um[t], sure, _name(m.true_label[t]), "nothing"))
    return out


def _mistake(kind: str, f: FieldResult, at_um: NDArray[np.floating], sure: float, true: str, found: str) -> Mistake:
    return Mistake(kind, f, (float(at_um[0]), float(at_um[1])), float(sure), true, found)


def _name(label: int) -> str:
    return Cell(label).name.lower() if label >= 0 else "untyped"


def picture(mistake: Mistake) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The surroundings of an error, [240 240 3] uint8 without and with drawing.

    Dots are the true nuclei, rings the cells found, both in the colour of their class (white: untyped); the corners
    mark the error.
    """
    f = mistake.field
    scale = SIDE_PX / SIDE_UM
    origin = np.array(mistake.at_um) - SIDE_UM / 2
    zoom = f.sample.mpp * scale
    shift = -origin * scale + 0.5 * zoom - 0.5  # cv2 counts from pixel centres
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    size = (SIDE_PX, SIDE_PX)
    plain = warped(f.sample.image, matrix, size, flags=cv2.INTER_CUBIC, borderValue=(255, 255, 255))
    drawn = plain.copy()
    for (x, y), label in zip((f.true_um - origin) * scale, f.sample.label, strict=True):
        _dot(drawn, x, y, CELL_COLOURS[Cell(label)] if label >= 0 else UNTYPED_COLOUR)
    named = f.probs[1].argmax(axis=1)
    for k in f.cells:
        x, y = (f.found_um[k] - origin) * scale
        _ring(drawn, x, y, f.radius_um * scale, CELL_COLOURS[Cell(int(named[k]))])
    _corners(drawn, round(0.8 * SIDE_PX / 4))
    return plain, drawn


def _dot(image: NDArray[np.uint8], x: float, y: float, colour: RGB) -> None:
    cv2.circle(image, (round(16 * x), round(16 * y)), 16 * 6, (0, 0, 0), -1, cv2.LINE_AA, 4)
    cv2.circle(image, (round(16 * x), round(16 * y)), 16 * 5, colour, -1, cv2.LINE_AA, 4)


def _ring(image: NDArray[np.uint8], x: float, y: float, radius: float, colour: RGB) -> None:
    for width, shade in ((4, (255, 255, 255)), (2, colour)):
        cv2.circle(image, (round(16 * x), round(16 * y)), round(16 * radius), shade, width, cv2.LINE_AA, 4)


def _corners(image: NDArray[np.uint8], reach: int) -> None:
    """Four corners of a frame around the middle."""
    middle, arm = SIDE_PX // 2, reach // 3
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = middle + sx * reach, middle + sy * reach
            for end in ((x - sx * arm, y), (x, y - sy * arm)):
                cv2.line(image, (x, y), end, (0, 0, 0), 4, cv2.LINE_AA)
                cv2.line(image, (x, y), end, MARK, 2, cv2.LINE_AA)
