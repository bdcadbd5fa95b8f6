"""A table of the page, as the template takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TableRow:
    """A row: its cells, a cell of several lines as a list, and what is said beneath it."""

    cells: Sequence[str | list[str]]
    said: Sequence[str] = ()


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Attributes
    ----------
    csv : name of the file that holds all of its figures. head : each column's title, and whether it holds numbers.
    note : what is said of the whole table, or "".
    """

    title: str
    csv: str
    head: Sequence[tuple[str, bool]]
    lines: Sequence[TableRow]
    note: str = ""
