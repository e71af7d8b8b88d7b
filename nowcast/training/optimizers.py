"""Optimizers and learning-rate schedules by name."""

import math

from torch import nn
from torch.optim import AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


def build_optimizer(
    model: nn.Module, name: str, lr: float, weight_decay: float, decay: float, momentum: float
) -> Optimizer:
    """'adamw' or 'rmsprop'.

    `decay` is β2 of the one and α of the other; `momentum` is β1 of the one.
    """
    if name == "adamw":
        return AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, betas=(momentum, decay))
    return RMSprop(
        model.parameters(), lr=lr, weight_decay=weight_decay, alpha=decay, momentum=momentum
    )


def build_schedule(
    optimizer: Optimizer, name: str, steps: int, warmup_steps: int, final_share: float
) -> LambdaLR:
    """The learning rate step by step: a linear warm-up, then 'constant', or a 'cosine' down to
    `final_share` of it.
    """

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if name == "constant":
            return 1.0
        progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
        return final_share + (1 - final_share) * (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, share)


def scheduled_rate(schedule: LRScheduler) -> float:
    """Return the learning rate that a schedule of `build_schedule` gives to its next step."""
    assert isinstance(schedule, LambdaLR)
    return float(schedule.base_lrs[0] * schedule.lr_lambdas[0](schedule.last_epoch))
