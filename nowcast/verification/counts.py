"""Counts of forecast against observed classes, and sums of errors: everything here adds up; dividing is for `scores`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from nowcast.errors import DataError, InternalError

_PER_LEAD = ("joint", "pixels", "squared_error", "absolute_error", "error")
_LEAD_AXIS = {3: 0, 4: 1, 5: 1}


@dataclass(frozen=True, eq=False)
class Counts:
    """What one or many forecasts counted, per lead time. `whole = part + part`, exactly for counts, to rounding for sums.

    The class of a value is the number of thresholds it reaches, so that an event is `value >= threshold`:
    `joint[lead, i, j]` pixels were forecast in class i and observed in class j. All tensors lie on the CPU.
    """

    thresholds: tuple[float, ...]
    """K rates, strictly ascending, mm/h."""
    joint: Tensor
    """(lead, K + 1, K + 1) int64: forecast class × observed class."""
    pixels: Tensor
    """(lead,) int64: pixels present in both fields."""
    squared_error: Tensor
    """(lead,) float64: Σ (forecast − observed)², mm² h⁻²."""
    absolute_error: Tensor
    """(lead,) float64: Σ |forecast − observed|, mm/h."""
    error: Tensor
    """(lead,) float64: Σ (forecast − observed), mm/h."""
    cases: int
    """Forecasts counted, one for each reference time."""

    def __post_init__(self) -> None:
        _check_thresholds(self.thresholds)
        classes = len(self.thresholds) + 1
        leads = self.lead_steps
        shapes = [tuple(getattr(self, name).shape) for name in _PER_LEAD]
        if shapes != [(leads, classes, classes), (leads,), (leads,), (leads,), (leads,)]:
            raise InternalError(f"counts for {classes - 1} thresholds have shapes {shapes}, which do not belong together.")

    @classmethod
    def zeros(cls, thresholds: Sequence[float], lead_steps: int) -> Self:
        """Nothing counted yet: the start of a sum, `sum(parts, Counts.zeros(thresholds, lead_steps))`."""
        classes = len(thresholds) + 1
        sums = torch.zeros(3, lead_steps, dtype=torch.float64)
        return cls(
            thresholds=tuple(float(threshold) for threshold in thresholds),
            joint=torch.zeros(lead_steps, classes, classes, dtype=torch.int64),
            pixels=torch.zeros(lead_steps, dtype=torch.int64),
            squared_error=sums[0],
            absolute_error=sums[1],
            error=sums[2],
            cases=0,
        )

    def __add__(self, other: "Counts") -> "Counts":
        """Errors: DataError where thresholds or lead times differ."""
        if not isinstance(other, Counts):
            return NotImplemented
        if self.thresholds != other.thresholds:
            raise DataError(f"counts at {self.thresholds} and at {other.thresholds} mm/h cannot be added; count both at one set.")
        if self.lead_steps != other.lead_steps:
            raise DataError(f"counts of {self.lead_steps} and of {other.lead_steps} lead times cannot be added.")
        sums = {name: getattr(self, name) + getattr(other, name) for name in _PER_LEAD}
        return Counts(thresholds=self.thresholds, cases=self.cases + other.cases, **sums)

    def pooled(self) -> "Counts":
        """The same counts with all lead times added into one."""
        sums = {name: getattr(self, name).sum(0, keepdim=True) for name in _PER_LEAD}
        return Counts(thresholds=self.thresholds, cases=self.cases, **sums)

    @property
    def lead_steps(self) -> int:
        return len(self.joint)

    @property
    def hits(self) -> Tensor:
        """(lead, K) int64: event forecast, event observed (a)."""
        return self._at_least()[:, 1:, 1:].diagonal(dim1=1, dim2=2)

    @property
    def false_alarms(self) -> Tensor:
        """(lead, K) int64: event forecast, none observed (b)."""
        return self._at_least()[:, 1:, 0] - self.hits

    @property
    def misses(self) -> Tensor:
        """(lead, K) int64: no event forecast, event observed (c)."""
        return self._at_least()[:, 0, 1:] - self.hits

    @property
    def correct_negatives(self) -> Tensor:
        """(lead, K) int64: no event forecast, none observed (d)."""
        return self.pixels[:, None] - self.hits - self.false_alarms - self.misses

    def _at_least(self) -> Tensor:
        """(lead, K + 1, K + 1): pixels with forecast class ≥ i and observed class ≥ j."""
        return self.joint.flip(1, 2).cumsum(1).cumsum(2).flip(1, 2)


def count(forecast: Tensor, observed: Tensor, thresholds: Sequence[float]) -> Counts:
    """Count forecast against observed rain, mm/h, both (b, lead, c, h, w), (b, lead, h, w) or (lead, h, w), on any device.

    A pixel that is NaN in either field is in no count and no sum. Thresholds are compared in the dtype of each field: a
    float32 pixel of 0.1 reaches the threshold 0.1, though float32(0.1) as float64 is not exactly 0.1.

    Errors: DataError where shapes, dtypes or devices do not fit or thresholds do not ascend; InternalError where a
    field is infinite.
    """
    _check_thresholds(thresholds)
    _check_pair(forecast, observed)
    forecast, observed = forecast.detach(), observed.detach()
    lead_axis = _LEAD_AXIS[forecast.ndim]
    joint = _joint_histogram(forecast, observed, thresholds, lead_axis)
    squared_error, absolute_error, error = _error_sums(forecast, observed, lead_axis)
    return Counts(
        thresholds=tuple(float(threshold) for threshold in thresholds),
        joint=joint,
        pixels=joint.sum((1, 2)),
        squared_error=squared_error,
        absolute_error=absolute_error,
        error=error,
        cases=1 if lead_axis == 0 else len(forecast),
    )


def common_pixels(*fields: Tensor) -> list[Tensor]:
    """The fields, each with NaN wherever any of them is NaN, so that all forecasts are scored on the same pixels.

    Errors: DataError where shapes differ.
    """
    if len({field.shape for field in fields}) > 1:
        shapes = [tuple(field.shape) for field in fields]
        raise DataError(f"fields of shapes {shapes} have no pixels in common; give all the same shape.")
    missing = reduce(torch.logical_or, [field.isnan() for field in fields])
    return [field.masked_fill(missing, math.nan) for field in fields]


def _joint_histogram(forecast: Tensor, observed: Tensor, thresholds: Sequence[float], lead_axis: int) -> Tensor:
    """(lead, K + 1, K + 1) int64. Each pixel is one number (lead, i, j); missing pixels share one last number, dropped."""
    classes = len(thresholds) + 1
    leads = forecast.shape[lead_axis]
    bins = leads * classes**2
    lead = torch.arange(leads, dtype=torch.int32, device=forecast.device)
    number = lead.reshape(-1, *[1] * (forecast.ndim - lead_axis - 1)) * classes**2
    number = number + _classes(forecast, thresholds) * classes + _classes(observed, thresholds)
    number.masked_fill_(forecast.isnan() | observed.isnan(), bins)
    histogram = torch.bincount(number.flatten(), minlength=bins + 1)
    return histogram[:bins].reshape(leads, classes, classes).cpu()


def _classes(field: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Number of thresholds ≤ value, int32; `right=True` is what puts a value equal to a threshold above it."""
    edges = torch.tensor(thresholds, dtype=field.dtype, device=field.device)
    return torch.bucketize(field.contiguous(), edges, right=True, out_int32=True)


def _error_sums(forecast: Tensor, observed: Tensor, lead_axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """(lead,) float64 each: Σ difference², Σ |difference|, Σ difference; differences in float32 or wider."""
    if forecast.device.type == "mps":  # which has no float64
        forecast, observed = forecast.cpu(), observed.cpu()
    wide = torch.promote_types(torch.promote_types(forecast.dtype, observed.dtype), torch.float32)
    difference = forecast.to(wide) - observed.to(wide)
    difference.masked_fill_(forecast.isnan() | observed.isnan(), 0.0)
    axes = [axis for axis in range(difference.ndim) if axis != lead_axis]
    squared, absolute, plain = (
        part.sum(axes, dtype=torch.float64).cpu() for part in (difference.square(), difference.abs(), difference)
    )
    if not absolute.isfinite().all():
        raise InternalError("the forecast or the observed field holds infinite rain rates; find where they arose, then score.")
    return squared, absolute, plain


def _check_thresholds(thresholds: Sequence[float]) -> None:
    finite = all(math.isfinite(threshold) for threshold in thresholds)
    ascending = all(low < high for low, high in pairwise(thresholds))
    if not (len(thresholds) and finite and ascending):
        raise DataError(f"thresholds are {list(thresholds)} mm/h; give at least one, finite and strictly ascending.")


def _check_pair(forecast: Tensor, observed: Tensor) -> None:
    if forecast.shape != observed.shape or forecast.ndim not in _LEAD_AXIS:
        raise DataError(
            f"forecast {tuple(forecast.shape)} and observed {tuple(observed.shape)} cannot be compared; "
            "give both as (b, lead, c, h, w), (b, lead, h, w) or (lead, h, w)."
        )
    if not (forecast.is_floating_point() and observed.is_floating_point()):
        raise DataError(f"forecast is {forecast.dtype} and observed {observed.dtype}; give rain rates as floating point.")
    if forecast.device != observed.device:
        raise DataError(f"forecast is on {forecast.device} and observed on {observed.device}; put both on one device.")
