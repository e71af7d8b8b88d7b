"""Optimizers and learning-rate schedules by name."""

import math
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from nowcast.model.probability_head import mixture_parameters

MIXTURE_RATE = 5.0
"""Learning rate of the weights of neighbourhoods, as a multiple of the network's rate."""


def build_optimizer(
    model: nn.Module, name: str, lr: float, weight_decay: float, decay: float, momentum: float
) -> Optimizer:
    """Return an AdamW or RMSprop optimizer; `name` is 'adamw' or 'rmsprop'.

    `decay` is β2 of AdamW and α of RMSprop; `momentum` is β1 of AdamW and the momentum of RMSprop.
    The weights of neighbourhoods, few numbers of magnitude 1, have `MIXTURE_RATE` times the
    learning rate and no weight decay.
    """
    groups = _groups(model, lr)
    if name == "adamw":
        fused = True if next(model.parameters()).is_cuda else None  # one kernel for all weights
        return AdamW(groups, lr=lr, weight_decay=weight_decay, betas=(momentum, decay), fused=fused)
    return RMSprop(groups, lr=lr, weight_decay=weight_decay, alpha=decay, momentum=momentum)


def _groups(model: nn.Module, lr: float) -> list[dict[str, Any]]:
    mixture = mixture_parameters(model)
    of_mixture = {id(parameter) for parameter in mixture}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in of_mixture]
    groups: list[dict[str, Any]] = [{"params": rest}]
    if mixture:
        groups.append({"params": mixture, "lr": MIXTURE_RATE * lr, "weight_decay": 0.0})
    return groups


def build_schedule(
    optimizer: Optimizer, name: str, steps: int, warmup_steps: int, final_share: float
) -> LambdaLR:
    """Return a learning-rate schedule: a linear warm-up, then 'constant', or 'cosine' decay to
    `final_share` of the rate.
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
    """Return the learning rate of the next step of a schedule made by `build_schedule`."""
    assert isinstance(schedule, LambdaLR)
    return float(schedule.base_lrs[0] * schedule.lr_lambdas[0](schedule.last_epoch))
