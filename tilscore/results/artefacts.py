"""The files that each stage writes into a slide's folder."""

from __future__ import annotations

from pathlib import Path

from tilscore.errors import OutputError

ARTEFACTS = {
    "tissue": ("tissue.tif",),
    "infer": ("stain.json", "regions.tif", "cells.parquet"),
    "score": ("score.json", "parts.tif", "spatial.json"),
    "overlay": ("overlay.png", "report.html"),
}
CELLS_GEOJSON = "cells.geojson.gz"
EXTRAS = {"infer": (CELLS_GEOJSON,)}
"""Written on request."""
STAGES = tuple(ARTEFACTS)


def remove_artefacts(folder: Path, stage: str) -> None:
    """Remove what `stage` and the stages after it wrote before: no old number stands beside a new one.

    Raises
    ------
    OutputError : they cannot be removed.
    """
    try:
        for later in STAGES[STAGES.index(stage) :]:
            for name in (*ARTEFACTS[later], *EXTRAS.get(later, ())):
                (folder / name).unlink(missing_ok=True)
        for beside in folder.glob(".[0-9]*.*"):  # a file that a killed run was writing
            beside.unlink(missing_ok=True)
    except OSError as err:
        raise OutputError(
            "cannot be removed", where=folder, found=err.strerror, do="check the folder's rights"
        ) from err
