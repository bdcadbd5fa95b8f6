"""What runs the network: torch on any device, or OpenVINO on a CPU. Blocks of pixels in, cells and regions out."""

from tilscore.backends.base import Backend, BlockResult, Precision
from tilscore.backends.choose import make_backend
from tilscore.backends.devices import cpu_count, native_bfloat16, pick_device

__all__ = ["Backend", "BlockResult", "Precision", "cpu_count", "make_backend", "native_bfloat16", "pick_device"]
