"""Counts and sums per case to compare ensembles with observations. Everything here adds up;
`probabilistic` divides.

Members are (b, lead, m, h, w), observed (b, lead, h, w), both mm/h, on any device; m = 1 is a
deterministic forecast. A pixel that is NaN in any member or in the observation is in no count and
no sum. In addition to the fields, only a few blocks of pixels are in memory, for any number of
cases, members and pixels; results are on the CPU.

Errors of all: DataError if shapes, dtypes or devices differ.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from nowcast.errors import DataError, InternalError
from nowcast.verification.counts import check_pair, check_thresholds

_BLOCK_VALUES = 2**18
"""Members × pixels processed together: few enough for the cache of a core, and enough to make the
cost of starting an operation negligible.
"""


def probability_counts(forecast: Tensor, observed: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Count pixels by the number k = 0 … m of members at or above each of K thresholds, and by the
    event: (b, lead, K, m + 1, 2) int64.

    The last axis is no event, event observed. Thresholds are compared in the dtype of each field,
    as in `joint_histogram`.

    Errors: DataError, also if thresholds do not ascend.
    """
    check_thresholds(thresholds)
    b, leads, m = sizes(forecast, observed)
    counts = torch.zeros(
        b * leads, len(thresholds), 2 * (m + 1), dtype=torch.int64, device=forecast.device
    )
    for frame, x, y in blocks(forecast, observed):
        for threshold, count in zip(thresholds, counts[frame], strict=True):
            count += torch.bincount(
                2 * _number_of(x >= threshold) + (y >= threshold), minlength=2 * (m + 1)
            )
    return counts.reshape(b, leads, len(thresholds), m + 1, 2).cpu()


def rank_counts(forecast: Tensor, observed: Tensor) -> Tensor:
    """Count pixels by the number of members below the observation and the number equal to it: (b,
    lead, m + 1, m + 1) int64.
    """
    b, leads, m = sizes(forecast, observed)
    counts = torch.zeros(b * leads, (m + 1) ** 2, dtype=torch.int64, device=forecast.device)
    for frame, x, y in blocks(forecast, observed):
        counts[frame] += torch.bincount(
            (m + 1) * _number_of(x < y) + _number_of(x == y), minlength=(m + 1) ** 2
        )
    return counts.reshape(b, leads, m + 1, m + 1).cpu()


def crps_sums(forecast: Tensor, observed: Tensor) -> dict[str, Tensor]:
    """Return the two sums of the continuous ranked probability score, each (b, lead) float64, mm/h,
    with members x and observation y:

        crps_error  = Σ_pixels 1/m Σ_i |x_i − y|
        crps_spread = Σ_pixels Σ_{i<j} |x_i − x_j| = Σ_i (2i − m − 1) Σ_pixels x_(i),   x_(1) ≤ … ≤
        x_(m) in ascending order

    The second form takes O(m log m) for each pixel. Everything is computed in float64.

    Errors: DataError; InternalError if a rate is infinite.
    """
    b, leads, m = sizes(forecast, observed)
    if forecast.device.type == "mps":  # it has no float64
        forecast, observed = forecast.cpu(), observed.cpu()
    wide = torch.promote_types(forecast.dtype, torch.float32)  # numpy can sort it
    error = torch.zeros(b * leads, dtype=torch.float64, device=forecast.device)
    ordered = torch.zeros(b * leads, m, dtype=torch.float64, device=forecast.device)
    for frame, x, y in blocks(forecast, observed):
        x = x.to(wide)
        error[frame] += (x.double() - y).abs_().sum()
        ordered[frame] += _ascending(x).sum(1, dtype=torch.float64)
    if not (error.isfinite().all() and ordered.isfinite().all()):
        raise InternalError(
            "the members or the observed field hold infinite rain rates; find their cause before"
            " scoring."
        )
    # pairing x_(i) with x_(m+1−i) makes equal members cancel exactly
    lower, upper = ordered[:, : m // 2], ordered.flip(1)[:, : m // 2]
    weight = torch.arange(m - 1, 0, -2, dtype=torch.float64, device=forecast.device)
    spread = ((upper - lower) * weight).sum(1)
    return {
        "crps_error": (error / m).reshape(b, leads).cpu(),
        "crps_spread": spread.reshape(b, leads).cpu(),
    }


def blocks(forecast: Tensor, observed: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the number of a frame, from 0 to b · lead − 1, with members (m, n) and observed (n,) at
    some of its pixels, none of them missing.
    """
    b, leads, m = forecast.shape[:3]
    size = max(1, _BLOCK_VALUES // m)
    for frame in range(b * leads):
        case, lead = divmod(frame, leads)
        members, truth = (
            forecast.detach()[case, lead].flatten(1),
            observed.detach()[case, lead].flatten(),
        )
        for x, y in zip(members.split(size, dim=1), truth.split(size), strict=True):
            missing = x.amax(0).isnan() | y.isnan()
            if missing.any():
                present = (~missing).nonzero()[:, 0]
                x, y = x.index_select(1, present), y.index_select(0, present)
            yield frame, x, y


def _number_of(members: Tensor) -> Tensor:
    """(m, n) bool → (n,) int64. Sums in bytes if they are large enough, which is faster."""
    return members.sum(0, dtype=torch.uint8 if len(members) < 256 else torch.int32).long()


def _ascending(x: Tensor) -> Tensor:
    """Sort along the first axis; for so few members, numpy is several times faster than torch on a
    CPU.
    """
    return (
        torch.from_numpy(np.sort(x.numpy(), axis=0))
        if x.device.type == "cpu"
        else x.sort(dim=0).values
    )


def sizes(forecast: Tensor, observed: Tensor) -> tuple[int, int, int]:
    """Return b, lead and m of matching fields. Errors: DataError if they do not match."""
    if forecast.ndim != 5 or forecast.shape[2] == 0:
        raise DataError(
            f"members of shape {tuple(forecast.shape)}; give them as (b, lead, m, h, w), at least"
            " one."
        )
    check_pair(forecast[:, :, 0], observed)
    return forecast.shape[0], forecast.shape[1], forecast.shape[2]
