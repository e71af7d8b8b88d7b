"""The device a model runs on and the arithmetic it runs in."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from nowcast.errors import DeviceError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """Where to compute and in which numbers.

    Weights and cell states stay in float32 in every precision.
    """

    device: torch.device
    name: str

    @property
    def dtype(self) -> torch.dtype:
        return _DTYPES[self.name]

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, convolutions run in this precision; in fp32 nothing changes."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.name != "fp32")

    def gradient_scaler(self) -> torch.amp.GradScaler:
        """fp16 loses small gradients unless the loss is scaled up; the other precisions need no
        scaler.
        """
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
    """The configured device and precision. 'auto' is the first GPU if CUDA has one, else the CPU,
    and the fastest numbers it has.

    The fastest numbers are bf16 where the hardware multiplies by them (CUDA from compute capability
    8.0, CPUs with AMX or AVX-512 bf16), fp16 on older GPUs of CUDA, fp32 elsewhere: on an Apple GPU
    (mps), half precision has to be asked for.

    Errors: DeviceError where the device asked for is absent.
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
    """Let PyTorch choose operations that give the same bits in every run on one machine, and refuse
    those that cannot.
    """
    # cuBLAS reads it at its first use, and adds in a fixed order with it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def choose_device(device: str) -> torch.device:
    """'auto', 'cpu', 'cuda', 'cuda:N' or 'mps' as a device.

    Errors: DeviceError if PyTorch does not see it.
    """
    kind, _, number = device.partition(":")
    count = (
        torch.cuda.device_count() if kind in ("auto", "cuda") and torch.cuda.is_available() else 0
    )
    if kind == "cuda" and count == 0:
        raise DeviceError(
            f"device: {device!r} was asked for and PyTorch sees no GPU; use device=cpu, or"
            " device=auto."
        )
    if number and int(number) >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise DeviceError(
            f"device: {device!r} was asked for and PyTorch sees {count} GPU{'s' * (count > 1)}; use"
            f" {there}."
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(
            "device: 'mps' was asked for and PyTorch sees no Apple GPU; use device=cpu, or"
            " device=auto."
        )
    return torch.device(("cuda" if count else "cpu") if kind == "auto" else device)


def _cpu_has_bf16() -> bool:
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
