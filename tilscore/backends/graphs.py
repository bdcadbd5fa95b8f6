"""Networks as OpenVINO's graphs, kept from run to run: converting one takes ten seconds and all of torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tilscore.backends.openvino_backend import convert
from tilscore.backends.openvino_runtime import ov
from tilscore.config import as_values
from tilscore.errors import OutputError
from tilscore.files import replacing

if TYPE_CHECKING:
    from tilscore.modelstore import Model

N_KEPT = 8
"""Graphs that are kept; of more, those that were not used for longest go."""
_MADE_BY = ("tilscore.network.nets", "tilscore.network.quantise", "tilscore.backends.openvino_backend")
"""Code that a graph depends on: of other code, it is another graph."""
_PARTS = ("graph.xml", "graph.bin")


def graph_of(model: Model, turns: int = 1, *, int8: bool = False) -> ov.Model:
    """The graph of a model, averaged over `turns` views; converted where none is kept, or the one kept is damaged.

    A folder that cannot be written keeps none.

    Parameters
    ----------
    int8 : rounded to 8-bit integers, if the model's activations were observed; of one view alone.
    """
    path = graphs_folder() / f"{model.config.name}-{_key(model, turns, int8=int8)}.zip"
    with contextlib.suppress(OSError, zipfile.BadZipFile, KeyError, RuntimeError):
        return _read(path)
    from tilscore.network.nets import turned

    net = (model.load_quantised() if int8 else None) or model.load()
    graph = convert(turned(net, turns))
    with contextlib.suppress(OutputError):
        _write(path, graph)
    return graph


def graphs_folder() -> Path:
    """Where graphs are kept: `$TILSCORE_CACHE`, else in the platform's folder for what can be made again."""
    import platformdirs

    own = os.environ.get("TILSCORE_CACHE")
    return Path(own) if own else Path(platformdirs.user_cache_dir("tilscore", appauthor=False))


def _key(model: Model, turns: int, *, int8: bool) -> str:
    """Of all that decides what a graph computes."""
    facts = {
        "weights": model.config.weights_sha256,
        "net": as_values(model.config.net),
        "turns": turns,
        "int8": int8,
        "versions": {name: version(name) for name in ("openvino", "timm", "torch")},
        "code": {name: hashlib.sha256(_source(name)).hexdigest() for name in _MADE_BY},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _source(module: str) -> bytes:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_bytes()


def _read(path: Path) -> ov.Model:
    """A kept graph; a zip file tells by its checksums when it is damaged."""
    with zipfile.ZipFile(path) as kept:
        xml, weights = (kept.read(name) for name in _PARTS)
    graph = ov.Core().read_model(xml, weights)
    with contextlib.suppress(OSError):
        os.utime(path)
    return graph


def _write(path: Path, graph: ov.Model) -> None:
    with tempfile.TemporaryDirectory() as folder, replacing(path) as beside:
        parts = [Path(folder) / name for name in _PARTS]
        ov.serialize(graph, *parts)
        with zipfile.ZipFile(beside, "w") as kept:
            for part in parts:
                kept.write(part, part.name)
    for old in sorted(path.parent.glob("*.zip"), key=lambda p: -p.stat().st_mtime)[N_KEPT:]:
        with contextlib.suppress(OSError):
            old.unlink()
