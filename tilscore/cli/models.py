"""Verbs on models: `models list | show | add | verify | quantise | export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilscore.cli.parsing import Verbs, add_verb, out_path
from tilscore.files import check_can_write

if TYPE_CHECKING:
    from tilscore.modelstore import Model

_ADDRESS = "a model's name, its folder, or hub:owner/name[@revision]"


class _OrShow(argparse._SubParsersAction):  # type: ignore[type-arg]
    """A first word that is no verb is a model to show."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        words = values if values[0] in self._name_parser_map else ["show", *values]
        super().__call__(parser, namespace, words, option_string)


def add(verbs: Verbs) -> None:
    """Add the verbs to the parser."""
    text = "list the models at hand; show, add, verify, quantise or export one"
    verb = add_verb(verbs, "models", text)
    verb.set_defaults(do=list_)
    what = verb.add_subparsers(
        action=_OrShow, metavar="VERB", help="without one: list; a model's name alone: show", title="verbs"
    )
    what.choices = None  # type: ignore[assignment]  # other words are for _OrShow
    add_verb(what, "list", "the models at hand").set_defaults(do=list_)
    one = add_verb(what, "show", "a model's card, classes and hash")
    one.add_argument("name", help=_ADDRESS)
    one.set_defaults(do=show)
    one = add_verb(what, "add", "copy a model into your store, to use it by its name")
    one.add_argument("address", help="a model's folder, or hub:owner/name[@revision]")
    one.add_argument("--name", help="what to call it (default: its own name)")
    one.set_defaults(do=add_)
    one = add_verb(what, "verify", "check hash, weights, outputs and card of one model, or of all")
    one.add_argument("name", nargs="?", help=_ADDRESS)
    one.set_defaults(do=verify)
    one = add_verb(what, "quantise", "observe a model's activations, so that CPUs run it in int8 (train does it)")
    one.add_argument("name", help="a model's name or folder; its model.safetensors is written anew")
    one.add_argument("--config", type=Path, required=True, help="the YAML that it was trained with")
    one.add_argument("--data", type=Path, required=True, help="folder that holds the sets' folders")
    one.add_argument("--fold", type=int, help="part that was held out of its training")
    one.set_defaults(do=quantise)
    one = add_verb(what, "export", "write a model as ONNX and TorchScript for other programs")
    one.add_argument("name", help=_ADDRESS)
    one.add_argument("--format", choices=("onnx", "torchscript", "all"), default="all", help="(default: %(default)s)")
    one.add_argument("--out", type=out_path, required=True, help="folder to write to")
    one.set_defaults(do=export)


def list_(_: argparse.Namespace) -> int:
    """The models at hand, a line each."""
    from tilscore.modelstore import DEFAULT_MODEL, list_models, user_store

    for model in list_models():
        default = " (default)" if model.folder.name == DEFAULT_MODEL else ""
        print(f"{model.ident:32} {model.config.net.encoder}, {model.config.mpp} um/px{default}  {model.folder}")
    print(f"yours are kept in {user_store()}")
    return 0


def show(args: argparse.Namespace) -> int:
    """One model with its card."""
    from tilscore.modelstore import find_model

    _show(find_model(args.name))
    return 0


def _show(model: Model) -> None:
    cfg = model.config
    print(f"{model.ident}: {model.folder}\nsha256 {cfg.weights_sha256}")
    print(f"{cfg.net.encoder}, {cfg.mpp} um/px, detection threshold {cfg.detection_threshold:g}")
    print(f"cells: {', '.join(cfg.cell_classes)}; regions: {', '.join(cfg.region_classes)}\n")
    print(model.card.read_text(encoding="utf-8", errors="replace") if model.card.exists() else "(no card)")


def add_(args: argparse.Namespace) -> int:
    """Copy a model into the user's store."""
    from tilscore.modelstore import add_model

    model = add_model(args.address, name=args.name)
    print(f"{model.ident}: {model.folder}\nuse it with --model {model.config.name}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Check models; 1 when one of them cannot be used."""
    from tilscore.modelstore import find_folder, verify_model
    from tilscore.modelstore.store import model_folders

    n_bad = 0
    for folder in [find_folder(args.name)] if args.name else model_folders():
        wrong, remarks = verify_model(folder)
        n_bad += bool(wrong)
        print(f"{'FAIL' if wrong else 'ok  '} {folder.name}: " + "; ".join([*wrong, *remarks] or [str(folder)]))
    return 1 if n_bad else 0


def quantise(args: argparse.Namespace) -> int:
    """Store in a model what its activations are."""
    from tilscore.config import load_config
    from tilscore.modelstore.upkeep import find_own
    from tilscore.train import TrainConfig, quantise_model

    check_can_write(find_own(args.name).folder, folder=True)
    model = quantise_model(load_config(TrainConfig, args.config), args.data, args.name, fold=args.fold)
    print(f"{model.ident}: {model.folder}")
    return 0


def export(args: argparse.Namespace) -> int:
    """Write ONNX and TorchScript."""
    from tilscore.modelstore import find_model
    from tilscore.modelstore.export import FORMATS, export_model

    check_can_write(args.out, folder=True)
    formats = FORMATS if args.format == "all" else (args.format,)
    for path in export_model(find_model(args.name), args.out, formats):
        print(path)
    return 0
