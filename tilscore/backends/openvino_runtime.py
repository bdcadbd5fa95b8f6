"""OpenVINO, imported so that it reports to nobody: the one place from which this package takes it.

Where the package `openvino_telemetry` is installed, each import of `openvino` and each conversion of a network is told
to its maker, unasked, and a client id is kept in the home folder. Machines that hold slides of patients tell nobody
what they do.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

__all__ = ["ov"]

_TELEMETRY = "openvino_telemetry"


@contextlib.contextmanager
def _not_to_be_found(name: str) -> Iterator[None]:
    """Let imports of a module fail meanwhile, as if it were not installed; one that is loaded is loaded afterwards."""
    loaded = {key: sys.modules.pop(key) for key in list(sys.modules) if key.partition(".")[0] == name}
    sys.modules[name] = None  # type: ignore[assignment]  # what Python takes for "not to be imported"
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(loaded)


with _not_to_be_found(_TELEMETRY):
    import openvino as ov

logging.getLogger("openvino").setLevel(logging.ERROR)
