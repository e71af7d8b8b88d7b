"""Longitudes on a circle: compare and unwrap them without a jump at the seam."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nowcast.arrays import Float64Array

_TURN = 360.0


def unwrapped(longitudes: npt.ArrayLike) -> Float64Array:
    """Degrees (n,) or (y, x) → the same without jumps of 360° between neighbours: 359.9, 0.1 →
    -0.1, 0.1.

    Degrees without jumps are returned unchanged; so are those around a pole, where a jump cannot be
    removed.
    """
    values = np.asarray(longitudes, dtype=np.float64)
    if not _jumps(values):
        return values
    for turned in (_along_axes(values), _around_the_middle(values)):
        with np.errstate(invalid="ignore"):
            smooth = values + _TURN * np.round((turned - values) / _TURN)
        there = np.isfinite(values)
        if not _jumps(smooth) and np.isfinite(smooth[there]).all():
            smooth = smooth - _TURN * np.ceil((smooth[there].mean() - 180.0) / _TURN - 1e-9)
            return np.where(there, smooth, values)
    return values


def degrees_apart(one: Any, other: Any) -> Any:
    """Return the distance of two longitudes, from 0 to 180 degrees."""
    return np.abs((np.asarray(one) - np.asarray(other) + 180.0) % _TURN - 180.0)


def _jumps(values: Float64Array) -> bool:
    with np.errstate(invalid="ignore"):
        return any(
            bool((np.abs(np.diff(values, axis=axis)) > 180.0).any()) for axis in range(values.ndim)
        )


def _along_axes(values: Float64Array) -> Float64Array:
    """Unwrap each row, then the first values of the rows; NaN spreads."""
    rows = np.unwrap(values, period=_TURN, axis=-1)
    if values.ndim == 1:
        return rows
    starts = np.unwrap(rows[:, :1], period=_TURN, axis=0)
    return np.asarray(rows + (starts - rows[:, :1]))


def _around_the_middle(values: Float64Array) -> Float64Array:
    """Move each value to within 180° of the middle of all."""
    radians = np.radians(values[np.isfinite(values)])
    middle = np.degrees(np.arctan2(np.sin(radians).mean(), np.cos(radians).mean()))
    return np.asarray((values - middle + 180.0) % _TURN - 180.0 + middle)
