"""Models on disk, by name, by folder or from a hub: found, checked, added, verified, exported.

A model is a folder with `config.json`, `model.safetensors` and a card (`README.md`); a hub repository of these three
files is a model too.
"""

from tilscore.modelstore.store import (
    DEFAULT_MODEL,
    Model,
    find_folder,
    find_model,
    list_models,
    read_model,
    save_model,
    stores,
    user_store,
)
from tilscore.modelstore.upkeep import add_model, verify_model
from tilscore.network.config import ModelConfig

__all__ = [
    "DEFAULT_MODEL",
    "Model",
    "ModelConfig",
    "add_model",
    "find_folder",
    "find_model",
    "list_models",
    "read_model",
    "save_model",
    "stores",
    "user_store",
    "verify_model",
]
