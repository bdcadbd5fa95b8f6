"""The run folder: what a run writes down of itself, and what one that begins, or goes on, may find there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tilscore.config import as_values, load_config
from tilscore.errors import ConfigError
from tilscore.files import write_json, write_text
from tilscore.train.config import TrainConfig

MAY_CHANGE = frozenset(
    {
        *("steps", "steps_per_epoch", "patience"),  # how long, and how often it is looked at
        *("precision", "devices", "strategy", "workers", "threads"),  # where it is computed
        *("blend", "stain_crops"),  # what is made of the weights at the end
    }
)
"""Settings that a run may go on with otherwise; every other one changes what was learned so far, or what it is for."""
_SHOWN = 3


def last_checkpoint(out: Path) -> Path:
    """Where a run folder's last checkpoint lies, or will lie."""
    return out / "checkpoints" / "last.ckpt"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, read as weights and plain values: a run folder of others may hold a pickle that runs code.

    Raises
    ------
    ConfigError : it is damaged, or holds anything else.
    """
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as err:
        do = "give another --out; a checkpoint of others is begun from by its model: --init"
        raise ConfigError(
            "the checkpoint to go on from is damaged, or holds more than weights", where=path, do=do
        ) from err


def check_folder(cfg: TrainConfig, out: Path, *, resume: bool) -> bool:
    """Whether a run goes on from a checkpoint in `out`; without one, `resume` begins anew what never got that far.

    Raises
    ------
    ConfigError : a run is there and is not to go on, went on with other settings than `MAY_CHANGE`, or has a model and
        no checkpoint.
    """
    going_on = resume and last_checkpoint(out).exists()
    if going_on:
        _check_settings(cfg, out / "config.yaml")
    elif resume and (out / "model").exists():
        do = "give another --out, or fine-tune it: --init"
        raise ConfigError("a model is there, and no checkpoint to go on from", where=out, do=do)
    elif not resume and any((out / part).exists() for part in ("run.json", "checkpoints", "model")):
        raise ConfigError("the folder holds a run", where=out, do="use --resume to go on with it, or another --out")
    return going_on


def _check_settings(cfg: TrainConfig, path: Path) -> None:
    before, now = (dict(_flat(as_values(c))) for c in (load_config(TrainConfig, path), cfg))
    keys = [k for k in dict.fromkeys([*before, *now]) if k not in MAY_CHANGE and before.get(k) != now.get(k)]
    if keys:
        found = "; ".join(f"{k}: {_shown(before, k)}, now {_shown(now, k)}" for k in keys[:_SHOWN])
        found += f"; {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        do = "resume with the settings that it began with, or give another --out"
        raise ConfigError("the run to go on with has other settings", where=path, found=found, do=do)


def _flat(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value under its key: `loss.lesson`, `sets[0].weight`."""
    if isinstance(values, dict) and (values or not key):
        for name, value in values.items():
            yield from _flat(value, f"{key}.{name}" if key else name)
    elif isinstance(values, list) and any(isinstance(v, dict) for v in values):
        for i, value in enumerate(values):
            yield from _flat(value, f"{key}[{i}]")
    else:
        yield key, values or None if isinstance(values, dict | list) else values


def _shown(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    return "none" if value in (None, "", []) else str(value)


def check_fields(out: Path, held: list[str], learn: list[str]) -> None:
    """Raise `ConfigError` where the run that goes on held out other fields, which its weights do not know.

    So it is where it learned from others, as far as it wrote them down.
    """
    path = out / "run.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    do = "resume with the fold and the data that it started with, or give another --out"
    if before.get("held_out") != held:
        raise ConfigError("the run to go on with held out other fields", where=path, do=do)
    other = sorted(set(before.get("learned_from", learn)) ^ set(learn))
    if other:
        raise ConfigError("the run to go on with learned from other fields", where=path, found=other[0], do=do)


def note_run(cfg: TrainConfig, out: Path, notes: dict[str, Any]) -> None:
    """Write `run.json` and `config.yaml`: the fields held out are evaluated by name, whatever the data hold by then."""
    import yaml

    write_json(out / "run.json", notes)
    write_text(out / "config.yaml", yaml.safe_dump(as_values(cfg), sort_keys=False))


def next_log(out: Path) -> str:
    """`log`, or after a resume `log-2`, ...: the logger would empty a folder that exists."""
    n = sum(1 for _ in out.glob("log*"))
    return f"log-{n + 1}" if n else "log"
