"""What validation finds: the loss, the CSI, and how probabilities are to be calibrated."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, cast

import torch
from torch import Tensor

from nowcast.motion.advection import displacements
from nowcast.motion.frames import take_forward
from nowcast.probability.calibration import Calibration, fit_calibration
from nowcast.probability.cuts import csi_of_cuts, fit_cuts
from nowcast.probability.sample import Sample, empty_sample, join_samples
from nowcast.sequences.scaling import Scaling
from nowcast.training.choice import mean_csi, mean_csi_of_thresholds
from nowcast.verification.counts import Counts, count


class Skill(Protocol):
    """A growing sum of validation cases."""

    def add(
        self, forecast: Tensor, observed: Tensor, motion: Tensor | None, first_case: int
    ) -> None:
        """Take in forecasts as the model gives them, and what was observed, both (b, lead, …, h,
        w); of a model of the moving frame, with their motion (b, 2, hc, wc). Cases are numbered
        from `first_case` on.
        """

    def csi(self) -> float:
        """Mean over lead times and thresholds with an observed event, NaN without any."""

    def csi_of_thresholds(self) -> dict[float, float]:
        """Mean over lead times with an observed event by threshold in mm/h, NaN without any."""

    def calibration(self) -> Calibration | None:
        """What probabilities are to be calibrated by; None of rates."""


@dataclass
class RateSkill:
    """Of a model that gives rates."""

    thresholds: Sequence[float]
    lead_steps: int
    scaling: Scaling
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = Counts.zeros(self.thresholds, self.lead_steps)

    def add(
        self, forecast: Tensor, observed: Tensor, motion: Tensor | None, first_case: int
    ) -> None:
        rates = self.scaling.unscale(forecast.float())
        if motion is not None:
            rates = _forward(rates, motion)
        self.counts += count(rates, observed, self.thresholds)

    def csi(self) -> float:
        return mean_csi(self.counts)

    def csi_of_thresholds(self) -> dict[float, float]:
        return mean_csi_of_thresholds(self.counts)

    def calibration(self) -> None:
        return None


@dataclass
class ProbabilitySkill:
    """Of a model that gives probabilities: its CSI is that of one cut for all of the same cases, at
    each lead time and threshold. In a forecast each case has its own; see
    `nowcast.probability.case_cuts`.
    """

    thresholds: Sequence[float]
    sample: Sample

    def add(
        self, forecast: Tensor, observed: Tensor, motion: Tensor | None, first_case: int
    ) -> None:
        probabilities = forecast.float().sigmoid()
        if motion is not None:
            probabilities = _forward(probabilities, motion)
        self.sample.add(probabilities, observed[:, :, 0], first_case)

    @cached_property
    def cuts(self) -> Tensor:
        """(lead, k), of all cases that were taken in."""
        return fit_cuts(self.sample)

    def csi(self) -> float:
        scored = [k for k, one in enumerate(self.sample.thresholds) if one in self.thresholds]
        return float(csi_of_cuts(self.sample, self.cuts)[:, scored].nanmean())

    def csi_of_thresholds(self) -> dict[float, float]:
        means = csi_of_cuts(self.sample, self.cuts).nanmean(dim=0).tolist()
        found = dict(zip(self.sample.thresholds, means, strict=True))
        return {threshold: found[threshold] for threshold in self.thresholds}

    def calibration(self) -> Calibration:
        return fit_calibration(self.sample, self.cuts)


def build_skill(
    ladder: Sequence[float],
    thresholds: Sequence[float],
    lead_steps: int,
    scaling: Scaling,
    pixels: int,
) -> Skill:
    """Return an empty sum for a model.

    Args:
        ladder: thresholds of its probabilities; empty of a model that gives rates.
        thresholds: of the CSI, in mm/h.
        lead_steps: frames of a forecast.
        scaling: of the rates that a model gives.
        pixels: of one lead time of all cases together.
    """
    if not ladder:
        return RateSkill(thresholds, lead_steps, scaling)
    return ProbabilitySkill(thresholds, empty_sample(ladder, lead_steps, pixels))


def join_skills(skills: Sequence[Skill]) -> Skill:
    """Return the sum of the validation cases that several processes took in."""
    first, *others = skills
    if isinstance(first, RateSkill):
        for other in others:
            first.counts += cast(RateSkill, other).counts
        return first
    samples = [cast(ProbabilitySkill, one).sample for one in skills]
    return ProbabilitySkill(cast(ProbabilitySkill, first).thresholds, join_samples(samples))


def _forward(fields: Tensor, motion: Tensor) -> Tensor:
    """Fields (b, lead, c, h, w) of the moving frame in the fixed one, one lead time after the
    other: all at once take several times the memory.
    """
    way = displacements(motion, fields.shape[1], backward=True)
    leads = zip(fields.split(1, dim=1), way.split(1, dim=1), strict=True)
    return torch.cat([take_forward(one, back) for one, back in leads], dim=1)
