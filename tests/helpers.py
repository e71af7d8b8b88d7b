"""Settings of a tiny training run, what a command shows, and frames for a model to learn by
heart.
"""

import logging
import os
import sys
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor, nn

from nowcast.training.loop import linear_share

# Four hours to train on, two to validate, two to test, at 5 minutes.
SPLITS = (
    "data.train=['2020-01-01T00:00','2020-01-01T03:55']",
    "data.validation=['2020-01-01T04:00','2020-01-01T05:55']",
    "data.test=['2020-01-01T06:00','2020-01-01T07:55']",
)
TINY = (
    "model=small", "model.hidden_channels=[4,4]", "input_steps=3", "lead_steps=4",
    "sampling.windows_per_epoch=16", "sampling.crop=24", "training.epochs=2",
    "training.batch_size=4", "validation.stride=4", "thresholds=[0.5,2]", "device=cpu",
    "precision=fp32",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a person sees of a command."""

    code: int
    out: str
    err: str


def exit_code(*words: str) -> int:
    """Run `nowcast …` in this process; logging and the environment are left as they were."""
    from nowcast.cli import main

    before = logging.root.handlers[:], logging.root.level
    with patch.object(sys, "argv", ["nowcast", *words]), patch.dict(os.environ):
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        finally:
            logging.root.handlers[:], level = before
            logging.root.setLevel(level)
    raise AssertionError("the command line ends by itself")


def moving_squares(count: int = 4, steps: int = 6, size: int = 12) -> Tensor:
    """Frames (count, steps, 1, size, size): a square of 4 × 4 ones that moves two pixels a
    frame, down in every second sequence.
    """
    frames = torch.zeros(count, steps, 1, size, size)
    for k, sequence in enumerate(frames):
        for step, frame in enumerate(sequence):
            frame[0, k : k + 4, :4] = 1
            sequence[step] = frame.roll((2 * step) % size, dims=1 + k % 2)
    return frames


def learn(
    model: nn.Module,
    frames: Tensor,
    input_steps: int = 3,
    *,
    lr: float = 2e-2,
    share_of_truth: tuple[float, float] | None = None,
) -> nn.Module:
    """Train by heart, a hundred steps; share_of_truth: of true frames fed back at the first and
    the last of them.
    """
    past, future = frames[:, :input_steps], frames[:, input_steps:]
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(100):
        guides = []
        if share_of_truth is not None:
            share = linear_share(*share_of_truth, step, 100)
            guides = [
                future.masked_fill(
                    (torch.rand(future.shape[:2]) >= share)[..., None, None, None], torch.nan
                )
            ]
        loss = (model(past, future.shape[1], *guides) - future).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


def share_left(model: nn.Module, frames: Tensor, input_steps: int = 3) -> float:
    """The squared error of the forecast, as a share of that of forecasting the mean."""
    future = frames[:, input_steps:]
    with torch.no_grad():
        error = (model.eval()(frames[:, :input_steps], future.shape[1]) - future).square().mean()
    return (error / (future - future.mean()).square().mean()).item()
