"""The device a model runs on and the arithmetic it runs in."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from nowcast.errors import DeviceError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """Where to compute and in which numbers. Weights and cell states stay in float32 in every precision."""

    device: torch.device
    name: str

    @property
    def dtype(self) -> torch.dtype:
        return _DTYPES[self.name]

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, convolutions run in this precision; in fp32 nothing changes."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.name != "fp32")

    def gradient_scaler(self) -> torch.amp.GradScaler:
        """fp16 loses small gradients unless the loss is scaled up; the other precisions need no scaler."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        return f"{name}, {self.name}"


def choose_precision(device: str, precision: str) -> Precision:
    """The configured device and precision, 'auto' resolved: the GPU where there is one, and the fastest numbers it has.

    auto is bf16 where the hardware multiplies matrices of it (CUDA from compute capability 8.0, CPUs with AMX), fp16
    on older GPUs, fp32 elsewhere.

    Errors: DeviceError where CUDA is asked for and absent.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device: 'cuda' was asked for and PyTorch sees no GPU; use device=cpu, or device=auto.")
    kind = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    if precision != "auto":
        return Precision(kind, precision)
    if kind.type == "cuda":
        return Precision(kind, "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16")
    return Precision(kind, "bf16" if torch.cpu._is_amx_tile_supported() else "fp32")
