"""Probabilities held against what happened: a calibration, and the cuts of the best CSI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nowcast.probability.case_cuts import SIZES, PastForecasts, past_forecasts
from nowcast.probability.ladder import Probabilities, lead_slices, running_minimum
from nowcast.probability.rates import mean_rates, median_rates, rates_by_cuts
from nowcast.probability.sample import LEVELS, Sample, count_events

_PRIOR = 100.0
"""Strength of the assumption that probabilities are calibrated, in pixels of an even chance."""
_ITERATIONS = 20


@dataclass(frozen=True)
class Calibration:
    """What was fitted on validation days, for each lead time and threshold.

    Args:
        thresholds: (k,) in mm/h.
        slopes, offsets: (lead, k): a calibrated logit is slope · logit + offset (Platt scaling).
        cuts: (lead, k) the calibrated probabilities from which on rain was best forecast there.
        past: by which each forecast finds its own cuts; None of an old checkpoint, whose forecasts
            all have `cuts`.
    """

    thresholds: tuple[float, ...]
    slopes: Tensor
    offsets: Tensor
    cuts: Tensor
    past: PastForecasts | None = None

    def at(self, leads: Sequence[float]) -> "Calibration":
        """Return the calibration at other lead times, in steps of its own: interpolated linearly,
        and beyond the first and the last as there.
        """
        last = len(self.slopes) - 1
        places = torch.tensor(leads, dtype=torch.float32).sub(1).clamp(0, last)
        before = places.floor().long()
        after = (before + 1).clamp(max=last)
        share = places - before

        def at(one: Tensor) -> Tensor:
            return torch.lerp(one[before], one[after], share.view(-1, *[1] * (one.ndim - 1)))

        past = None if self.past is None else PastForecasts(*map(at, vars(self.past).values()))
        return Calibration(self.thresholds, at(self.slopes), at(self.offsets), at(self.cuts), past)

    def probabilities(self, logits: Tensor, leads: slice = slice(None)) -> Probabilities:
        """Logits (b, lead, k, h, w) of some lead times, NaN missing → calibrated probabilities."""
        slopes, offsets = (
            one[leads].to(logits.device)[:, :, None, None] for one in (self.slopes, self.offsets)
        )
        values = running_minimum((logits * slopes + offsets).sigmoid())
        return Probabilities(self.thresholds, values)

    def rates(self, probabilities: Probabilities, rate: str) -> Tensor:
        """Return the rates (b, lead, 1, h, w) in mm/h by one of `options.RATES`.

        probabilities: of all lead times and of the whole grid.
        """
        values = probabilities.values
        slices = lead_slices(values.shape[1])
        if rate != "csi":
            make = {"median": median_rates, "mean": mean_rates}[rate]
            parts = [make(Probabilities(self.thresholds, values[:, leads])) for leads in slices]
        else:
            cuts = self.cuts_of(probabilities)
            parts = [
                rates_by_cuts(values[:, leads], cuts[:, leads], self.thresholds) for leads in slices
            ]
        return torch.cat(parts, dim=1)

    def cuts_of(self, probabilities: Probabilities) -> Tensor:
        """Return the cuts (b, lead, k), or (1, lead, k) of all cases, of calibrated probabilities
        of all lead times and of the whole grid.
        """
        return self.cuts[None] if self.past is None else self.past.cuts_of(probabilities)

    def state(self) -> dict[str, Any]:
        """Return it as plain values and tensors, for a checkpoint."""
        past = None if self.past is None else dict(vars(self.past))
        return {**vars(self), "thresholds": list(self.thresholds), "past": past}


def calibration_of(state: Mapping[str, Any]) -> Calibration:
    """Return the calibration that `Calibration.state` described."""
    past = state.get("past")
    return Calibration(
        tuple(state["thresholds"]), state["slopes"], state["offsets"], state["cuts"],
        None if past is None else PastForecasts(**past),
    )  # fmt: skip


def check_calibration(
    state: Mapping[str, Any], thresholds: Sequence[float], lead_steps: int
) -> None:
    """Raises: KeyError, TypeError or ValueError if what `Calibration.state` described is not for
    these thresholds in mm/h and so many lead times.
    """
    if list(state["thresholds"]) != list(thresholds):
        raise ValueError(f"it is for {state['thresholds']} mm/h, and the model for {thresholds}")
    shape, past = (lead_steps, len(thresholds)), state.get("past")
    kept = {**state} if past is None else {**state, **past}
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("slopes", "offsets", "cuts"), shape)
    shapes |= {key: (*shape, size) for key, size in SIZES.items() if past is not None}
    for key, wanted in shapes.items():
        values = kept[key]
        if not isinstance(values, Tensor) or values.shape != wanted:
            found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"{key}: {found}, and it must be {wanted}, lead times and thresholds")
        if not values.isfinite().all():
            raise ValueError(f"{key}: not all of them are numbers")


def uncalibrated(thresholds: tuple[float, ...], lead_steps: int) -> Calibration:
    """Return a calibration that leaves probabilities as they are, with cuts of one half."""
    one = torch.ones(lead_steps, len(thresholds))
    return Calibration(thresholds, one, one * 0, one / 2)


def fit_calibration(sample: Sample, cuts: Tensor) -> Calibration:
    """Fit a calibration on a sample of validation pixels; `cuts` (lead, k) are those of
    `fit_cuts`, of probabilities before they are calibrated.
    """
    slopes, offsets = _fit_logistic(sample)
    logits = torch.logit(cuts)
    return Calibration(
        sample.thresholds, slopes, offsets, (logits * slopes + offsets).sigmoid(),
        past_forecasts(sample, slopes, offsets),
    )  # fmt: skip


def _fit_logistic(sample: Sample) -> tuple[Tensor, Tensor]:
    """Return slopes and offsets (lead, k) of a logistic regression of events on logits, by Newton's
    method on the counts of each step.
    """
    codes, classes = sample.codes(), sample.classes()
    counts = torch.stack(
        [
            count_events(codes[:, k], classes > k, classes >= 0)
            for k in range(len(sample.thresholds))
        ],
        dim=1,
    ).double()  # (lead, k, LEVELS + 1, 2)
    steps = torch.logit(sample.steps.double())
    width = steps[1] - steps[0]
    logits = torch.cat([steps[:1] - width / 2, steps + width / 2])
    pixels, events = counts.sum(dim=3), counts[..., 1]
    # two coefficients from few numbers: what is below the first step or beyond the last is left out
    pixels[..., [0, LEVELS]], events[..., [0, LEVELS]] = 0.0, 0.0
    design = torch.stack([logits, torch.ones_like(logits)], dim=1)  # (LEVELS + 1, 2)
    found = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(*pixels.shape[:2], 2).clone()
    prior = _PRIOR / 4 * torch.eye(2, dtype=torch.float64)
    for _ in range(_ITERATIONS):
        expected = (found @ design.T).sigmoid()
        gradient = (events - pixels * expected) @ design
        gradient = gradient - (found - found.new_tensor([1.0, 0.0])) @ prior
        spread = pixels * expected * (1 - expected)
        hessian = torch.einsum("lkn,ni,nj->lkij", spread, design, design) + prior
        found = found + torch.linalg.solve(hessian, gradient)
        found[..., 0] = found[..., 0].clamp(min=0.2)  # more rain stays more probable
    slopes, offsets = found.float().unbind(dim=-1)
    return slopes, offsets
