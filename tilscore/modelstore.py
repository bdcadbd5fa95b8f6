"""Models on disk: a folder with `config.json`, `model.safetensors` and a card; by name or by path, hash checked."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tilscore.config import as_values, parse_config
from tilscore.errors import ModelError
from tilscore.files import replacing, sha256, write_json
from tilscore.modelcard import CELL_CLASSES, FORMAT, REGION_CLASSES, ModelConfig

if TYPE_CHECKING:
    from tilscore.nets import TilNet

DEFAULT_MODEL = "tilscore-lite"
"""What a run uses when no model is named."""


@dataclass(frozen=True)
class Model:
    """A model that was found and checked, not yet loaded."""

    folder: Path
    config: ModelConfig

    @property
    def ident(self) -> str:
        """Name and the start of the weights' hash, for tables."""
        return f"{self.config.name}@{self.config.weights_sha256[:8]}"

    def load(self) -> TilNet:
        """The network with its weights, in evaluation mode, on the CPU.

        Raises
        ------
        ModelError : the weights do not fit the network, or are not finite.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from tilscore.nets import TilNet

        weights = self.folder / "model.safetensors"
        try:
            tensors = load_file(weights)
            net = TilNet(self.config.net)
            net.load_state_dict(tensors)
        except (SafetensorError, RuntimeError, OSError) as err:
            raise ModelError("weights do not fit the network", where=weights, found=str(err).split("\n")[0]) from err
        broken = next((k for k, v in tensors.items() if not v.isfinite().all()), None)
        if broken:
            raise ModelError("weights are not finite", where=weights, found=broken, do="train or copy the model again")
        return net.eval()


def save_model(folder: Path, net: TilNet, cfg: ModelConfig) -> Model:
    """Write `model.safetensors`, then `config.json` with its hash."""
    from safetensors.torch import save_file

    weights = folder / "model.safetensors"
    with replacing(weights) as beside:
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, beside)
        beside.chmod(0o644)
    cfg = replace(cfg, weights_sha256=sha256(weights))
    write_json(folder / "config.json", as_values(cfg))
    return Model(folder, cfg)


def stores() -> list[Path]:
    """Folders that are searched for models by name, first hit wins."""
    own = os.environ.get("TILSCORE_MODELS")
    return [Path(p) for p in ([own] if own else [])] + [Path(__file__).parents[1] / "models"]


def list_models() -> list[Model]:
    """All models of the stores that can be read, by name."""
    found = {}
    for store in reversed(stores()):
        for path in sorted(store.glob("*/config.json")):
            try:
                found[path.parent.name] = read_model(path.parent)
            except ModelError:
                continue
    return [found[name] for name in sorted(found)]


def find_model(name_or_path: str) -> Model:
    """The model in a folder, or of a name in one of the stores; its hash is checked.

    Raises
    ------
    ModelError : no such model, a pickle instead of a model, a damaged or foreign one.
    """
    path = Path(name_or_path)
    if path.is_file() or path.suffix in {".pt", ".pth", ".ckpt", ".pkl", ".bin"}:
        do = "give the folder of a model: config.json with model.safetensors"
        raise ModelError(
            "is a file, not a model folder; pickled weights can run code and are refused", where=path, do=do
        )
    for folder in [path, *(store / name_or_path for store in stores())]:
        if (folder / "config.json").is_file():
            model = read_model(folder)
            _check_weights(model)
            return model
    names = ", ".join(m.folder.name for m in list_models()) or "none"
    raise ModelError("no such model", found=name_or_path, do=f"use a folder or one of: {names}")


def read_model(folder: Path) -> Model:
    """Read and check `config.json`; the weights are not touched."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ModelError("is not a model's config", where=path, found=err) from err
    if isinstance(values, dict) and values.get("format", FORMAT) != FORMAT:
        raise ModelError("is of another format", where=path, found=values["format"], do="update tilscore")
    cfg = parse_config(ModelConfig, values, where=str(path))
    for key, ours in (("cell_classes", CELL_CLASSES), ("region_classes", REGION_CLASSES)):
        if getattr(cfg, key) != ours:
            raise ModelError(f"{key} in another order or of other names", where=path, found=getattr(cfg, key))
    return Model(folder, cfg)


def _check_weights(model: Model) -> None:
    weights = model.folder / "model.safetensors"
    if not weights.is_file():
        raise ModelError("weights are missing", where=weights, do="copy model.safetensors beside config.json")
    found = sha256(weights)
    if found != model.config.weights_sha256:
        raise ModelError(
            "weights are not those of config.json (sha256)", where=weights, found=found[:12], do="copy the model again"
        )
