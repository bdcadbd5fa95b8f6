"""The page of a cohort with one biopsy a patient: it tells levels, and nothing of change."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from test_cohort_page_single import page_of, with_limits
from test_pairs_sampling import confounded_cohort

from tilscore.cohort.page import write_page
from tilscore.cohort.page.figlevels import baselines, levels
from tilscore.cohort.page.results import read_results
from tilscore.cohort.rank import rank


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cohort of 30 patients with a baseline biopsy each."""
    folder = tmp_path_factory.mktemp("levels")
    both = with_limits(confounded_cohort(30))
    page_of(folder, both[both["timepoint"] == "baseline"].reset_index(drop=True))
    return folder


def text_of(folder: Path) -> str:
    return " ".join(write_page(folder / "out").read_text(encoding="utf-8").split())


def test_a_cohort_without_pairs_is_told_nothing_of_change(single: Path, tmp_path: Path) -> None:
    text = text_of(single)
    assert "Stromal TILs in biopsies" in text
    assert "From slides to biopsies" in text
    assert "30 biopsies, with the reports" in text
    assert 'id="levels"' in text
    of_change = (
        "Change against baseline",
        "Does it hold?",
        "Missing pairs",
        "signed-rank",
        "mixed model",
        "pairs are not",
    )
    paired = page_of(tmp_path, with_limits(confounded_cohort(30)))
    for words in of_change:
        assert words.lower() not in text.lower(), words
        assert words.lower() in paired.lower(), words
    assert "so no change can be told" in text
    assert {figure.stem for figure in (single / "out" / "figures").iterdir()} == {"flow", "levels", "sites"}
    assert 'id="levels"' not in paired
    for link in re.findall(r"<nav>.*?</nav>", text)[0].split("href=")[1:]:
        assert f'id="{link.split(chr(34))[1][1:]}"' in text, link


def test_every_patient_stands_in_its_place_and_the_shortlist_is_named(single: Path) -> None:
    rank(single / "slides.csv", single / "scores.csv", single / "out", n=4)
    found = read_results(single / "out")
    here = baselines(found)
    assert here["place"].tolist() == list(range(1, 31))
    assert (np.diff(here["til_density_per_mm2"]) >= 0).all()
    figure = levels(found)
    marks = np.concatenate([line.get_xydata() for line in figure.axes[0].lines if line.get_marker() == "o"])
    np.testing.assert_allclose(marks, here[["place", "til_density_per_mm2"]])
    named = {text.get_text() for text in figure.axes[0].texts}
    assert named == {row["patient_id"] for row in found.rank["shortlist"]}
    assert len(named) == 4
    assert all(f">{name}</text>" in text_of(single).replace(" </text>", "</text>") for name in named)
