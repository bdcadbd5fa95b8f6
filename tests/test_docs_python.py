"""What docs/python.md shows runs as it stands, and gives what the command line gives."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tilscore.cells import cells_of, read_cells
from tilscore.errors import DataError
from tilscore.labels import Cell
from tilscore.phantom import PhantomConfig, training_tile, write_phantom
from tilscore.raster import read_raster

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
RUN, EVALUATE, ELSEWHERE, PIXELS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def script(code: str, folder: Path) -> str:
    """Run it as a user's script; what it printed."""
    (folder / "script.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A slide that the first script of the page has scored, and what it printed."""
    folder = tmp_path_factory.mktemp("python")
    write_phantom(folder / "my.tif", PhantomConfig(size_mm=(0.9, 0.7), seed=3))
    return folder, script(RUN.replace("my.svs", "my.tif"), folder)


def test_a_slide_is_scored(scored: tuple[Path, str]) -> None:
    folder, said = scored
    row = pd.read_csv(folder / "results" / "scores.csv").iloc[0]
    words = said.splitlines()[1].split()
    assert words[:2] == ["0", "ok"]
    assert float(words[2]) == pytest.approx(row["til_density_per_mm2"], rel=1e-3)
    assert re.search(r"stroma +inflammatory +\d+", said)


def test_cells_and_regions_from_elsewhere_are_scored(scored: tuple[Path, str]) -> None:
    """Those of the run, through a CSV and a PNG, have the score of the run."""
    folder, said = scored
    pd.read_parquet(folder / "results" / "my" / "cells.parquet").to_csv(folder / "cells.csv", index=False)
    Image.fromarray(read_raster(folder / "results" / "my" / "regions.tif").values).save(folder / "regions.png")
    again = script(ELSEWHERE.replace("my.svs", "my.tif"), folder).split()
    assert again[0] == "ok"
    assert f" {said.splitlines()[1].split()[2]} " in " ".join(again)


def test_pixels_are_read(scored: tuple[Path, str]) -> None:
    said = script(PIXELS.replace("my.svs", "my.tif"), scored[0])
    assert said.split(maxsplit=2) == ["0.5", "tiff-resolution", "(128, 256, 3)\n"]


def test_a_model_is_measured(tmp_path: Path) -> None:
    fields = tmp_path / "data" / "fields"
    fields.mkdir(parents=True)
    image, cells, _ = training_tile(seed=11, size_px=192, mpp=0.5)
    Image.fromarray(image).save(fields / "a.png")
    names = [Cell(c).name.lower() for c in cells.label]
    table = pd.DataFrame({"x_px": cells.x_um / 0.5, "y_px": cells.y_um / 0.5, "label": names})
    table.to_csv(fields / "a_cells.csv", index=False)
    said = script(EVALUATE, tmp_path).splitlines()
    assert said[0].startswith("fields: 1 fields,")
    assert float(said[-1]) > 0.5


def test_every_name_of_the_page_is_there() -> None:
    rows = re.findall(r"^\| (`tilscore\..*?) \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) > 7
    for modules, what in rows:
        held = [import_module(name) for name in re.findall(r"`(tilscore[\w.]*)`", modules)]
        for name in re.findall(r"`([A-Za-z_]\w+)`", what):
            if name not in ("read", "thumbnail"):
                assert next(getattr(m, name) for m in held if hasattr(m, name)).__doc__, name


def test_a_table_of_cells_is_read_by_name_or_value() -> None:
    table = pd.DataFrame({"x_um": [1, 2], "y_um": [3.0, 4.0], "label": ["Inflammatory", "OTHER"]})
    cells = cells_of(table)
    assert cells.label.tolist() == [Cell.INFLAMMATORY, Cell.OTHER]
    assert (cells.prob.tolist(), cells.region.tolist()) == ([1, 1], [0, 0])
    assert cells_of(table.assign(label=[0, 3], prob=[0.5, 0.25])).prob.tolist() == [0.5, 0.25]
    for bad in (table.drop(columns="x_um"), table.assign(label="lymphocyte"), table.assign(label=[0, 9])):
        with pytest.raises(DataError, match="give x_um, y_um and label: inflammatory, epithelial, stromal, other"):
            cells_of(bad)
    with pytest.raises(DataError):
        cells_of(table.assign(x_um="left"))


def test_a_written_table_with_a_class_that_is_none_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"x_um": [1.0], "y_um": [1.0], "label": np.array([7], np.uint8)}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(DataError, match="cell 7 is no class"):
        read_cells(tmp_path / "c.parquet")
