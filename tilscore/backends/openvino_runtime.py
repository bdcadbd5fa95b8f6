"""OpenVINO, imported so that it reports to nobody: the one place from which this package takes it.

Where the package `openvino_telemetry` is installed, each import of `openvino` and each conversion of a network is told
to its maker, unasked, and a client id is kept in the home folder. Machines that hold slides of patients tell nobody
what they do.
"""

from __future__ import annotations

import logging
import sys

__all__ = ["ov"]

_TELEMETRY = "openvino_telemetry"

_loaded = sys.modules.get(_TELEMETRY)
sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # Python takes it for a module that is not installed
try:
    import openvino as ov
finally:
    del sys.modules[_TELEMETRY]
    if _loaded is not None:
        sys.modules[_TELEMETRY] = _loaded

logging.getLogger("openvino").setLevel(logging.ERROR)
