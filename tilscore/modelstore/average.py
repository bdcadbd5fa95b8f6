"""One model from several: the mean of their weights (model soup, Wortsman et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tilscore.errors import ModelError, UsageError
from tilscore.modelcard import Calibration, ModelConfig, StainLimit, StainRange
from tilscore.modelstore.store import Model, find_model, save_model

if TYPE_CHECKING:
    from torch import Tensor


def average_models(addresses: Sequence[str], folder: Path, *, name: str | None = None) -> Model:
    """Write the model whose weights are the mean of those of `addresses`.

    Only runs that began at the same weights and saw similar data lie close enough for their mean to be a good model,
    such as the folds of one cross-validation: evaluate it. It has no calibration, for it has other probabilities than
    its parts; the range of stain is that of all of them together.

    Parameters
    ----------
    addresses : two models or more, as for `find_model`. folder : a new or empty one. name : default, the first's.

    Raises
    ------
    UsageError : fewer than two models. ModelError : they are not of one shape, or `folder` holds a model.
    """
    models = [find_model(address) for address in addresses]
    if len(models) < 2:
        raise UsageError("a mean needs two models or more", found=len(models))
    if (folder / "config.json").exists():
        raise ModelError("a model is here already", where=folder, do="give another --out")
    first = models[0].config
    for model in models[1:]:
        if _shape(model.config) != _shape(first):
            raise ModelError("not of one shape", where=model.folder, do=f"average models like {models[0].ident}")
    states = [dict(model.load().state_dict()) for model in models]
    net = models[0].load()
    net.load_state_dict({key: _mean([state[key] for state in states]) for key in states[0]})
    config = replace(
        first,
        name=name or first.name,
        detection_threshold=sum(m.config.detection_threshold for m in models) / len(models),
        calibration=Calibration(),
        stain_range=_together([m.config.stain_range for m in models]),
    )
    return save_model(folder, net, config)


def _shape(cfg: ModelConfig) -> object:
    return cfg.net, cfg.mpp, cfg.cell_classes, cfg.region_classes


def _mean(tensors: list[Tensor]) -> Tensor:
    """In float64, so that the mean of equal weights is that weight; counters are the first's."""
    if not tensors[0].is_floating_point():
        return tensors[0]
    return sum((t.double() for t in tensors[1:]), tensors[0].double()).div(len(tensors)).to(tensors[0].dtype)


def _together(ranges: list[StainRange]) -> StainRange:
    """Limits that hold what any of the models saw; none where one of them knows none."""
    if not all(r.limits for r in ranges):
        return StainRange()
    limits = []
    for name in (limit.name for limit in ranges[0].limits):
        own = [limit for r in ranges if (limit := r.limit(name))]
        typical = sum(x.typical for x in own) / len(own)
        limits.append(StainLimit(name, min(x.low for x in own), typical, max(x.high for x in own)))
    return StainRange(tuple(limits), max(r.n_images for r in ranges))
