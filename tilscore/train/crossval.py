"""Cross-validation and evaluation of what was trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tilscore.config import load_config
from tilscore.datasets import Sample
from tilscore.errors import DataError, ModelError
from tilscore.evaluate import FieldResult, predict_all
from tilscore.labels import Cell
from tilscore.modelstore import Model, find_folder, find_model, read_model
from tilscore.network.nets import turned
from tilscore.train.config import TrainConfig
from tilscore.train.data import annotated, field_hash, field_id, read_sets


def predict_folds(
    cfg: TrainConfig,
    data: Path,
    runs: list[Path],
    *,
    threshold: float | None = None,
    radius_um: float | None = None,
    turns: int = 1,
    int8: bool = False,
) -> list[list[FieldResult]]:
    """Cross-validation: each run finds the cells of the fields that it held out; one list a run.

    Raises
    ------
    DataError : a folder is no run that held a fold out, or two runs held out the same one.
    """
    samples = {field_id(s): s for s in read_sets(cfg, data)}
    held = [held_by(run) for run in runs]
    if len(set().union(*held)) < sum(len(h) for h in held):
        found = [run.name for run in runs]
        raise DataError("two runs held out the same fields", found=found, do="give one run of each fold")
    parts = []
    for run, names in zip(runs, held, strict=True):
        missing = sorted(set(names) - set(samples))
        if missing:
            do = "evaluate on the fields that it was trained beside, with its own config"
            raise DataError("fields that this run held out are not there", where=run, found=missing[:3], do=do)
        fields = [samples[name] for name in names]
        parts.append(_predict(find_model(str(run / "model")), fields, threshold, radius_um, turns, int8))
    return parts


def held_by(run: Path) -> list[str]:
    """The fields that a run held out, as it wrote them down: another day's split of a changed folder is another one.

    Raises
    ------
    DataError : the folder is no run, or the run held nothing out.
    """
    try:
        names = [str(name) for name in _noted(run)["held_out"]]
    except (KeyError, TypeError) as err:
        raise DataError("is not a run", where=run, found=err, do="give the run folders of `tilscore train`") from err
    if not names:
        do = "give runs of `tilscore train --fold` whose fold held fields out"
        raise DataError("this run held nothing out", where=run, do=do)
    return names


def _noted(run: Path) -> dict[str, Any]:
    """What a run wrote down of itself."""
    try:
        return dict(json.loads((run / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as err:
        raise DataError("is not a run", where=run, found=err, do="give the run folders of `tilscore train`") from err


def learned_from(address: str, fields: Sequence[Sample]) -> list[str]:
    """Those of the fields that a model learned from, or what it began with did, as `data.field_id` calls them.

    A model's folder tells by the pixels, wherever it was copied to; the folder of the run that made it tells by name,
    also what models without hashes began with. A run that did not write fields down learned from all of its sets that
    it did not hold out.

    Parameters
    ----------
    address : a model's name or folder.
    """
    folder = find_folder(address)
    known, names = read_model(folder).config.learned, _named(folder.resolve().parent, [field_id(s) for s in fields])
    return [field_id(s) for s in fields if field_id(s) in names or (known and field_hash(s) in known)]


def _named(run: Path, fields: list[str]) -> set[str]:
    """Those of the fields that a run's model learned from by what the run wrote down; none where it is no run."""
    if not (run / "run.json").is_file():
        return set()
    notes = _noted(run)
    if isinstance(notes.get("learned_from"), list):
        return {*notes["learned_from"], *notes.get("inherited_from", [])}.intersection(fields)
    own = tuple(f"{c.source}/" for c in load_config(TrainConfig, run / "config.yaml").sets)
    held = held_out(run)
    return {field for field in fields if field.startswith(own) and field not in held}


def learned_with(addresses: Iterable[str], fields: Iterable[Sample]) -> frozenset[str]:
    """Hashes of a run's fields, and of those that its start and its teachers learned from."""
    known = [read_model(find_folder(address)).config.learned for address in addresses]
    return frozenset(map(field_hash, fields)).union(*known)


def inherited_from(addresses: Iterable[str]) -> list[str]:
    """The fields taught to models that a run begins with: to its start, its teachers, and to what those began with."""
    runs = {find_folder(address).resolve().parent for address in addresses}
    notes = [_noted(run) for run in runs if (run / "run.json").is_file()]
    keys = ("learned_from", "inherited_from")
    return sorted({str(field) for noted in notes for key in keys for field in noted.get(key) or ()})


def held_out(run: Path) -> set[str]:
    """The fields that a run held out; none where it is no run."""
    try:
        return set(held_by(run))
    except DataError:
        return set()


def _predict(
    model: Model, fields: list[Sample], threshold: float | None, radius_um: float | None, turns: int, int8: bool
) -> list[FieldResult]:
    """The annotated ones of the fields at the model's operating point, or at one threshold for all classes."""
    fields = annotated(fields)
    if not fields:
        raise DataError("nothing is annotated: there is nothing to measure", do="give fields that somebody annotated")
    limit, calibration = model.config.detection_threshold, model.config.calibration
    if threshold is not None:
        limit, calibration = threshold, replace(calibration, class_thresholds=(0.0,) * len(Cell))
    net = model.load_quantised() if int8 else model.load()
    if net is None:
        do = "observe them: tilscore models quantise"
        raise ModelError("has no activations that int8 needs", where=model.folder, do=do)
    return predict_all(turned(net, turns), fields, limit, calibration, radius_um=radius_um)


def predict_model(
    cfg: TrainConfig,
    data: Path,
    name: str,
    *,
    threshold: float | None = None,
    radius_um: float | None = None,
    turns: int = 1,
    int8: bool = False,
) -> list[FieldResult]:
    """One model on all fields of the config's sets: honest only where it was not trained on them."""
    return _predict(find_model(name), read_sets(cfg, data), threshold, radius_um, turns, int8)
