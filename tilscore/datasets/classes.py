"""Class maps as data: what each class of a published set becomes here, and which classes there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.sample import UNTYPED
from tilscore.errors import ConfigError, DataError
from tilscore.labels import UNKNOWN, Cell, Region

IGNORED = -2
"""No nucleus: the object is left out, and the ground under it is unknown."""

_CELL_WORDS = {**{c.name.lower(): int(c) for c in Cell}, "untyped": UNTYPED, "ignored": IGNORED}
_REGION_WORDS = {**{r.name.lower(): int(r) for r in Region}, "unknown": UNKNOWN}
_DO = "say what it is with the option `classes`, e.g. {{{0}: untyped}}"


class Entry(NamedTuple):
    """A class of a set: its name there, what it becomes, and its code where the set's files hold codes."""

    name: str
    to: int
    code: int | None = None


@dataclass(frozen=True)
class ClassMap:
    """What the classes of one set become.

    Parameters
    ----------
    cells : `to` is a value of `Cell`, `UNTYPED` or `IGNORED`.
    regions : `to` is a value of `Region` or `UNKNOWN`.
    """

    cells: tuple[Entry, ...] = ()
    regions: tuple[Entry, ...] = ()

    def changed(self, classes: Mapping[str, str]) -> ClassMap:
        """The map with other targets for some classes, or with classes added.

        Parameters
        ----------
        classes : name of a class to a word: `inflammatory ... other`, `untyped`, `ignored` for cells, and
            `tumour ... fat`, `unknown` for regions. A name that is a cell and a region at once is changed in both
            where the word fits.

        Raises
        ------
        ConfigError : a word that is none of these.
        """
        out = self
        for name, word in classes.items():
            in_regions = word in _REGION_WORDS and (word not in _CELL_WORDS or _has(self.regions, name))
            in_cells = word in _CELL_WORDS and (word not in _REGION_WORDS or not in_regions or _has(self.cells, name))
            if not in_cells and not in_regions:
                words = ", ".join(dict.fromkeys([*_CELL_WORDS, *_REGION_WORDS]))
                raise ConfigError(f"class {name} cannot become that", found=word, do=f"use one of {words}")
            if in_cells:
                out = replace(out, cells=_set(out.cells, name, _CELL_WORDS[word]))
            if in_regions:
                out = replace(out, regions=_set(out.regions, name, _REGION_WORDS[word]))
        return out

    def cell(self, name: str, where: object) -> int:
        """Label of the nuclei class `name` (case does not matter)."""
        return _find(self.cells, name, where)

    def region(self, name: str, where: object) -> int:
        """Region that the class `name` becomes (case does not matter)."""
        return _find(self.regions, name, where)

    def cell_labels(self, names: Iterable[object], where: object) -> NDArray[np.int8]:
        """Labels [n] of nuclei by their class names.

        Raises
        ------
        DataError : a class that the set does not have.
        """
        words = [str(n) for n in names]
        table = {n: self.cell(n, where) for n in dict.fromkeys(words)}
        return np.array([table[n] for n in words], np.int8)

    def cell_codes(self, codes: NDArray[np.integer], where: object) -> NDArray[np.int8]:
        """Labels [n] of nuclei by the set's codes."""
        table = {int(c): _code(self.cells, int(c), where) for c in np.unique(codes)}
        return np.array([table[int(c)] for c in codes], np.int8)

    def region_codes(self, mask: NDArray[np.integer], where: object) -> NDArray[np.uint8]:
        """Regions [h w] of a mask of the set's codes."""
        table = np.full(max(256, int(mask.max(initial=0)) + 1), UNKNOWN, np.uint8)
        for code in np.unique(mask):
            table[code] = _code(self.regions, int(code), where)
        return np.asarray(table[mask], np.uint8)


def word(to: int, *, region: bool = False) -> str:
    """The word for a target of a class map, as `ClassMap.changed` takes it."""
    words = _REGION_WORDS if region else _CELL_WORDS
    return next(w for w, value in words.items() if value == to)


def _has(entries: tuple[Entry, ...], name: str) -> bool:
    return any(e.name.lower() == name.strip().lower() for e in entries)


def _set(entries: tuple[Entry, ...], name: str, to: int) -> tuple[Entry, ...]:
    if not _has(entries, name):
        return (*entries, Entry(name, to))
    return tuple(e._replace(to=to) if e.name.lower() == name.strip().lower() else e for e in entries)


def _find(entries: tuple[Entry, ...], name: str, where: object) -> int:
    key = name.strip().lower()
    for entry in entries:
        if entry.name.lower() == key:
            return entry.to
    known = [e.name for e in entries]
    near = difflib.get_close_matches(key, [k.lower() for k in known], 1)
    hint = f"; nearest known class: {next(k for k in known if k.lower() == near[0])}" if near else ""
    do = f"known are {', '.join(k or 'an empty word' for k in known)}{hint}; " + _DO.format(name or "''")
    raise DataError("unknown class", where=where, found=name, do=do)


def _code(entries: tuple[Entry, ...], code: int, where: object) -> int:
    for entry in entries:
        if entry.code == code:
            return entry.to
    known = ", ".join(f"{e.code} {e.name}" for e in entries if e.code is not None)
    raise DataError("unknown class code", where=where, found=code, do=f"known are {known}")
