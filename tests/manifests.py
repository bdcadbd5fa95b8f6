"""Manifests for tests: a good line, and lines to look at."""

from __future__ import annotations

from pathlib import Path

HEAD = "slide_id,path,patient_id,timepoint,specimen,site"
GOOD = "S1,a.svs,P001,baseline,core,breast"


def written(folder: Path, text: str | bytes) -> Path:
    (folder / "a.svs").write_bytes(b"x")
    (folder / "b.svs").write_bytes(b"x")
    path = folder / "slides.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(*rows: str, head: str = HEAD) -> str:
    return "\n".join((head, *rows)) + "\n"


def second(row: str) -> str:
    """A good line, and one to look at on line 3."""
    return lines(GOOD, row)


def extra(column: str, *values: str) -> str:
    """Lines that are good but for a further column."""
    rows = [f"S{i},{'ab'[i]}.svs,P001,{('baseline', 'week6')[i]},core,breast,{v}" for i, v in enumerate(values)]
    return lines(*rows, head=f"{HEAD},{column}")
