"""The device a model runs on and the arithmetic it runs in."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from nowcast.errors import DeviceError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """Device and arithmetic precision.

    Weights and cell states stay in float32 in every precision.
    """

    device: torch.device
    name: str

    @property
    def dtype(self) -> torch.dtype:
        return _DTYPES[self.name]

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context in which convolutions run in this precision; no effect in fp32."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.name != "fp32")

    def gradient_scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler, enabled for fp16 only, which would lose small gradients."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")

    def __str__(self) -> str:
        kind = self.device.type
        name = (
            torch.cuda.get_device_name(self.device)
            if kind == "cuda"
            else "Apple GPU"
            if kind == "mps"
            else "CPU"
        )
        return f"{name}, {self.name}"


def choose_precision(device: str, precision: str) -> Precision:
    """Return the configured device and precision. 'auto' is the first CUDA GPU, else the CPU, and
    the fastest precision.

    The fastest precision is bf16 if the hardware supports it (CUDA from compute capability 8.0,
    CPUs with AMX or AVX-512 bf16), fp16 on older CUDA GPUs, and fp32 elsewhere. On an Apple GPU
    (mps), half precision must be set explicitly.

    Errors: DeviceError if the requested device is missing.
    """
    chosen = choose_device(device)
    if precision != "auto":
        return Precision(chosen, precision)
    if chosen.type == "cuda":
        return Precision(
            chosen, "bf16" if torch.cuda.get_device_capability(chosen)[0] >= 8 else "fp16"
        )
    return Precision(chosen, "bf16" if chosen.type == "cpu" and _cpu_has_bf16() else "fp32")


def be_deterministic() -> None:
    """Make PyTorch use only operations that give identical bits in every run on one machine."""
    # cuBLAS reads this at its first use, and then adds in a fixed order
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def choose_device(device: str) -> torch.device:
    """Return 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps' as a device.

    Errors: DeviceError if PyTorch does not see it.
    """
    kind, _, number = device.partition(":")
    count = (
        torch.cuda.device_count() if kind in ("auto", "cuda") and torch.cuda.is_available() else 0
    )
    if kind == "cuda" and count == 0:
        raise DeviceError(
            f"device: {device!r} was requested, but PyTorch sees no GPU; use device=cpu or"
            " device=auto."
        )
    if number and int(number) >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise DeviceError(
            f"device: {device!r} was requested, but PyTorch sees {count} GPU{'s' * (count > 1)};"
            f" use {there}."
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(
            "device: 'mps' was requested, but PyTorch sees no Apple GPU; use device=cpu or"
            " device=auto."
        )
    return torch.device(("cuda" if count else "cpu") if kind == "auto" else device)


def _cpu_has_bf16() -> bool:
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
