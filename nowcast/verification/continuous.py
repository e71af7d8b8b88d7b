"""Sums of errors and products of forecast and observed rain. Everything here adds up; `scores`
divides.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nowcast.verification.counts import check_pair, class_numbers, pieces, refuse_infinite
from nowcast.verification.scores import ERROR_SUMS

BALANCE = {2.0: 2.0, 5.0: 5.0, 10.0: 10.0, 30.0: 30.0}
"""The weight of a pixel by observed rate: from each rate in mm/h on; below the first it is 1 (Shi
et al. 2017).
"""


def error_sums(forecast: Tensor, observed: Tensor) -> dict[str, Tensor]:
    """Sums over the pixels of each frame, mm/h, (b, lead, h, w) each, on any device → (b, lead)
    float64 each, on the CPU.

    With f the forecast and o the observed rate of a pixel and w(o) its weight in `BALANCE`, by
    name:
    squared_error Σ (f − o)², absolute_error Σ |f − o|, error Σ (f − o), forecast_sum Σ f,
    observed_sum Σ o, forecast_square Σ f², observed_square Σ o², product Σ f·o,
    weighted_squared_error Σ w (f − o)², weighted_absolute_error Σ w |f − o|. A pixel that is NaN in
    either field is in no sum.

    Errors: DataError if shapes, dtypes or devices differ; InternalError if a field is infinite.
    """
    check_pair(forecast, observed)
    parts = [torch.zeros(0, dtype=torch.float64)]
    for f, o in pieces(forecast, observed):
        parts.append(_case_sums(f, o) if isinstance(f, Tensor) else _frame_sums(f, o))
    sums = torch.cat(parts).reshape(*forecast.shape[:2], len(ERROR_SUMS))
    return dict(zip(ERROR_SUMS, sums.unbind(-1), strict=True))


def _frame_sums(f: Any, o: Any) -> Tensor:
    """Return the sums of a frame, given as arrays (pixels,).

    Pixels without rain in both fields are skipped, because they add nothing.
    """
    rainy = ((f != 0) | (o != 0)) & ~(np.isnan(f) | np.isnan(o))
    where = np.flatnonzero(rainy)
    f, o = f[where], o[where]
    refuse_infinite(f, o)
    # mode="clip" skips the bounds check
    weight = np.take([1.0, *BALANCE.values()], class_numbers(o, list(BALANCE)), mode="clip")
    return torch.from_numpy(
        np.array(_sums(f.astype(np.float64), o.astype(np.float64), weight, np.dot))
    )


def _case_sums(f: Tensor, o: Tensor) -> Tensor:
    """Return the sums of each frame of a case, given as tensors (lead, pixels), flattened."""
    refuse_infinite(f, o)
    missing = f.isnan() | o.isnan()
    f, o = f.double().masked_fill(missing, 0.0), o.double().masked_fill(missing, 0.0)
    weight = torch.tensor([1.0, *BALANCE.values()], dtype=o.dtype, device=o.device)[
        class_numbers(o, list(BALANCE))
    ]
    return torch.stack(_sums(f, o, weight, torch.linalg.vecdot), dim=-1).flatten().cpu()


def _sums(f: Any, o: Any, weight: Any, dot: Callable[[Any, Any], Any]) -> list[Any]:
    """Sum arrays or tensors of float64 over the last axis, in the order of `ERROR_SUMS`."""
    error = f - o
    size = abs(error)
    weighted = weight * size
    return [
        dot(error, error), size.sum(-1), error.sum(-1), f.sum(-1), o.sum(-1), dot(f, f), dot(o, o),
        dot(f, o), dot(weighted, size), weighted.sum(-1),
    ]  # fmt: skip
