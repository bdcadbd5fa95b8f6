"""Models of a hub: a cache as huggingface_hub lays it out, and a server on this machine that answers as the hub."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tiny_model import Canary, tiny_model

from tilscore.errors import ModelError
from tilscore.modelstore import add_model, find_model, read_model
from tilscore.modelstore.hub import FILES

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "small")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILSCORE_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


def cache(root: Path, model: Path, commit: str = COMMIT, files: tuple[str, ...] = FILES) -> None:
    """A repository clinic/tils in a cache, its branch main at `commit`."""
    repo = root / "models--clinic--tils"
    (repo / "refs").mkdir(parents=True, exist_ok=True)
    (repo / "blobs").mkdir(exist_ok=True)
    (repo / "refs" / "main").write_text(commit)
    (repo / "snapshots" / commit).mkdir(parents=True)
    for name in files:
        blob = repo / "blobs" / f"{commit}-{name}"
        shutil.copy(model / name, blob)
        (repo / "snapshots" / commit / name).symlink_to(blob)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_cached_hub_model_needs_no_network(folder: Path, hub: Path, store: Path) -> None:
    cache(hub, folder)
    want = read_model(folder).ident
    for address in ("hub:clinic/tils", "hub:clinic/tils@main", f"hub:clinic/tils@{COMMIT}"):
        assert find_model(address).ident == want
    added = add_model("hub:clinic/tils", name="theirs")
    shutil.rmtree(hub)
    assert find_model("theirs").ident == added.ident
    assert not added.weights.is_symlink()


def test_offline_and_not_cached_says_what_to_do(folder: Path, hub: Path, store: Path) -> None:
    for address in ("hub:clinic/tils", "hub:clinic/tils@v2"):
        with pytest.raises(ModelError, match="copy the repository's config"):
            find_model(address)
    cache(hub, folder, files=("config.json",))
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        find_model("hub:clinic/tils")


def test_a_hub_model_is_held_against_its_hash(folder: Path, hub: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes() + b"\0")
    cache(hub, folder)
    with pytest.raises(ModelError, match="sha256"):
        find_model("hub:clinic/tils")


@pytest.mark.parametrize(
    "address",
    ["hub:", "hub:tils", "hub:../..", "hub:a/b/c", "hub:a/b@", "hub:a/b c", "hub:/b", "hub:a/b--c", "hub:a/b..c"],
)
def test_what_is_no_hub_address(address: str, hub: Path) -> None:
    with pytest.raises(ModelError, match="write hub:owner/name"):
        find_model(address)


class Hub(BaseHTTPRequestHandler):
    """Answers for clinic/tils as the hub does; the files are those of the server's `folder`."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        folder: Path = self.server.folder  # type: ignore[attr-defined]
        if self.path.startswith("/api/models/clinic/tils/revision/main"):
            siblings = [{"rfilename": p.name} for p in folder.iterdir()]
            self.answer(json.dumps({"id": "clinic/tils", "sha": COMMIT, "siblings": siblings}).encode())
        elif self.path.startswith(f"/clinic/tils/resolve/{COMMIT}/"):
            self.answer((folder / self.path.rsplit("/", 1)[1]).read_bytes())
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.folder, server.asked = folder, []  # type: ignore[attr-defined]
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_only_the_three_files_are_fetched_and_only_once(server: ThreadingHTTPServer, folder: Path, store: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(folder / "ran")))
    (folder / "modeling.py").write_text("raise SystemExit")
    model = find_model("hub:clinic/tils")
    assert sorted(p.name for p in model.folder.iterdir()) == sorted(FILES)
    asked = list(server.asked)  # type: ignore[attr-defined]
    assert not [a for a in asked if ".bin" in a or ".py" in a]
    assert find_model("hub:clinic/tils").ident == model.ident
    assert server.asked == asked  # type: ignore[attr-defined]  # a run does not ask the hub again
    with pytest.raises(ModelError, match="the hub refuses this"):
        find_model("hub:clinic/none")


def test_a_repository_of_pickles_is_no_model(server: ThreadingHTTPServer, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled weights are not read"):
        find_model("hub:clinic/tils")
