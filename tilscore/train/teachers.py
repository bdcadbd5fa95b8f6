"""Models that teach another one, or that it starts from: what they say, and whether they know what is held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from tilscore.datasets import Sample
from tilscore.errors import ConfigError
from tilscore.modelstore import find_folder, find_model
from tilscore.train.crossval import held_out, learned_from
from tilscore.train.merged import merged
from tilscore.train.targets import Lesson


class Teachers:
    """Models in evaluation mode, where the images are; no part of the network that learns."""

    def __init__(self, names: Iterable[str]) -> None:
        nets = [merged(find_model(name).load()).requires_grad_(False) for name in names]
        self.nets = [net.to(memory_format=torch.channels_last) for net in nets]  # type: ignore[call-overload]

    def tell(self, image_B3HW: Tensor) -> Lesson:
        """The mean of the teachers' probabilities for RGB images of 0 to 255."""
        image = image_B3HW.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            each = [net.to(image.device)(image) for net in self.nets]
        return Lesson(
            torch.stack([m.detection_B1hw.float().sigmoid() for m in each]).mean(0),
            torch.stack([m.types_BChw.float().softmax(1) for m in each]).mean(0),
            torch.stack([m.regions_BRhw.float().softmax(1) for m in each]).mean(0),
        )


def check_teachers(names: Iterable[str], held: Sequence[str]) -> None:
    """Refuse a teacher that may have seen held-out fields: it would tell them, and their figures would be too good.

    Parameters
    ----------
    names : models.
    held : fields that are held out, as `data.field_id` calls them; nothing is refused where there is none.

    Raises
    ------
    ConfigError : a teacher is not the model of a run that held out all these fields.
    """
    for name in names if held else ():
        if not set(held) <= held_out(find_model(name).folder.parent):
            do = "give the model of a run that held out the same fold (--teachers RUN/model)"
            raise ConfigError("this teacher may have learned from the fields held out", found=name, do=do)


def check_start(name: str, held: Sequence[Sample]) -> None:
    """Refuse to start from a model that learned from fields held out now, as far as it tells, or the run that made it.

    Parameters
    ----------
    name : a model; nothing is refused where it is empty.
    held : the fields that are held out.

    Raises
    ------
    ConfigError : it learned from one of them, or its run had the set of one and did not hold it out.
    """
    seen = learned_from(name, held) if name and held else []
    if seen:
        run = find_folder(name).parent
        do = "start from the model of a run that held out the same fold, or from one that never saw these fields"
        raise ConfigError("the model to start from learned from fields held out", where=run, found=seen[0], do=do)
