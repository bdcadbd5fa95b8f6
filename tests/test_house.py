"""The house: imports go one way, heavy libraries have one door each, texts are the same everywhere, notebooks run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PACKAGE = REPO / "tilscore"
FLOORS = [
    {"errors", "labels", "space", "files", "config", "masks", "stats"},
    {"pyramid", "raster", "cells", "slide", "network"},
    {"tissue", "stain", "phantom", "qupath", "inputs", "info"},
    {"datasets"},
    {"modelstore", "backends", "infer", "evaluate", "train"},
    {"score", "spatial", "results"},
    {"overlay"},
    {"cohort"},
    {"run", "job", "pipeline", "doctor"},
    {"cli"},
]
FLOOR = {name: i for i, floor in enumerate(FLOORS) for name in floor}
DOORS = {
    "lightning": {"train"},
    "openslide": {"slide", "doctor"},
    "openvino": {"backends"},
    "tiatoolbox": {"slide", "modelstore"},
    "huggingface_hub": {"modelstore"},
    "statsmodels": {"stats", "cohort"},
    "lifelines": {"cohort"},
    "openpyxl": {"cohort"},
}


def modules() -> list[tuple[str, Path]]:
    files = [
        p for p in sorted(PACKAGE.rglob("*.py")) if p.name not in ("__init__.py", "__main__.py") or p.parent != PACKAGE
    ]
    return [(p.relative_to(PACKAGE).parts[0].removesuffix(".py"), p) for p in files]


def imports(path: Path) -> set[str]:
    """All modules that a file imports when it is used, not for its types alone."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(n)
        for i in ast.walk(tree)
        if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.dump(i.test)
        for n in ast.walk(i)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_every_module_has_a_floor() -> None:
    assert {name for name, _ in modules()} == set(FLOOR)


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda v: v.stem if isinstance(v, Path) else "")
def test_imports_go_down(name: str, path: Path) -> None:
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "tilscore" and len(parts) > 1:
            assert FLOOR[parts[1]] <= FLOOR[name], f"{path.name} imports {module} from a higher floor"
        if parts[0] in DOORS:
            assert name in DOORS[parts[0]], f"{path.name} imports {parts[0]}"


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda v: v.stem if isinstance(v, Path) else "")
def test_texts_are_the_same_on_every_system(name: str, path: Path) -> None:
    """Left to the system, Windows reads and writes texts in its code page, and ends lines with two characters."""
    for call in (n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)):
        called, told = ast.unparse(call.func), {k.arg for k in call.keywords}
        mode = next((ast.literal_eval(a) for a in call.args[1:2] if isinstance(a, ast.Constant)), "r")
        where = f"{path.name} line {call.lineno}"
        opens = called in ("open", "os.fdopen") and "b" not in mode
        if opens or called.endswith((".read_text", ".write_text")):
            assert "encoding" in told, where
        if (opens and set(mode) & set("wax+")) or called.endswith(".write_text"):
            assert "newline" in told, where
        assert called not in ("cv2.imread", "cv2.imwrite"), f"{where}: no letters beyond the code page in paths there"


@pytest.mark.parametrize("path", sorted((REPO / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_notebooks_run(path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    NotebookClient(nbformat.read(path, as_version=4), timeout=300, kernel_name="python3").execute()
