"""Calibrate probabilities with observations, and find the cuts of the best CSI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nowcast.probability.case_cuts import SIZES, PastForecasts, past_forecasts
from nowcast.probability.ladder import Probabilities, lead_slices, running_minimum
from nowcast.probability.rates import mean_rates, median_rates, rates_by_cuts
from nowcast.probability.sample import LEAST_SCORE, LEVELS, Sample, count_events, logit

_PRIOR = 100.0
"""Strength of the prior that probabilities are calibrated, in pixels with probability one half."""
_ITERATIONS = 20
_LEAST_LOGIT = logit(LEAST_SCORE)


@dataclass(frozen=True)
class Calibration:
    """The calibration fitted on validation days, for each lead time and threshold.

    Args:
        thresholds: (k,) in mm/h.
        slopes, offsets: (lead, k): a calibrated logit is slope · logit + offset (Platt scaling).
        cuts: (lead, k) the calibrated probabilities at or above which forecasting rain gave the
            best CSI on the validation days.
        past: statistics with which each forecast finds its own cuts; None for an old checkpoint,
            whose forecasts all use `cuts`.
        lowest: (lead, k) the calibrated probability where the uncalibrated one is below
            `LEAST_SCORE`: the frequency of the event there on the validation days. Most of these
            pixels are far from rain, and the regression, which does not use them, gives heavy rain
            too high a probability there: 0.006 for 30 mm/h after 5 minutes, where 0.00005 is
            observed. So members had heavy rain in drizzle. None for an old checkpoint, whose
            regression is used everywhere.
    """

    thresholds: tuple[float, ...]
    slopes: Tensor
    offsets: Tensor
    cuts: Tensor
    past: PastForecasts | None = None
    lowest: Tensor | None = None

    def at(self, leads: Sequence[float]) -> "Calibration":
        """Return the calibration at other lead times, in its own time steps: interpolated linearly,
        and constant before the first and after the last.
        """
        last = len(self.slopes) - 1
        places = torch.tensor(leads, dtype=torch.float32).sub(1).clamp(0, last)
        before = places.floor().long()
        after = (before + 1).clamp(max=last)
        share = places - before

        def at(one: Tensor) -> Tensor:
            return torch.lerp(one[before], one[after], share.view(-1, *[1] * (one.ndim - 1)))

        past = None if self.past is None else PastForecasts(*map(at, vars(self.past).values()))
        lowest = None if self.lowest is None else at(self.lowest)
        return Calibration(
            self.thresholds, at(self.slopes), at(self.offsets), at(self.cuts), past, lowest
        )

    def probabilities(self, logits: Tensor, leads: slice = slice(None)) -> Probabilities:
        """Calibrate logits (b, lead, k, h, w), NaN = missing, of the lead times `leads`."""
        slopes, offsets = (
            one[leads].to(logits.device)[:, :, None, None] for one in (self.slopes, self.offsets)
        )
        values = (logits * slopes + offsets).sigmoid()
        if self.lowest is not None:
            lowest = self.lowest[leads].to(logits.device)[:, :, None, None]
            values = torch.where(logits < _LEAST_LOGIT, lowest, values)
        return Probabilities(self.thresholds, running_minimum(values))

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
        """Return the cuts (b, lead, k), or (1, lead, k) for all cases alike, of calibrated
        probabilities of all lead times and of the whole grid.
        """
        return self.cuts[None] if self.past is None else self.past.cuts_of(probabilities)

    def state(self) -> dict[str, Any]:
        """Return the calibration as plain values and tensors, for a checkpoint."""
        past = None if self.past is None else dict(vars(self.past))
        return {**vars(self), "thresholds": list(self.thresholds), "past": past}


def calibration_of(state: Mapping[str, Any]) -> Calibration:
    """Return the calibration stored by `Calibration.state`."""
    past = state.get("past")
    return Calibration(
        tuple(state["thresholds"]), state["slopes"], state["offsets"], state["cuts"],
        None if past is None else PastForecasts(**past), state.get("lowest"),
    )  # fmt: skip


def check_calibration(
    state: Mapping[str, Any], thresholds: Sequence[float], lead_steps: int
) -> None:
    """Check that the result of `Calibration.state` fits these thresholds in mm/h and so many lead
    times. Raises: KeyError, TypeError or ValueError if not.
    """
    if list(state["thresholds"]) != list(thresholds):
        raise ValueError(f"it is for {state['thresholds']} mm/h, but the model for {thresholds}")
    shape, past = (lead_steps, len(thresholds)), state.get("past")
    kept = {**state} if past is None else {**state, **past}
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("slopes", "offsets", "cuts"), shape)
    if state.get("lowest") is not None:
        shapes["lowest"] = shape
    shapes |= {key: (*shape, size) for key, size in SIZES.items() if past is not None}
    for key, wanted in shapes.items():
        values = kept[key]
        if not isinstance(values, Tensor) or values.shape != wanted:
            found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"{key}: must be {wanted}, lead times and thresholds, not {found}")
        if not values.isfinite().all():
            raise ValueError(f"{key}: not all values are finite")


def uncalibrated(thresholds: tuple[float, ...], lead_steps: int) -> Calibration:
    """Return a calibration that does not change probabilities, with cuts of one half."""
    one = torch.ones(lead_steps, len(thresholds))
    return Calibration(thresholds, one, one * 0, one / 2)


def fit_calibration(sample: Sample, cuts: Tensor) -> Calibration:
    """Fit a calibration on a sample of validation pixels; `cuts` (lead, k) are the result of
    `fit_cuts` for uncalibrated probabilities.
    """
    steps, counts = torch.logit(sample.steps.double()), _counts(sample)
    slopes, offsets = _fit_logistic(steps, counts)
    logits = torch.logit(cuts)
    return Calibration(
        sample.thresholds, slopes, offsets, (logits * slopes + offsets).sigmoid(),
        past_forecasts(sample, slopes, offsets),
        _lowest(counts[:, :, 0], (steps[0].float() * slopes + offsets).sigmoid()),
    )  # fmt: skip


def _lowest(counts: Tensor, first: Tensor) -> Tensor:
    """Return the frequency (lead, k) of events where the score is below the first step, at most
    `first`, the calibrated probability of this step; and `first` if no score is below it.

    counts: (lead, k, 2) of these pixels without and with an event.
    """
    frequency = counts[..., 1] / counts.sum(dim=2)  # 0/0 is NaN
    return torch.fmin(frequency.float(), first)


def _counts(sample: Sample) -> Tensor:
    """Return the pixels (lead, k, LEVELS + 1, 2) of each code without and with an event."""
    codes, classes = sample.codes(), sample.classes()
    found = [
        count_events(codes[:, k], classes > k, classes >= 0) for k in range(len(sample.thresholds))
    ]
    return torch.stack(found, dim=1).double()


def _fit_logistic(steps: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return slopes and offsets (lead, k) of a logistic regression of events on logits, fitted by
    Newton's method.

    Args:
        steps: (LEVELS,) the logits at which the steps begin.
        counts: (lead, k, LEVELS + 1, 2) of each code without and with an event.
    """
    # two coefficients from few numbers: values below the first or beyond the last step are ignored
    within = slice(1, LEVELS)
    logits = steps[:-1] + (steps[1] - steps[0]) / 2
    pixels, events = counts[:, :, within].sum(dim=3), counts[:, :, within, 1]
    design = torch.stack([logits, torch.ones_like(logits)], dim=1)  # (LEVELS - 1, 2)
    found = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(*pixels.shape[:2], 2).clone()
    prior = _PRIOR / 4 * torch.eye(2, dtype=torch.float64)
    for _ in range(_ITERATIONS):
        expected = (found @ design.T).sigmoid()
        gradient = (events - pixels * expected) @ design
        gradient = gradient - (found - found.new_tensor([1.0, 0.0])) @ prior
        spread = pixels * expected * (1 - expected)
        hessian = torch.einsum("lkn,ni,nj->lkij", spread, design, design) + prior
        found = found + torch.linalg.solve(hessian, gradient)
        found[..., 0] = found[..., 0].clamp(min=0.2)  # keep the order of the probabilities
    slopes, offsets = found.float().unbind(dim=-1)
    return slopes, offsets
