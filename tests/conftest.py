"""Shared fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

REPO = Path(__file__).parents[1]
if (n_workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    # Threads of torch are set when it is imported; more than cores would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // n_workers, 1)))


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
