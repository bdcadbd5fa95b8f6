"""Cells as columns: positions in microns, class, probability and the region they lie in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tilscore.errors import DataError
from tilscore.files import replacing
from tilscore.labels import Cell, Region

if TYPE_CHECKING:
    import pandas as pd

_LABELS = ", ".join(c.name.lower() for c in Cell)


@dataclass(frozen=True)
class Cells:
    """Nuclei of one slide, one entry each in every column.

    Parameters
    ----------
    x_um, y_um : [n] float32, microns from the top left corner of level 0.
    label : [n] uint8, values of `labels.Cell`.
    prob : [n] float32, probability that there is a nucleus of this class.
    region : [n] uint8, value of `labels.Region` under the centre.
    """

    x_um: NDArray[np.float32]
    y_um: NDArray[np.float32]
    label: NDArray[np.uint8]
    prob: NDArray[np.float32]
    region: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def __post_init__(self) -> None:
        kinds = {"x_um": np.float32, "y_um": np.float32, "label": np.uint8, "prob": np.float32, "region": np.uint8}
        if len(self.region) == 0 and len(self.x_um):
            object.__setattr__(self, "region", np.zeros(len(self.x_um), np.uint8))
        for name, kind in kinds.items():
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=kind))
        if len({len(getattr(self, name)) for name in kinds}) > 1:
            raise ValueError("the columns of Cells must be equally long")

    @classmethod
    def empty(cls) -> Cells:
        none = np.zeros(0)
        return cls(none.astype(np.float32), none.astype(np.float32), none.astype(np.uint8), none.astype(np.float32))

    def __len__(self) -> int:
        return len(self.x_um)

    def __getitem__(self, keep: NDArray[np.bool_] | NDArray[np.integer] | slice) -> Cells:
        return Cells(self.x_um[keep], self.y_um[keep], self.label[keep], self.prob[keep], self.region[keep])

    @classmethod
    def concat(cls, parts: list[Cells]) -> Cells:
        """All cells of `parts`, in order."""
        if not parts:
            return cls.empty()
        names = ("x_um", "y_um", "label", "prob", "region")
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))

    def of(self, label: Cell) -> Cells:
        """The cells of one class."""
        return self[self.label == label]

    def with_region(self, region: NDArray[np.uint8]) -> Cells:
        """The same cells with another region column."""
        return replace(self, region=region)


def write_cells(path: Path, cells: Cells) -> None:
    """Write `cells.parquet`: `x_um, y_um, label, prob, region`, with names for label and region."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def named(codes: NDArray[np.uint8], kind: type[Cell] | type[Region]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), [k.name.lower() for k in kind])

    units = {"x_um": "micron, right of level-0 left edge", "y_um": "micron, below level-0 top edge"}
    columns = {
        "x_um": pa.array(cells.x_um),
        "y_um": pa.array(cells.y_um),
        "label": named(cells.label, Cell),
        "prob": pa.array(cells.prob),
        "region": named(cells.region, Region),
    }
    schema = pa.schema(
        [pa.field(n, c.type, metadata={"unit": units[n]} if n in units else None) for n, c in columns.items()],
        metadata={"tilscore_cells": "1"},
    )
    with replacing(path) as beside:
        pq.write_table(pa.table(columns, schema=schema), beside, row_group_size=1 << 17)


def cells_of(table: pd.DataFrame) -> Cells:
    """Cells that were found elsewhere, from a table with a row a nucleus.

    Parameters
    ----------
    table : with `x_um`, `y_um` (microns from the top left corner of level 0) and `label` (a name of `labels.Cell`, in
        whatever case, or its value); `prob` (else 1) and `region` (of `labels.Region`, else 0) may be absent.

    Raises
    ------
    DataError : a column is missing, or holds what is no number or no class.
    """
    try:
        return _from_columns({str(name): table[name].to_numpy() for name in table.columns})
    except (KeyError, ValueError) as err:
        raise DataError("is not a table of cells", found=err, do=f"give x_um, y_um and label: {_LABELS}") from err


def read_cells(path: Path | str) -> Cells:
    """Read a `cells.parquet`; the columns `prob` and `region` may be absent.

    Raises
    ------
    DataError : no such file, or not a table of cells.
    """
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        return _from_columns({name: table.column(name).to_numpy() for name in table.column_names})
    except FileNotFoundError as err:
        raise DataError("table of cells is not there", where=path, do="run `tilscore infer` first") from err
    except (OSError, KeyError, ValueError) as err:
        raise DataError("is not a table of cells", where=path, found=err, do="run `tilscore infer` first") from err


def _from_columns(names: Mapping[str, NDArray[Any]]) -> Cells:
    x, y, label = names["x_um"], names["y_um"], _codes(names["label"], Cell)
    region = _codes(names.get("region", np.zeros(len(x), np.uint8)), Region)
    return Cells(x, y, label, names.get("prob", np.ones(len(x))), region)


def _codes(values: NDArray[Any], kind: type[Cell] | type[Region]) -> NDArray[np.uint8]:
    """Values of a class, given by name or by value."""
    if values.dtype.kind not in "iu":
        values = np.array([kind[str(v).upper()] for v in values], np.uint8)
    if len(values) and not (values.min() >= 0 and values.max() < len(kind)):
        raise ValueError(f"{kind.__name__.lower()} {values.max()} is no class")
    return np.asarray(values, np.uint8)
