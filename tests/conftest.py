"""Shared fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

REPO = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real annotated images and slides; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("TILSCORE_DATA", REPO.parent / "shared" / "data"))
    if os.environ.get("CI") or not folder.is_dir():
        pytest.skip(f"real slides and images are not used here (looked in {folder}; set TILSCORE_DATA)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests keep nothing in the user's cache; processes that they start neither."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILSCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


# Machines differ in speed; a slow example is no failure.
hypothesis.settings.register_profile("tilscore", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tilscore")
