"""OME-NGFF folders of known pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from tiffs import reduced

KINDS = {"t": "time", "c": "channel"}


def on_axes(pixels: NDArray[np.generic], axes: str) -> NDArray[np.generic]:
    """[h w c] as an array on `axes`."""
    kept = pixels.transpose(["yxc".index(axis) for axis in axes if axis in "yxc"])
    return np.expand_dims(kept, tuple(i for i, axis in enumerate(axes) if axis not in "yxc"))


def write_image(
    group: zarr.Group, pixels: NDArray[np.generic], *, axes: str = "tczyx", mpp: float = 0.25,
    unit: str | None = "micrometer", factors: tuple[int, ...] = (1, 2, 4), chunk: int = 128, shard: int = 0,
    index: str = "end", labels: tuple[str, ...] = (), colours: tuple[str, ...] = (), told: dict[str, Any] | None = None,
    **options: Any,
) -> None:  # fmt: skip
    """One image with its levels; `chunk` and `shard` are sides in px, `told` replaces parts of its multiscale."""
    datasets = []
    for i, factor in enumerate(factors):
        level = on_axes(reduced(pixels, factor) if factor > 1 else pixels, axes)
        side = {"x": chunk, "y": chunk, "c": 3 if axes.endswith("c") else 1}
        sides = tuple(shard if axis in "xy" else 1 for axis in axes)
        shards = {"shape": sides, "index_location": index} if shard else None
        array = group.create_array(
            str(i), shape=level.shape, dtype=level.dtype, chunks=tuple(side.get(axis, 1) for axis in axes),
            shards=shards, fill_value=0, **options,
        )  # fmt: skip
        array[...] = level
        scale = {"type": "scale", "scale": [mpp * factor if axis in "xy" else 1.0 for axis in axes]}
        datasets.append({"path": str(i), "coordinateTransformations": [scale]})
    named = [{"name": a, "type": KINDS.get(a, "space")} for a in axes]
    for axis in named:
        if unit and axis["type"] == "space":
            axis["unit"] = unit
    image = {"name": "x", "axes": named, "datasets": datasets, **(told or {})}
    channels = [{"label": f"Channel {i}", "color": c, "active": True} for i, c in enumerate(colours)]
    channels = [{"label": label} for label in labels] or channels
    version = "0.5" if group.metadata.zarr_format == 3 else "0.4"
    mark(
        group,
        {"multiscales": [image | ({"version": version} if version == "0.4" else {})], "omero": {"channels": channels}},
    )


def mark(group: zarr.Group, attributes: dict[str, Any]) -> None:
    """Attributes as of version 0.4 in zarr 2, and of 0.5 in zarr 3."""
    group.attrs.update({"ome": {"version": "0.5", **attributes}} if group.metadata.zarr_format == 3 else attributes)


def write_container(path: Path, images: list[NDArray[np.generic]], *, zarr_format: Any = 2, **options: Any) -> Path:
    """Images as bioformats2raw writes them: in groups 0, 1, ..., which a group OME names."""
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    mark(root, {"bioformats2raw.layout": 3})
    mark(root.create_group("OME"), {"series": [str(i) for i in range(len(images))]})
    for i, pixels in enumerate(images):
        write_image(root.create_group(str(i)), pixels, **options)
    return path
