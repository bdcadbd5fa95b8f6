"""Which slides an assay is compared with, by its own blocks, and which columns are numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tilscore.cohort.assays import assays
from tilscore.cohort.assays.selection import kinds_of
from tilscore.cohort.assays.table import read_assays
from tilscore.errors import UsageError

N = 24
WHO = [f"P{i:02}" for i in range(N)]


@pytest.fixture
def counts(tmp_path: Path) -> dict[tuple[str, str], np.ndarray]:
    """Manifest and scores of two blocks at two times, 1 mm2 each; the TILs by time and block."""
    rng = np.random.default_rng(6)
    found = {(t, k): rng.integers(50, 2000, N) for t in ("baseline", "post") for k in "AB"}
    slides = ["slide_id,path,patient_id,timepoint,specimen,site,block"]
    scores = ["slide_id,status,til_density_per_mm2,n_tils,stroma_mm2"]
    for (t, k), numbers in found.items():
        slides += [f"{p}{t}{k},x/{p}{t}{k}.svs,{p},{t},core,breast,{k}" for p in WHO]
        scores += [f"{p}{t}{k},ok,{n},{n},1" for p, n in zip(WHO, numbers, strict=True)]
    (tmp_path / "slides.csv").write_text("\n".join(slides))
    (tmp_path / "scores.csv").write_text("\n".join(scores))
    return found


def result_of(folder: Path, head: str, rows: list[str], **options: Any) -> tuple[dict[tuple[str, str], Any], list[str]]:
    (folder / "a.csv").write_text("\n".join([head, *rows]))
    found = assays(folder / "slides.csv", folder, folder / "a.csv", folder / "out", **options)
    return {(t["assay"], t["test"]): t for t in found["tests"]}, found["notes"]


def test_each_assay_has_its_own_block(tmp_path: Path, counts: dict[tuple[str, str], np.ndarray]) -> None:
    """CD3 was made of block A, CD8 of block B, CD4 of the whole biopsy, in rows of their own."""
    a, b = counts["baseline", "A"], counts["baseline", "B"]
    rows = [f"{p},baseline,A,{n},," for p, n in zip(WHO, a, strict=True)]
    rows += [f"{p},baseline,{'B' if i else 'C'},,{n}," for i, (p, n) in enumerate(zip(WHO, b, strict=True))]
    rows += [f"{p},baseline,,,,{n / 2}" for p, n in zip(WHO, a + b, strict=True)]
    tests, notes = result_of(tmp_path, "patient_id,timepoint,block,cd3_per_mm2,cd8_per_mm2,cd4_per_mm2", rows)
    for name, n in (("cd3_per_mm2", N), ("cd8_per_mm2", N - 1), ("cd4_per_mm2", N)):
        for test in ("spearman", "ratio"):
            assert tests[name, test]["n"] == n, (name, test)
            assert tests[name, test]["estimate"] == pytest.approx(1), (name, test)
    (note,) = [n for n in notes if "no score of that block" in n]
    assert note.endswith("no score of that block: cd8_per_mm2 (1 patients).")


def test_a_block_without_a_time_point_is_of_the_time_that_is_analysed(
    tmp_path: Path, counts: dict[tuple[str, str], np.ndarray]
) -> None:
    rows = [f"{p},B,{n}" for p, n in zip(WHO, counts["post", "B"], strict=True)]
    tests, notes = result_of(tmp_path, "patient_id,block,cd3_per_mm2", rows, timepoint="post")
    assert tests["cd3_per_mm2", "spearman"]["estimate"] == pytest.approx(1)
    assert "Blocks of rows without a time point are taken as those of the post biopsy." in notes


def test_blocks_that_differ_are_no_group_of_their_own(
    tmp_path: Path, counts: dict[tuple[str, str], np.ndarray]
) -> None:
    """A mutation in one block of two is no mutation 0.5; a number of two blocks is their mean."""
    rows = [f"{p},{k},{i % 2 if i > 5 else int(k == 'B')},{i}{k}5" for i, p in enumerate(WHO) for k in "AB"]
    rows = [row.replace("A5", "0").replace("B5", "1") for row in rows]
    tests, notes = result_of(tmp_path, "patient_id,block,mut,score", rows)
    assert "0.5" not in tests["mut", "mann_whitney"]["groups"]
    assert tests["mut", "mann_whitney"]["n"] == N - 6
    assert "mut: 6 patients have several values, so that none is used." in notes
    assert pd.read_csv(tmp_path / "out" / "joined.csv")["score"].min() == 0.5


def test_densities_of_few_values_are_numbers(tmp_path: Path, counts: dict[tuple[str, str], np.ndarray]) -> None:
    table = pd.DataFrame({"patient_id": WHO, "cd3_per_mm2": np.arange(N) // 6 * 100.0, "cd8": np.arange(N) % 2 * 50.0})
    table.assign(word="x", grade=np.arange(N) % 3, flat=7, batch=WHO, none="").to_csv(tmp_path / "a.csv", index=False)
    other = read_assays(tmp_path / "a.csv")
    assert kinds_of(other, (), ())[1] == [
        "Column 'word' was not tested: all its values are equal.",
        "Column 'flat' was not tested: all its values are equal.",
        f"Column 'batch' was not tested: it has {N} different texts, and at most 6 make groups.",
        "Column 'none' was not tested: it is empty.",
    ]
    group = {"grade": "group", "response": "group"}
    assert kinds_of(other, (), ())[0] == {"cd3_per_mm2": "number", "cd8": "group", **group}
    assert kinds_of(other, (), (), ["cd8"])[0] == {"cd3_per_mm2": "number", "cd8": "number", **group}
    assert kinds_of(other, (), ["cd3_per_mm2"], ["cd8"])[0]["cd3_per_mm2"] == "group"
    files = tmp_path / "slides.csv", tmp_path, tmp_path / "a.csv", tmp_path / "out"
    found = assays(*files, densities=["cd8"])
    assert {"spearman", "ratio"} <= {t["test"] for t in found["tests"] if t["assay"] == "cd8"}
    with pytest.raises(UsageError, match="does not hold numbers"):
        assays(*files, densities=["word"])
    with pytest.raises(UsageError, match="no such column"):
        assays(*files, densities=["response"])


def test_texts_among_measurements_are_told_with_their_lines(tmp_path: Path) -> None:
    """Below a detection limit, not done, thousands with a point: no groups, and no "38 different texts"."""
    cd3 = [f"{i}.5" for i in range(N)]
    cd3[2], cd3[5] = "<5", "n.d."
    few = ["1.234,5" if i % 3 == 0 else "2.5" for i in range(N)]
    code = ["x" if i % 3 == 0 else str(i % 3) for i in range(N)]
    pd.DataFrame({"patient_id": WHO, "cd3": cd3, "few": few, "code": code}).to_csv(tmp_path / "a.csv", index=False)
    kinds, notes = kinds_of(read_assays(tmp_path / "a.csv"), (), ())
    assert kinds == {"code": "group", "response": "group"}
    head, do = "was not tested: it holds numbers, but also", "leave empty what was not measured"
    n_more = sum(v == "1.234,5" for v in few) - 3
    assert notes == [
        f"Column 'cd3' {head} '<5' in line 4, 'n.d.' in line 7; {do}.",
        f"Column 'few' {head} " + ", ".join(f"'1.234,5' in line {k}" for k in (2, 5, 8)) + f" and {n_more} more; {do}.",
    ]
