"""A source of windows and a model so small that an epoch takes a tenth of a second."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nowcast.model import EncoderForecaster, NextFrame
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick
from nowcast.training.distribution import ALONE, Processes
from nowcast.training.loop import Trainer
from nowcast.training.losses import mse
from nowcast.training.optimizers import build_optimizer, build_schedule
from nowcast.training.options import Plan
from nowcast.training.precision import Precision

SIZE = 8


MODELS: dict[str, Callable[[], nn.Module]] = {
    "unconditional": lambda: EncoderForecaster(1, [4], 3, 3, patch_size=2),
    "feedback": lambda: EncoderForecaster(1, [4], 3, 3, patch_size=2, feedback=True),
    "masked": lambda: EncoderForecaster(2, [4], 3, 3, patch_size=2, output_channels=1),
    "next_frame": lambda: NextFrame(1, [4, 4], [3, 3]),
}


class Showers:
    """A square of rain of 5 mm/h that moves one pixel a frame; a pick's start says from where.

    Pixel (0, 0) is not covered.
    """

    def __init__(self, count: int = 8, fresh: bool = True) -> None:
        self.input_steps, self.lead_steps, self.scaling = 3, 2, Scaling("linear", 10.0, 1.0)
        self.count, self.fresh = count, fresh

    def epoch(self, epoch: int) -> list[Pick]:
        generator = np.random.default_rng([0, epoch if self.fresh else 0])
        return [Pick(int(k)) for k in generator.integers(SIZE, size=self.count)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, pick: Pick) -> Tensor:
        rates = torch.zeros(self.input_steps + self.lead_steps, 1, SIZE, SIZE)
        for step, frame in enumerate(rates):
            frame[0, 2:5, [(pick.start + step + k) % SIZE for k in range(3)]] = 5.0
        rates[..., 0, 0] = torch.nan
        return rates


def make_trainer(
    folder: Path,
    *,
    loss: Any = mse,
    precision: str = "fp32",
    device: str = "cpu",
    lr: float = 3e-3,
    optimizer: str = "adamw",
    schedule: str = "constant",
    kind: str = "unconditional",
    processes: Processes = ALONE,
    **plan: Any,
) -> Trainer:
    torch.manual_seed(0)
    model = MODELS[kind]().to(device)
    settings = {
        "epochs": 3, "batch_size": 2, "gradient_clip": 1.0, "ema_decay": 0.9, "patience": 100,
        "monitor": "loss", "workers": 0, "log_every": 50, "scheduled_sampling": [0.0, 0.0],
        "accumulate": 1, "checkpoint_segments": False,
        **plan,
    }  # fmt: skip
    optimizer_ = build_optimizer(
        model, optimizer, lr=lr, weight_decay=1e-4, decay=0.9, momentum=0.9
    )
    schedule_ = build_schedule(
        optimizer_, schedule, steps=4 * settings["epochs"], warmup_steps=2, final_share=0.1
    )
    config = {
        "scaling": {"kind": "linear", "maximum": 10.0, "reference": 1.0},
        "input_steps": 3,
        "lead_steps": 2,
    }
    return Trainer(
        model,
        optimizer_,
        schedule_,
        loss,
        Precision(torch.device(device), precision),
        Plan(**settings),
        [0.5, 2.0],
        folder,
        config,
        processes=processes,
    )


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads cost more than they bring on pictures of 8 × 8 pixels."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def showers() -> type[Showers]:
    """`showers(count, fresh)`: 4 batches of 2 where not told otherwise."""
    return Showers


@pytest.fixture
def build_trainer() -> Callable[..., Trainer]:
    """`build_trainer(folder, loss=…, precision=…, **plan)`: always the same model, at its first
    step.
    """
    return make_trainer
