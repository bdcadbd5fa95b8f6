"""Verbs on models: `models`."""

from __future__ import annotations

import argparse

from tilscore.cli.parsing import Verbs


def add(verbs: Verbs) -> None:
    """Add the verbs to the parser."""
    verb = verbs.add_parser("models", help="list the models at hand, or show one")
    verb.add_argument("name", nargs="?", help="a model's name or folder: show it and check its hash")
    verb.set_defaults(do=models)


def models(args: argparse.Namespace) -> int:
    """List the models, or show one."""
    from tilscore.modelstore import find_model, list_models

    if args.name:
        model = find_model(args.name)
        print(f"{model.ident}: {model.folder}\nsha256 {model.config.weights_sha256}")
        card = model.folder / "README.md"
        print(card.read_text(encoding="utf-8") if card.exists() else "(no card)")
        return 0
    for model in list_models():
        print(f"{model.ident:32} {model.config.net.encoder}, {model.config.mpp} um/px  {model.folder}")
    return 0
