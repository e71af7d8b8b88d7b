"""Scores of validation: the CSI, and the calibration of probabilities."""

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
        """Add forecasts, the model's output, and observations, both (b, lead, …, h, w); for a model
        of the moving frame also their motion (b, 2, hc, wc). Cases are numbered from `first_case`
        on.
        """

    def csi(self) -> float:
        """Return the mean over lead times and thresholds with an observed event, else NaN."""

    def csi_of_thresholds(self) -> dict[float, float]:
        """Return the mean over lead times with an observed event, by threshold in mm/h."""

    def calibration(self) -> Calibration | None:
        """Return the calibration of probabilities; None for rates."""


@dataclass
class RateSkill:
    """The skill of a model of rates."""

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
    """The skill of a model of probabilities. Its CSI uses one cut for all cases at each lead time
    and threshold, fitted on the same cases. In a forecast each case has its own cuts; see
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
        """The cuts (lead, k) fitted on all cases so far."""
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
        ladder: thresholds of its probabilities; empty for a model of rates.
        thresholds: thresholds of the CSI, in mm/h.
        lead_steps: frames of a forecast.
        scaling: scaling of the rates that a model returns.
        pixels: number of pixels of one lead time, over all cases.
    """
    if not ladder:
        return RateSkill(thresholds, lead_steps, scaling)
    return ProbabilitySkill(thresholds, empty_sample(ladder, lead_steps, pixels))


def join_skills(skills: Sequence[Skill]) -> Skill:
    """Return the sum over the validation cases of several processes."""
    first, *others = skills
    if isinstance(first, RateSkill):
        for other in others:
            first.counts += cast(RateSkill, other).counts
        return first
    samples = [cast(ProbabilitySkill, one).sample for one in skills]
    return ProbabilitySkill(cast(ProbabilitySkill, first).thresholds, join_samples(samples))


def _forward(fields: Tensor, motion: Tensor) -> Tensor:
    """Fields (b, lead, c, h, w) of the moving frame → the same in the fixed frame, one lead time
    after the other, because all at once need several times the memory.
    """
    way = displacements(motion, fields.shape[1], backward=True)
    leads = zip(fields.split(1, dim=1), way.split(1, dim=1), strict=True)
    return torch.cat([take_forward(one, back) for one, back in leads], dim=1)
