"""A training run that a person stops."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tilscore.train.run import fit


class Stopped:
    """A trainer that a person stops, as Lightning ends then."""

    def fit(self, *_: Any, **__: Any) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)


def test_a_run_that_is_stopped_says_so() -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(Stopped(), None, None)  # type: ignore[arg-type]
