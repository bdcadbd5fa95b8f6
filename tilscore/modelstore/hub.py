"""Models of a hub: `hub:owner/name[@revision]` through huggingface_hub and its cache. Only this file knows it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tilscore.errors import ModelError

FILES = ("config.json", "model.safetensors", "README.md")
"""What is fetched of a repository, and nothing else: no code, no pickles."""
_DO = "write hub:owner/name or hub:owner/name@revision"
_ADDRESS = re.compile(r"hub:(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w-][\w./-]*))?", re.ASCII)


def is_hub(address: str) -> bool:
    """Whether an address names a hub repository."""
    return address.startswith("hub:")


def fetch(address: str, *, newest: bool = False) -> Path:
    """The folder of a hub repository in the local cache (`$HF_HUB_CACHE`), downloaded where it is not there.

    Parameters
    ----------
    address : `hub:owner/name`, with `@revision` a branch, a tag or, so that it can never change, a commit.
    newest : ask the hub for the newest files of a branch first; the cached copy is used where it cannot be reached.

    Raises
    ------
    ModelError : not such an address, no such repository, or neither reachable nor cached.
    """
    match = _ADDRESS.fullmatch(address)
    if not match:
        raise ModelError("is not a hub address", found=address, do=_DO)
    folder = _snapshot(match["repo"], match["revision"], offline=True) if not newest else None
    folder = folder or _snapshot(match["repo"], match["revision"], offline=False)
    if folder is None:
        do = (
            "connect once and repeat `tilscore models add`, or copy the repository's "
            f"{', '.join(FILES)} into a folder and add that"
        )
        raise ModelError("is not in the local cache, and the hub cannot be reached", where=address, do=do)
    missing = [f for f in FILES[:2] if not (folder / f).is_file()]
    if missing:
        do = "a model is config.json with model.safetensors; pickled weights are not read"
        raise ModelError("holds no tilscore model", where=address, found=f"no {', '.join(missing)}", do=do)
    return folder


def _snapshot(repo: str, revision: str | None, *, offline: bool) -> Path | None:
    """The snapshot's folder; None where it is not cached (whole) or cannot be reached."""
    from httpx import TransportError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=list(FILES),
            local_files_only=offline,
            cache_dir=os.environ.get("HF_HUB_CACHE"),
            endpoint=os.environ.get("HF_ENDPOINT"),
            library_name="tilscore",
        )
    except (LocalEntryNotFoundError, TransportError):
        return None
    except HFValidationError as err:  # names that a hub never has, such as a--b
        raise ModelError("is not a hub address", found=f"hub:{repo}", do=_DO) from err
    except HfHubHTTPError as err:
        do = "check owner, name and revision; a private repository needs `hf auth login`"
        raise ModelError("the hub refuses this", where=repo, found=str(err).split("\n")[0], do=do) from err
    whole = all((Path(found) / f).is_file() for f in FILES[:2])
    return Path(found) if whole or not offline else None
