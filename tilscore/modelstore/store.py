"""Models on disk: a folder with `config.json`, `model.safetensors` and a card; found by name or path, hash checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tilscore.config import as_values, parse_config
from tilscore.errors import ModelError, TilscoreError
from tilscore.files import replacing, sha256, write_json, write_text
from tilscore.modelstore.firstcard import first_card, untouched
from tilscore.modelstore.hub import fetch, is_hub
from tilscore.network.config import CELL_CLASSES, FORMAT, MPP, REGION_CLASSES, ModelConfig

if TYPE_CHECKING:
    from torch import Tensor

    from tilscore.network.nets import TilNet
    from tilscore.network.quantise import Activations

DEFAULT_MODEL = "tilscore-lite"
"""What a run uses when no model is named."""
PICKLES = {".pt", ".pth", ".ckpt", ".pkl", ".bin"}
_ACTIVATIONS = "activations."
"""Names of tensors of `model.safetensors` that are no weights begin so."""
_NEXT = ".config.json.next"
"""The config of weights that are about to be written: where a process ends between the two files, it is theirs."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Model:
    """A model that was found and checked, not yet loaded."""

    folder: Path
    config: ModelConfig

    @property
    def ident(self) -> str:
        """Name and the start of a hash, for tables: of the weights, and of what decides which cells they count."""
        decides = {"threshold": self.config.detection_threshold, "calibration": as_values(self.config.calibration)}
        text = self.config.weights_sha256 + json.dumps(decides, sort_keys=True)
        return f"{self.config.name}@{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        return self.folder / "model.safetensors"

    @property
    def card(self) -> Path:
        """The file of the card; it may be missing."""
        return self.folder / "README.md"

    def load(self) -> TilNet:
        """The network with its weights, in evaluation mode, on the CPU.

        Raises
        ------
        ModelError : the weights do not fit the network, or are not finite.
        """
        from tilscore.network.nets import TilNet

        net = TilNet(self.config.net)
        try:
            net.load_state_dict({k: v for k, v in self._tensors().items() if not k.startswith(_ACTIVATIONS)})
        except RuntimeError as err:
            raise self._misfit(err) from err
        return net.eval()

    def activations(self) -> Activations | None:
        """What comes into the convolutions that int8 rounds; None: it was not observed.

        Raises
        ------
        ModelError : as `load`, or they are none.
        """
        from tilscore.network.quantise import Activation

        seen: dict[str, dict[str, Tensor]] = {}
        for key, value in self._tensors().items():
            if key.startswith(_ACTIVATIONS):
                name, part = key.removeprefix(_ACTIVATIONS).rsplit(".", 1)
                seen.setdefault(name, {})[part] = value
        try:
            return {name: Activation(**parts) for name, parts in seen.items()} or None
        except TypeError as err:
            raise self._misfit(err) from err

    def load_quantised(self) -> TilNet | None:
        """The network rounded as int8 computes it (`quantise.quantised`); None: its activations were not observed.

        Raises
        ------
        ModelError : as `load`, or the activations are not those of this network.
        """
        from tilscore.network.quantise import quantised

        seen = self.activations()
        if seen is None:
            return None
        try:
            return quantised(self.load(), seen)
        except (KeyError, RuntimeError) as err:
            raise self._misfit(err) from err

    def _tensors(self) -> dict[str, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(self.weights)
        except (SafetensorError, OSError) as err:
            raise self._misfit(err) from err
        broken = next((k for k, v in tensors.items() if not v.isfinite().all()), None)
        if broken:
            do = "train or copy the model again"
            raise ModelError("weights are not finite", where=self.weights, found=broken, do=do)
        return tensors

    def _misfit(self, err: Exception) -> ModelError:
        return ModelError("weights do not fit the network", where=self.weights, found=str(err).split("\n")[0])


def save_model(
    folder: Path, net: TilNet, cfg: ModelConfig, *, activations: Activations | None = None, card: str | None = None
) -> Model:
    """Write `model.safetensors`, then `config.json` with its hash, and a card.

    A process that is killed on the way leaves a model that can be used: the old one or the new one (`check_weights`).

    Parameters
    ----------
    activations : as `quantise.observe` finds them; with them CPUs run the model in int8.
    card : Markdown; None keeps the card that a person has worked on, or writes a first one.
    """
    from safetensors.torch import save

    weights = folder / "model.safetensors"
    with replacing(weights) as beside:
        tensors = {k: v.contiguous() for k, v in net.state_dict().items()}
        for name, seen in (activations or {}).items():
            tensors |= {f"{_ACTIVATIONS}{name}.{part}": value.contiguous() for part, value in seen._asdict().items()}
        beside.write_bytes(save(tensors))  # `save_file` would set rights of its own
        model = Model(folder, replace(cfg, weights_sha256=sha256(beside)))
        write_json(folder / _NEXT, as_values(model.config))
    write_config(model)
    (folder / _NEXT).unlink()
    if card is not None:
        write_text(model.card, card)
    return model


def write_config(model: Model) -> None:
    """Write `config.json`, and a first card where there is none that a person has worked on."""
    write_json(model.folder / "config.json", as_values(model.config))
    if not model.card.exists() or untouched(model.card.read_text(encoding="utf-8", errors="replace")):
        write_text(model.card, first_card(model.config))


def user_store() -> Path:
    """The folder that models are added to: `$TILSCORE_MODELS`, else in the platform's folder for a user's data."""
    import platformdirs

    own = os.environ.get("TILSCORE_MODELS")
    return Path(own) if own else Path(platformdirs.user_data_dir("tilscore", appauthor=False)) / "models"


def shipped_store() -> Path:
    """The folder of the models that come with tilscore: of the checkout, or where the installed package put them."""
    from importlib.metadata import PackageNotFoundError, files

    checkout = Path(__file__).parents[2] / "models"
    if (checkout / DEFAULT_MODEL / "config.json").is_file():
        return checkout
    try:
        placed = [f.locate() for f in files("tilscore") or () if f.parts[-2:] == (DEFAULT_MODEL, "config.json")]
    except PackageNotFoundError:
        placed = []
    return Path(str(placed[0])).resolve().parents[1] if placed else checkout


def stores() -> list[Path]:
    """Folders that are searched for models by name, first hit wins."""
    return [user_store(), shipped_store()]


def model_folders() -> list[Path]:
    """Folders of all models of the stores, sound or not, by name; each name once."""
    found = {}
    for store in reversed(stores()):
        found.update({p.parent.name: p.parent for p in store.glob("*/config.json") if p.parent.name[0] != "."})
    return [found[name] for name in sorted(found)]


def list_models() -> list[Model]:
    """All models of the stores that can be read, by name."""
    found = []
    for folder in model_folders():
        try:
            found.append(read_model(folder))
        except TilscoreError:
            continue
    return found


def find_model(address: str) -> Model:
    """The model in a folder, of a name in one of the stores, or of a hub repository; its hash is checked.

    Parameters
    ----------
    address : a folder, a name, or `hub:owner/name[@revision]`. Of a hub repository the copy in the local cache is used
        where there is one, so that a model does not change between two runs; `add_model` asks the hub for the newest.

    Raises
    ------
    ModelError : no such model, a pickle instead of a model, a damaged or foreign one, a hub that cannot be reached.
    """
    return check_weights(read_model(find_folder(address)))


def find_folder(address: str) -> Path:
    """The folder of a model, whether or not the model in it is sound; arguments and errors as for `find_model`."""
    if is_hub(address):
        return fetch(address)
    path = Path(address)
    if path.is_file() or path.suffix in PICKLES:
        do = "give the folder of a model: config.json with model.safetensors"
        raise ModelError(
            "is a file, not a model folder; pickled weights can run code and are refused", where=path, do=do
        )
    for folder in [path, *(store / address for store in stores())]:
        if (folder / "config.json").is_file():
            return folder
    names = ", ".join(f.name for f in model_folders()) or "none"
    raise ModelError("no such model", found=address, do=f"use a folder, hub:owner/name, or one of: {names}")


def check_name(name: str, *, where: Path | None = None) -> None:
    """Refuse what cannot be a model's name, and so part of the name of a file."""
    if not _NAME.fullmatch(name):
        do = "give one of letters, digits, . _ -, 64 at most, that begins with a letter or digit"
        raise ModelError("cannot be a model's name", where=where, found=name, do=do)


def read_model(folder: Path, name: str = "config.json") -> Model:
    """Read and check `config.json`, or another file of its kind; the weights are not touched.

    Raises
    ------
    ModelError : no config, one of another format, or a name, classes or a resolution that no model has here.
    ConfigError : a key or value that is none.
    """
    path = folder / name
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise ModelError("is not a model's config", where=path, found=err) from err
    if isinstance(values, dict) and values.get("format", FORMAT) != FORMAT:
        raise ModelError("is of another format", where=path, found=values["format"], do="update tilscore")
    cfg = parse_config(ModelConfig, values, where=str(path))
    for key, ours in (("cell_classes", CELL_CLASSES), ("region_classes", REGION_CLASSES)):
        if getattr(cfg, key) != ours:
            raise ModelError(f"{key} in another order or of other names", where=path, found=getattr(cfg, key))
    if cfg.mpp != MPP:
        raise ModelError("is for another resolution", where=path, found=cfg.mpp, do=f"use a model for {MPP} um/px")
    check_name(cfg.name, where=path)
    return Model(folder, cfg)


def check_weights(model: Model) -> Model:
    """The model, when its weights are those that `config.json` names, or those that it was about to name."""
    if not model.weights.is_file():
        raise ModelError("weights are missing", where=model.weights, do="copy model.safetensors beside config.json")
    found = sha256(model.weights)
    if found != model.config.weights_sha256:
        if (model.folder / _NEXT).is_file() and (new := read_model(model.folder, _NEXT)).config.weights_sha256 == found:
            return new
        do = "copy the model again"
        raise ModelError("weights are not those of config.json (sha256)", where=model.weights, found=found[:12], do=do)
    return model
