"""Optimizers get what the configuration calls decay and momentum; learning rates step by step,
by hand.
"""

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, RMSprop

from nowcast.training.optimizers import build_optimizer, build_schedule


def rates(name: str, steps: int, warmup_steps: int, final_share: float, of: int) -> list[float]:
    """The learning rate of the first `of` steps, of a peak of 1."""
    optimizer = SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    schedule = build_schedule(
        optimizer, name, steps=steps, warmup_steps=warmup_steps, final_share=final_share
    )
    taken = []
    for _ in range(of):
        taken.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return taken


def test_decay_is_the_alpha_of_rmsprop() -> None:
    optimizer = build_optimizer(
        nn.Linear(1, 1), "rmsprop", lr=1e-3, weight_decay=0.0, decay=0.9, momentum=0.0
    )
    assert isinstance(optimizer, RMSprop)
    settings = optimizer.param_groups[0]
    assert (settings["lr"], settings["alpha"], settings["momentum"], settings["weight_decay"]) == (
        1e-3,
        0.9,
        0.0,
        0.0,
    )


def test_momentum_and_decay_are_the_betas_of_adamw() -> None:
    optimizer = build_optimizer(
        nn.Linear(1, 1), "adamw", lr=2e-3, weight_decay=1e-4, decay=0.999, momentum=0.9
    )
    assert isinstance(optimizer, AdamW)
    settings = optimizer.param_groups[0]
    assert (settings["lr"], settings["betas"], settings["weight_decay"]) == (
        2e-3,
        (0.9, 0.999),
        1e-4,
    )


def test_a_step_of_rmsprop_by_hand() -> None:
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 1.0)
    optimizer = build_optimizer(
        weight, "rmsprop", lr=0.1, weight_decay=0.0, decay=0.9, momentum=0.0
    )
    weight(torch.tensor([[3.0]])).sum().backward()  # a gradient of 3
    optimizer.step()
    assert weight.weight.item() == pytest.approx(1 - 0.1 * 3 / math.sqrt(0.1 * 9), rel=1e-6)


def test_every_parameter_is_trained() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    for name in ("adamw", "rmsprop"):
        optimizer = build_optimizer(model, name, lr=1e-3, weight_decay=0.0, decay=0.9, momentum=0.0)
        assert sum(p.numel() for p in optimizer.param_groups[0]["params"]) == 3 * 3 + 4


def test_cosine_by_hand() -> None:
    # 4 steps of warm-up, 8 of a cosine from 1 to 0.1, then 0.1 for ever
    taken = rates("cosine", steps=12, warmup_steps=4, final_share=0.1, of=15)
    assert taken[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert taken[4] == pytest.approx(1.0)
    assert taken[6] == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)  # a quarter of the way
    assert taken[8] == pytest.approx(0.55)  # half-way
    assert taken[12:] == pytest.approx([0.1] * 3)
    assert taken[3:13] == sorted(taken[3:13], reverse=True)


def test_constant_stays_after_the_warm_up() -> None:
    assert rates("constant", steps=5, warmup_steps=2, final_share=1.0, of=8) == pytest.approx(
        [0.5] + [1.0] * 7
    )
    assert rates("constant", steps=5, warmup_steps=0, final_share=1.0, of=4) == [1.0] * 4


def test_a_run_shorter_than_its_warm_up_has_a_schedule() -> None:
    assert rates("cosine", steps=2, warmup_steps=4, final_share=0.1, of=6) == pytest.approx(
        [0.25, 0.5, 0.75, 1.0, 1.0, 0.1]
    )
