"""Counts of forecast and observed classes. Everything here adds up; `scores` divides."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from nowcast.errors import DataError, InternalError

_MEMBERS = 2
"""The axis of the members in (b, lead, m, h, w)."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Joint counts of forecast and observed classes. `whole = part + part`, exactly.

    The class of a value is the number of thresholds it reaches, so an event is `value >=
    threshold`. `joint[..., i, j]` is the number of pixels forecast in class i and observed in class
    j. `…` is any
    shape: lead times, or forecasts, hours and lead times. All tensors are on the CPU.
    lead times, or forecasts, hours and lead times. All tensors lie on the CPU.
    """

    thresholds: tuple[float, ...]
    """K rates, strictly ascending, mm/h."""
    joint: Tensor
    """(…, K + 1, K + 1) int64: forecast class × observed class."""

    def __post_init__(self) -> None:
        check_thresholds(self.thresholds)
        classes = len(self.thresholds) + 1
        if self.joint.shape[-2:] != (classes, classes) or self.joint.dtype != torch.int64:
            raise InternalError(
                f"counts for {classes - 1} thresholds are {self.joint.dtype} of shape"
                f" {tuple(self.joint.shape)}; they must be int64 of shape (…, {classes},"
                f" {classes})."
            )

    @classmethod
    def zeros(cls, thresholds: Sequence[float], lead_steps: int) -> Self:
        """Return counts of zero: the start of a sum, `sum(parts, Counts.zeros(thresholds,
        lead_steps))`.
        """
        classes = len(thresholds) + 1
        return cls(
            tuple(map(float, thresholds)),
            torch.zeros(lead_steps, classes, classes, dtype=torch.int64),
        )

    def __add__(self, other: "Counts") -> "Counts":
        """Add counts. Errors: DataError if thresholds or shapes (lead times, say) differ."""
        if not isinstance(other, Counts):
            return NotImplemented
        if self.thresholds != other.thresholds:
            raise DataError(
                f"counts at {self.thresholds} and at {other.thresholds} mm/h cannot be added; count"
                " both at one set."
            )
        if self.joint.shape != other.joint.shape:
            shapes = [tuple(counts.joint.shape[:-2]) for counts in (self, other)]
            raise DataError(
                f"counts of shapes {shapes[0]} and {shapes[1]} cannot be added; count both at the"
                " same lead times."
            )
        return Counts(self.thresholds, self.joint + other.joint)

    def pooled(self) -> "Counts":
        """Return the counts with all lead times added into one: (…, 1, K + 1, K + 1). Lead time is
        the last axis before the classes.
        """
        return Counts(self.thresholds, self.joint.sum(-3, keepdim=True))

    @property
    def pixels(self) -> Tensor:
        """(…) int64: n, the number of pixels present in both fields."""
        return self.joint.sum((-2, -1))

    @property
    def hits(self) -> Tensor:
        """(…, K) int64: a, event forecast and observed."""
        return self._at_least()[..., 1:, 1:].diagonal(dim1=-2, dim2=-1)

    @property
    def false_alarms(self) -> Tensor:
        """(…, K) int64: b, event forecast but not observed."""
        return self._at_least()[..., 1:, 0] - self.hits

    @property
    def misses(self) -> Tensor:
        """(…, K) int64: c, event observed but not forecast."""
        return self._at_least()[..., 0, 1:] - self.hits

    @property
    def correct_negatives(self) -> Tensor:
        """(…, K) int64: d, event neither forecast nor observed."""
        return self.pixels[..., None] - self.hits - self.false_alarms - self.misses

    def _at_least(self) -> Tensor:
        """(…, K + 1, K + 1): pixels with forecast class ≥ i and observed class ≥ j."""
        return self.joint.flip(-2, -1).cumsum(-2).cumsum(-1).flip(-2, -1)


def count(forecast: Tensor, observed: Tensor, thresholds: Sequence[float]) -> Counts:
    """Count pixels of forecast and observed rain, mm/h, both (b, lead, c, h, w), (b, lead, h, w) or
    (lead, h, w), over all b cases.

    → counts per lead time, (lead, K + 1, K + 1). Rules and errors are those of `joint_histogram`.
    """
    if forecast.ndim == 3 and observed.ndim == 3:
        forecast, observed = forecast[None], observed[None]
    if forecast.ndim == 5 and observed.ndim == 5:
        forecast, observed = forecast.flatten(2, 3), observed.flatten(2, 3)
    return Counts(
        tuple(map(float, thresholds)), joint_histogram(forecast, observed, thresholds).sum(0)
    )


def joint_histogram(forecast: Tensor, observed: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Count pixels by forecast and observed class, mm/h, (b, lead, h, w) each, on any device → (b,
    lead, K + 1, K + 1) int64 on the CPU.

    A pixel that is NaN in either field is not counted. Thresholds are compared in the dtype of each
    field: a float32 pixel of 0.1 reaches the threshold 0.1, although float32(0.1) as float64 is not
    exactly 0.1.

    Errors: DataError if shapes, dtypes or devices differ or thresholds do not ascend; InternalError
    if a field is infinite.
    """
    check_thresholds(thresholds)
    check_pair(forecast, observed)
    edges = [
        torch.tensor((-math.inf, *thresholds), dtype=field.dtype).tolist()
        for field in (forecast, observed)
    ]
    classes = len(thresholds) + 2  # the first is for NaN, which does not even reach −∞
    counts = []
    for f, o in pieces(forecast, observed):
        refuse_infinite(f, o)
        counts.append(
            _bincounts(
                class_numbers(f, edges[0]) * classes + class_numbers(o, edges[1]), classes**2
            )
        )
    none = torch.zeros(0, dtype=torch.int64)
    return torch.cat([none, *counts]).reshape(*forecast.shape[:2], classes, classes)[..., 1:, 1:]


def class_numbers(values: Any, edges: Sequence[float]) -> Any:
    """Return how many of the edges each value of an array or tensor reaches, as the same kind; NaN
    reaches none.
    """
    if isinstance(values, Tensor):
        return torch.stack([values >= edge for edge in edges]).sum(0, dtype=torch.int32)
    # numbers of 16² pairs of classes fit into 8 bits
    numbers: Any = np.zeros_like(values, dtype=np.uint8 if len(edges) < 16 else np.int32)
    for edge in edges:
        numbers += (values >= edge).view(np.uint8)  # converting bool would take twice as long
    return numbers


def pieces(forecast: Tensor, observed: Tensor) -> Iterator[tuple[Any, Any]]:
    """Yield fields (b, lead, h, w) in pieces that suit the device: cases as tensors (lead, pixels)
    on a GPU, else frames as arrays (pixels,).

    A single frame stays in the cache of a processor, where NumPy compares about ten times faster
    than PyTorch.
    """
    fields = [field.detach().flatten(2) for field in (forecast, observed)]
    if forecast.is_cuda:
        yield from zip(*fields, strict=True)
        return
    for f, o in zip(*[field.cpu().flatten(0, 1) for field in fields], strict=True):
        yield tuple(
            one.numpy() if one.dtype in (torch.float32, torch.float64) else one.float().numpy()
            for one in (f, o)
        )


def common_pixels(*fields: Tensor) -> list[Tensor]:
    """Return the fields with NaN wherever any of them is NaN, so that all forecasts are scored on
    the same pixels.

    All fields have one shape (b, lead, h, w); those of m members may be (b, lead, m, h, w). A pixel
    missing in one member is missing in all members and all fields.

    Errors: DataError if the shapes differ in any other way.
    """
    if len({_without_members(field.shape) for field in fields}) > 1:
        shapes = [tuple(field.shape) for field in fields]
        raise DataError(
            f"fields of shapes {shapes} have no pixels in common; give all the same shape."
        )
    gaps = [field.isnan() for field in fields]
    missing = reduce(
        torch.logical_or, [gap.any(_MEMBERS) if gap.ndim == 5 else gap for gap in gaps]
    )
    return [
        field.masked_fill(missing.unsqueeze(_MEMBERS) if field.ndim == 5 else missing, math.nan)
        for field in fields
    ]


def missing_in_both(forecast: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return both fields with NaN where either is NaN, using that x − x is 0 or NaN.

    Several times faster on a CPU than a mask.
    """
    return forecast + (observed - observed).to(forecast.dtype), observed + (forecast - forecast).to(
        observed.dtype
    )


def _without_members(shape: torch.Size) -> tuple[int, ...]:
    return (*shape[:_MEMBERS], *shape[_MEMBERS + 1 :]) if len(shape) == 5 else tuple(shape)


def _bincounts(numbers: Any, length: int) -> Tensor:
    """Return how often each number below `length` occurs: (length,) for an array (pixels,), (lead ·
    length,) for a tensor (lead, pixels).
    """
    if not isinstance(numbers, Tensor):
        return torch.bincount(torch.from_numpy(numbers), minlength=length)
    leads = len(numbers)
    offsets = torch.arange(leads, dtype=numbers.dtype, device=numbers.device) * length
    return torch.bincount((numbers + offsets[:, None]).flatten(), minlength=leads * length).cpu()


def refuse_infinite(*fields: Any) -> None:
    """Errors: InternalError if an array or tensor holds an infinite value."""
    if any(
        bool((torch.isinf(field) if isinstance(field, Tensor) else np.isinf(field)).any())
        for field in fields
    ):
        raise InternalError(
            "the forecast or the observed field holds infinite rain rates; find their cause before"
            " scoring."
        )


def check_thresholds(thresholds: Sequence[float]) -> None:
    """Errors: DataError unless thresholds are at least one, finite and strictly ascending."""
    finite = all(math.isfinite(threshold) for threshold in thresholds)
    ascending = all(low < high for low, high in pairwise(thresholds))
    if not (len(thresholds) and finite and ascending):
        raise DataError(
            f"thresholds are {list(thresholds)} mm/h; give at least one, finite and strictly"
            " ascending."
        )


def check_pair(forecast: Tensor, observed: Tensor) -> None:
    """Errors: DataError unless both fields are (b, lead, h, w), of one shape, floating point and on
    one device.
    """
    if forecast.shape != observed.shape or forecast.ndim != 4:
        raise DataError(
            f"forecast {tuple(forecast.shape)} and observed {tuple(observed.shape)} cannot be"
            " compared; give both as (b, lead, h, w)."
        )
    if not (forecast.is_floating_point() and observed.is_floating_point()):
        raise DataError(
            f"forecast is {forecast.dtype} and observed {observed.dtype}; give rain rates as"
            " floating point."
        )
    if forecast.device != observed.device:
        raise DataError(
            f"forecast is on {forecast.device} and observed on {observed.device}; put both on one"
            " device."
        )
