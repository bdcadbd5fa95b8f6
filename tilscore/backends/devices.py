"""Devices of this machine, without torch where a look at its drivers tells that there is no GPU."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

from tilscore.errors import UsageError

_DRIVERS = ("libcuda.so.1", "nvcuda.dll")


def pick_device(wanted: str) -> str:
    """`auto` is cuda, then mps, then cpu.

    Raises
    ------
    UsageError : the device is not here.
    """
    if wanted == "cpu" or (wanted == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, there in here.items() if there)
    kind, _, number = wanted.partition(":")
    n_devices = torch.cuda.device_count() if kind == "cuda" else 1
    if not here.get(kind, False) or (":" in wanted and not (number.isdecimal() and int(number) < n_devices)):
        have = ", ".join(name for name, there in here.items() if there)
        raise UsageError("no such device on this machine", found=wanted, do=f"use one of: auto, {have}")
    return wanted


def native_bfloat16(device: str) -> bool:
    """Whether a device, as `pick_device` returns it, computes in bfloat16 and does not emulate it."""
    if device != "cpu":
        return True
    import torch

    has = torch.cpu.get_capabilities()
    return any(bool(has.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def computes_int8() -> bool:
    """Whether OpenVINO has int8 kernels for every convolution on this processor; elsewhere it emulates some, slowly."""
    return platform.machine().lower() in ("x86_64", "amd64")


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _may_have_gpu() -> bool:
    """False where torch would find none: no Apple machine, no driver of NVIDIA's, no device of AMD's."""
    return sys.platform == "darwin" or Path("/dev/kfd").exists() or any(map(_loads, _DRIVERS))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
