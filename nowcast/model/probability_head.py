"""A head that turns a network into a model of probabilities."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from nowcast.model.across import AcrossThresholds
from nowcast.model.stacks import Local, call_model
from nowcast.probability.ladder import check_ladder, running_minimum
from nowcast.probability.neighbourhoods import REACH, fractions, mixture_logits

BOUNDS = 3e-4, 1 - 3e-4
"""Fractions are limited to this range, so that their logits are finite."""


class ProbabilityModel(nn.Module):
    """The probability of reaching each threshold: the Lagrangian probability forecast, corrected by
    a network.

        logit p = L + A + C,   L = logit Σₛ wₛ Fₛ

    Fₛ is the share of pixels in neighbourhood s of the newest frame that reach the threshold. The
    weights w of the neighbourhoods are a softmax of offset + slope · log(lead step), learned for
    each threshold. A is computed from the L of the other thresholds; `AcrossThresholds` returns
    L + A. C is the output of the network. A and C start at zero, so an untrained model equals the
    baseline `lagrangian_probability`. In a forecast no threshold is more probable than a lower one:
    the logits are a running minimum. In training the thresholds are independent.

    The model is meant for the moving frame of reference, where rain that only moves stands still.

    Args:
        network: frames (b, t, c, h, w) → (b, lead, k, h, w); its last layer is named `output`.
        thresholds: (k,) in mm/h, rising.

    Raises:
        ValueError: the thresholds do not rise, or the network has no layer `output`.

    Example:
        >>> from nowcast.model import EncoderForecaster
        >>> network = EncoderForecaster(1, [4], 3, 3, patch_size=2, output_channels=3)
        >>> model = ProbabilityModel(network, thresholds=[0.5, 1, 5])
        >>> logits = model(torch.rand(2, 5, 1, 8, 8), 4, newest=10 * torch.rand(2, 8, 8))
        >>> logits.shape
        torch.Size([2, 4, 3, 8, 8])
    """

    octaves: Sequence[float] = ()
    """log2(1 + width) of the neighbourhoods whose weights are learned; see `mixture_logits`."""

    of_neighbourhoods: Sequence[str] = ("offsets", "slopes", "across.weights")
    """The parameters that weight neighbourhoods: few, and of magnitude 1. An optimizer keeps this
    order.
    """

    wants_newest = True
    """The model is also called with the rates of the newest frame."""

    def __init__(self, network: nn.Module, thresholds: Sequence[float]) -> None:
        super().__init__()
        check_ladder(thresholds)
        output = getattr(network, "output", None)
        if not isinstance(output, nn.Module):
            raise ValueError("a network for probabilities needs a last layer named 'output'.")
        for parameter in output.parameters():
            nn.init.zeros_(parameter)
        self.network, self.thresholds = network, tuple(thresholds)
        self.ahead_channels: int = getattr(network, "ahead_channels", 0)
        if isinstance(network, Local):
            self.multiple, self.halo = network.multiple, self._halo
        offsets, slopes = mixture_logits(self.octaves)
        self.offsets = nn.Parameter(torch.tensor([offsets] * len(thresholds)))
        self.slopes = nn.Parameter(torch.tensor([slopes] * len(thresholds)))
        self.across = AcrossThresholds(len(thresholds))

    def _halo(self, input_steps: int, lead_steps: int) -> int:
        """See `nowcast.model.stacks.Local`: the larger of the network's and the neighbourhoods'."""
        network: Any = self.network
        halo: int = max(network.halo(input_steps, lead_steps), REACH)
        return halo

    def forward(
        self,
        frames: Tensor,
        lead_steps: int,
        guide: Tensor | None = None,
        ahead: Tensor | None = None,
        newest: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of the probabilities (b, lead_steps, k, h, w), in float32.

        Args:
            frames: (b, t, c, h, w), scaled, missing pixels 0.
            lead_steps: frames to forecast.
            guide: None; probabilities are not fed back.
            ahead: fields for each lead time, if the network takes them.
            newest: (b, h, w) rates of the newest frame in mm/h, NaN = missing.
        """
        if newest is None:
            raise ValueError("newest: give the rates of the newest frame.")
        correction = call_model(self.network, frames, lead_steps, guide, ahead)
        leads = torch.arange(1, lead_steps + 1, device=newest.device, dtype=torch.float32)
        with self.in_float32(frames):
            weights = self.mixture(leads, self.offsets, self.slopes)
            start = self.mixed(newest.float(), weights)
            return self.ordered(self.across(start, leads) + correction.float())

    def in_float32(self, frames: Tensor) -> AbstractContextManager[object]:
        """Return a context without autocast: in bf16 a logit may be infinite."""
        device = frames.device.type
        autocast = device != "meta" and torch.is_autocast_enabled(device)
        return torch.autocast(device, enabled=False) if autocast else nullcontext()

    @staticmethod
    def mixture(leads: Tensor, offsets: Tensor, slopes: Tensor) -> Tensor:
        """Return the weights (lead, k, s) of the neighbourhoods.

        Args:
            leads: (lead,) lead times in timesteps.
            offsets, slopes: (k, s).
        """
        return torch.softmax(offsets + slopes * leads.log()[:, None, None], dim=-1)

    def mixed(self, newest: Tensor, weights: Tensor) -> Tensor:
        """Return the logits of the mixture of neighbourhoods, (b, lead, k, h, w).

        Args:
            newest: (b, h, w) in mm/h, NaN = missing.
            weights: (lead, k, s) of the neighbourhoods.
        """
        scales = weights.shape[-1]
        shares = fractions(newest, self.thresholds, scales).transpose(1, 2)  # (b, k, s, h, w)
        start = weights.transpose(0, 1) @ shares.flatten(3)  # (k, l, s) by (b, k, s, h · w)
        return _bounded_logit(start.transpose(1, 2).unflatten(3, newest.shape[-2:]))

    def ordered(self, logits: Tensor) -> Tensor:
        """Return logits (b, lead, k, h, w); in a forecast none above a lower threshold's."""
        return logits if self.training else running_minimum(logits)


def _bounded_logit(probability: Tensor) -> Tensor:
    needs_gradient = torch.is_grad_enabled() and probability.requires_grad
    if needs_gradient and not torch._C._are_functorch_transforms_active():
        found: Tensor = _BoundedLogit.apply(probability)  # type: ignore[no-untyped-call]
        return found
    return probability.clamp(*BOUNDS).logit()


class _BoundedLogit(torch.autograd.Function):
    """The logit of probabilities limited to `BOUNDS`, several times faster than by autograd."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor) -> Tensor:
        ctx.save_for_backward(probability)
        return probability.clamp(*BOUNDS).logit_()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (probability,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is differentiated again
            bounded = probability.clamp(*BOUNDS).logit()
            (again,) = torch.autograd.grad(bounded, probability, gradient, create_graph=True)
            return cast(Tensor, again)
        p = probability.clamp(*BOUNDS)
        inside: Tensor = torch.ops.aten.hardtanh_backward(gradient, p, *BOUNDS)
        return inside.div_(torch.addcmul(p, p, p, value=-1))  # p (1 − p)


def mixture_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return a model's weights of neighbourhoods, which train at a higher rate than the network."""
    if not isinstance(model, ProbabilityModel):
        return []
    return [model.get_parameter(name) for name in model.of_neighbourhoods]


def ladder_of(model: nn.Module) -> tuple[float, ...]:
    """Return the thresholds in mm/h of a model of probabilities; empty for a model of rates."""
    return model.thresholds if isinstance(model, ProbabilityModel) else ()
