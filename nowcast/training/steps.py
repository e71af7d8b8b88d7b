"""One step of training: the loss of a batch, its gradient, and the update of the weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nowcast.model.stacks import call_model
from nowcast.sequences.batch import Batch
from nowcast.training.distribution import ALONE, Processes, adding_up
from nowcast.training.losses import Loss, size_of
from nowcast.training.options import Plan
from nowcast.training.precision import Precision


@dataclass
class Steps:
    """The steps of a training. Each process takes a part of every step.

    averaged: the moving average of the weights, which validation scores; None if the plan has
        ema_decay 0.
    norm: of the newest gradient, before clipping.
    """

    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    loss: Loss
    precision: Precision
    plan: Plan
    processes: Processes = ALONE
    averaged: AveragedModel | None = field(init=False)
    norm: Tensor = field(init=False)

    def __post_init__(self) -> None:
        decay = self.plan.ema_decay
        self.averaged = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
        )
        self.gradient_scaler = self.precision.gradient_scaler()
        self.norm = torch.tensor(math.nan)
        self._parallel = self.model  # the model to back-propagate through

    @property
    def are_read_at_once(self) -> bool:
        """Whether reading a number does not wait for a GPU."""
        return self.precision.device.type == "cpu"

    def begin(self) -> None:
        """Let the processes exchange gradients from now on."""
        self._parallel = self.processes.in_parallel(self.model)

    def take(self, batch: Batch, guide: Tensor | None = None) -> Tensor:
        """Train on this process's part of a batch.

        Args:
            batch: windows of this process.
            guide: true frames to feed back, (b, lead, c, h, w), NaN elsewhere.

        Returns:
            Its part of the loss, a scalar on the device; NaN if the gradient is not finite.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._add_gradients(batch, guide)
        self.gradient_scaler.unscale_(self.optimizer)
        self.norm = nn.utils.clip_grad_norm_(
            self.model.parameters(), self.plan.gradient_clip or math.inf
        )
        if not self.gradient_scaler.is_enabled():  # a scaler skips steps that are not finite
            loss = torch.where(self.norm.isfinite(), loss, math.nan)
            if self.are_read_at_once and not loss.isfinite():
                return loss
        scale = self.gradient_scaler.get_scale()
        self.gradient_scaler.step(self.optimizer)
        self.gradient_scaler.update()
        # the scale falls if gradients overflow in fp16: then no step was taken
        if self.gradient_scaler.get_scale() >= scale:
            self.schedule.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.model)
        return loss

    def _add_gradients(self, batch: Batch, guide: Tensor | None) -> Tensor:
        """Add up the gradients of a batch part by part; return this process's part of the loss."""
        parts = batch.split(self.plan.accumulate)
        shares = self._shares(batch, parts)
        total = torch.zeros((), device=self.precision.device)
        for part, own, share in zip(parts, _split_like(guide, parts), shares, strict=True):
            with adding_up(self._parallel, last=part is parts[-1]):
                loss = share * self._loss(part, own)
                # processes average their gradients, but the loss is the sum of its parts
                self.gradient_scaler.scale(self.processes.size * loss).backward()
            total += loss.detach()
        return total

    def _shares(self, batch: Batch, parts: Sequence[Batch]) -> Sequence[Tensor | float]:
        """Return the weight of the mean over each part in the mean over all processes' batch."""
        if self.processes.size == len(parts) == 1:
            return [1.0]
        whole = self.processes.sum(size_of(self.loss, batch.future_mask)).clamp(min=1)
        return [size_of(self.loss, part.future_mask) / whole for part in parts]

    def _loss(self, batch: Batch, guide: Tensor | None) -> Tensor:
        with self.precision.autocast():
            forecast = _call(self._parallel, batch, guide)
        return self.loss(
            forecast, batch.future, batch.future_mask, batch.future_rates, batch.weights
        )

    def forecast(self, batch: Batch) -> Tensor:
        """Return the forecast that validation scores, (b, lead, c, h, w), the model's output. It
        runs on as many windows at once as in training.
        """
        model, parts = self.averaged or self.model, self.plan.accumulate * self.processes.size
        with self.precision.autocast():
            made = [_call(model, part) for part in batch.split(parts)]
        return made[0] if len(made) == 1 else torch.cat(made)

    def validation_loss(self, batch: Batch, forecast: Tensor) -> float:
        """Return the loss of a forecast with equal weights of all windows."""
        weights = torch.ones_like(batch.weights)
        loss = self.loss(forecast, batch.future, batch.future_mask, batch.future_rates, weights)
        return loss.item()


def _call(model: nn.Module, batch: Batch, guide: Tensor | None = None) -> Tensor:
    return call_model(
        model, batch.past, batch.future.shape[1], guide, batch.ahead, batch.newest_rates,
        batch.spacing,
    )  # fmt: skip


def _split_like(values: Tensor | None, parts: Sequence[Batch]) -> Sequence[Tensor | None]:
    """Split values of the windows of a batch, (b, …), like its parts."""
    if values is None:
        return [None] * len(parts)
    return list(torch.split(values, [len(part.rates) for part in parts]))
