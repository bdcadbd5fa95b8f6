"""Folds of a training: one that holds nothing out, or leaves nothing to learn from, is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_sets import sample

from tilscore.datasets import Sample
from tilscore.errors import ConfigError
from tilscore.train import SetConfig, TrainConfig, split


def fields(n: int, source: str = "s", **more: Any) -> list[Sample]:
    return [sample(source, f"{source}{i}", **more) for i in range(n)]


@pytest.mark.parametrize(
    ("samples", "how", "fold", "message"),
    [
        (fields(2), {"folds": 3}, 2, r"fold 2 of 3: .* holds nothing out \(found 2 patients .*\); set `folds: 2`$"),
        (fields(4), {"folds": 5}, 4, r"found 4 patients .*set `folds` between 2 and 4"),
        (fields(1), {"folds": 2}, 0, r"leaves no annotated field .*found 1 patients .*fields of two patients"),
        (fields(3), {"folds": 1}, 0, r"leaves no annotated field .*set `folds` between 2 and 3"),
        (fields(4, centre="A"), {"split_by": "centre"}, 1, r"found 1 centres in.*`centre`, set `split_by: patient`"),
        (fields(4), {"sets": (SetConfig("s", train_only=True),)}, 0, r"found 0 .*`train_only` off an annotated set"),
    ],
)
def test_a_fold_that_is_empty_or_all_is_refused(
    samples: list[Sample], how: dict[str, Any], fold: int, message: str
) -> None:
    cfg = TrainConfig(**{"name": "m", "sets": (SetConfig("s"),), **how})
    with pytest.raises(ConfigError, match=message):
        split(samples, cfg, fold)
    assert split(samples, cfg, None) == (samples, [])


def test_sets_that_are_never_held_out_are_enough_to_learn_from() -> None:
    """One field in a set that folds are made of, and fold 0 holds it out: the kept set teaches."""
    cfg = TrainConfig("m", (SetConfig("s"), SetConfig("kept", train_only=True)), folds=2)
    learn, held = split([*fields(1), *fields(3, "kept")], cfg, 0)
    assert [s.source for s in learn] == ["kept"] * 3
    assert [s.source for s in held] == ["s"]
