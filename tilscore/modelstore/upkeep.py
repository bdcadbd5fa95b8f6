"""What a user does with a store: add a model to it, change one, verify those in it."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from tilscore.errors import ModelError, OutputError, TilscoreError, UsageError
from tilscore.modelstore.firstcard import TO_WRITE
from tilscore.modelstore.hub import FILES, fetch, is_hub
from tilscore.modelstore.store import (
    Model,
    check_name,
    check_weights,
    find_model,
    read_model,
    shipped_store,
    user_store,
    write_config,
)
from tilscore.network.config import SIZE_MULTIPLE

_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")


def add_model(address: str, *, name: str | None = None) -> Model:
    """Copy a model into the user's store, where it is found by its name.

    Parameters
    ----------
    address : a folder, or `hub:owner/name[@revision]`, of which the newest files are fetched.
    name : what to call it there, also in results; None = the name that it has.

    Raises
    ------
    ModelError : the model is not sound, or another one has this name already.
    OutputError : the store cannot be written.
    """
    source = check_weights(read_model(fetch(address, newest=True))) if is_hub(address) else find_model(address)
    source.load()
    cfg = source.config if name is None else replace(source.config, name=name)
    check_name(cfg.name)
    folder = user_store() / cfg.name
    if (shipped_store() / cfg.name).exists():
        raise ModelError("a model of this name comes with tilscore", found=cfg.name, do="give it another with --name")
    if folder.exists():
        return _same(folder, source)
    _copy(source, replace(source, folder=folder, config=cfg))
    return read_model(folder)


def find_own(address: str) -> Model:
    """The model of an address, as `store.find_model` finds it, to be changed.

    Raises
    ------
    UsageError : a hub's model, or one that came with tilscore.
    """
    do = f"change a copy: tilscore models add {address} --name NAME"
    if is_hub(address):
        raise UsageError("a copy of a hub's model is never changed", found=address, do=do)
    model = find_model(address)
    if model.folder.resolve().parent == shipped_store().resolve():
        raise UsageError("a model that came with tilscore is not changed", found=address, do=do)
    return model


def _same(folder: Path, source: Model) -> Model:
    """The model that is there already, when it is `source`: its weights, its calibration and its operating point."""
    there = check_weights(read_model(folder))
    if replace(there.config, name=source.config.name) != source.config:
        alike = there.config.weights_sha256 == source.config.weights_sha256
        what = "its weights with another calibration have this name" if alike else "another model has this name"
        raise ModelError(what, where=folder, found=there.ident, do="give --name, or remove that folder first")
    return there


def _copy(source: Model, target: Model) -> None:
    """Copy into a hidden folder beside the target, then rename: a model is there as a whole or not at all."""
    store = target.folder.parent
    try:
        store.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=store, prefix=".adding-") as beside:
            whole = Path(beside) / "model"
            whole.mkdir()
            shutil.copyfile(source.weights, whole / source.weights.name)  # a hub's cache holds links: copy the content
            if source.card.exists():
                shutil.copyfile(source.card, whole / source.card.name)
            write_config(replace(target, folder=whole))
            whole.rename(target.folder)
    except OSError as err:
        do = "set TILSCORE_MODELS to a folder that can be written"
        raise OutputError("cannot be written", where=store, found=err.strerror or err, do=do) from err


def verify_model(folder: Path) -> tuple[list[str], list[str]]:
    """Check a model thoroughly: config, hash, weights, a forward pass, the card.

    Returns
    -------
    What is wrong with it (empty: it can be used), and what a person should know besides.
    """
    try:
        model = check_weights(read_model(folder))
        _run_once(model)
    except TilscoreError as err:
        return [str(err)], []
    remarks = _of_card(model)
    others = sorted(p.name for p in folder.iterdir() if p.name not in FILES and p.name[0] != ".")
    if others:
        remarks.append(f"files that are never read: {', '.join(others)}")
    return [], remarks


def _of_card(model: Model) -> list[str]:
    """What a person should know of a model's card."""
    if not model.card.is_file():
        return ["it has no card (README.md)"]
    card = model.card.read_text(encoding="utf-8", errors="replace")
    remarks = ["its card is not finished"] if TO_WRITE in card else []
    stated = _SHA256.findall(card)
    if stated and model.config.weights_sha256 not in stated:
        remarks.append("its card is of other weights (sha256)")
    return remarks


def _run_once(model: Model) -> None:
    """A forward pass over grey, in float and in int8; what comes out is finite."""
    import torch

    grey = torch.full((1, 3, 2 * SIZE_MULTIPLE, 2 * SIZE_MULTIPLE), 128.0)
    with torch.inference_mode():
        maps = [m for net in (model.load(), model.load_quantised()) if net is not None for m in net(grey)]
    if not all(m.isfinite().all() for m in maps):
        raise ModelError("the network's outputs are not finite", where=model.weights, do="train or copy it again")
