"""Cells for QuPath: point detections as GeoJSON, written piece by piece."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tilscore.cells import Cells
from tilscore.errors import OutputError
from tilscore.files import replacing
from tilscore.labels import CELL_COLOURS, Cell
from tilscore.space import BoxUm, Grid

_BATCH = 10_000
"""Cells per piece: some 2 MB of text, so that memory does not grow with the slide."""


def write_cells_geojson(path: Path, cells: Cells, level0: Grid, bounds_um: BoxUm | None = None) -> None:
    """Write cells as detections that QuPath opens; gzipped where the name ends with `.gz`.

    Each is a point in level-0 pixels of the image as QuPath opens it, which is the scanned part `bounds_um` where the
    format states one; with class, colour and the measurement `prob`. The same cells give the same bytes.

    Raises
    ------
    OutputError : a position or probability is not finite, or the file cannot be written.
    """
    if not all(np.isfinite(column).all() for column in (cells.x_um, cells.y_um, cells.prob)):
        raise OutputError("cells without a position or probability", where=path, do="run `tilscore infer` again")
    with replacing(path) as beside, open(beside, "wb") as raw:
        # No name and time in the gzip header: they would change the bytes from run to run.
        packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if Path(path).suffix == ".gz" else raw
        for text in _pieces(cells, level0, bounds_um):
            packed.write(text.encode())
        if packed is not raw:
            packed.close()


def _pieces(cells: Cells, level0: Grid, bounds_um: BoxUm | None) -> Iterator[str]:
    """The file's text in pieces."""
    x0, y0 = (0.0, 0.0) if bounds_um is None else (bounds_um.x0, bounds_um.y0)
    yield '{"type":"FeatureCollection","features":['
    for start in range(0, len(cells), _BATCH):
        part = cells[start : start + _BATCH]
        x_px = level0.to_px(part.x_um.astype(np.float64) - x0).tolist()
        y_px = level0.to_px(part.y_um.astype(np.float64) - y0).tolist()
        columns = zip(_idents(part, start), x_px, y_px, part.label.tolist(), part.prob.tolist(), strict=True)
        yield ("," if start else "") + "\n" + ",\n".join(_feature(*one) for one in columns)
    yield "\n]}\n"


_CLASS = {
    int(c): json.dumps({"name": c.name.capitalize(), "color": CELL_COLOURS[c]}, separators=(",", ":")) for c in Cell
}
"""QuPath's classification, by value of `Cell`."""


def _feature(ident: str, x_px: float, y_px: float, label: int, prob: float) -> str:
    # Without an objectType among the properties QuPath makes annotations, of which it bears only thousands.
    return (
        f'{{"type":"Feature","id":"{ident}","geometry":{{"type":"Point","coordinates":[{x_px:.2f},{y_px:.2f}]}},'
        f'"properties":{{"objectType":"detection","classification":{_CLASS[label]},'
        f'"measurements":{{"prob":{prob:.3f}}}}}}}'
    )


def _idents(part: Cells, start: int) -> Iterator[str]:
    """One UUID (version 4 in form) a cell, made from the cells themselves and their place in the file."""
    digest = hashlib.shake_128(start.to_bytes(8, "big"))
    for column in (part.x_um, part.y_um, part.label):
        digest.update(column.tobytes())
    text = digest.hexdigest(16 * len(part))
    for i in range(0, len(text), 32):
        h = text[i : i + 32]
        yield f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"
