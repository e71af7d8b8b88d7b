"""Frames between two that are there, in the place of missing ones.

A frame at the share s of the time between B, the frame before the gap, and A, the one after it, 0 <
s < 1:

    interpolation   R(x) = (1 − s) B(x) + s A(x)
    advection       R(x) = (1 − s) B(x − s v) + s A(x + (1 − s) v)

with v, the motion from B to A in pixels, as Lucas and Kanade (1981) follow it, by pysteps; rain is
moved along it by the backward semi-Lagrangian scheme of Germann and Zawadzki (2002). Rain that
moves and does not change is restored by advection, while interpolation shows half of it at both
places. Without motion the two are the same.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nowcast.arrays import Float64Array
from nowcast.errors import InternalError


def wholly_missing(frames: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the frames (…, h, w) hold no measured pixel."""
    return np.asarray(np.isnan(frames).all(axis=(-2, -1)))


def is_enough(missing: NDArray[np.bool_], may_miss: int) -> bool:
    """Whether a forecast can be made from input frames of which these (t,) are missing: the
    newest never may be, and no more than `may_miss` of the others.
    """
    return not missing[-1] and int(missing.sum()) <= may_miss


def fill_gaps(
    frames: NDArray[np.float32], missing: NDArray[np.bool_], longest: int, filling: str
) -> NDArray[np.bool_]:
    """Fill in frames (t, h, w) [mm/h, NaN = no measurement] what is missing (t,) between two that
    are there, no more than `longest` steps apart → which were filled (t,). Those before the first
    frame that is there, or after the last, stay as they are.

    filling: advection, or interpolation.
    Errors: MissingLibraryError where advection has no pysteps; InternalError where that fails.
    """
    filled = np.zeros_like(missing)
    there = np.flatnonzero(~missing)
    for before, after in zip(there[:-1].tolist(), there[1:].tolist(), strict=True):
        if not 2 <= after - before <= longest:
            continue
        shares = [(k - before) / (after - before) for k in range(before + 1, after)]
        ends = frames[before].astype(np.float64), frames[after].astype(np.float64)
        velocity = motion_between(*ends) if filling == "advection" else None
        made = (
            interpolation(*ends, shares) if velocity is None else advection(*ends, velocity, shares)
        )
        frames[before + 1 : after], filled[before + 1 : after] = made, True
    return filled


def interpolation(
    before: Float64Array, after: Float64Array, shares: Sequence[float]
) -> Float64Array:
    """(1 − s) B + s A for each share s → (s, h, w); NaN where B or A is."""
    return np.stack([(1 - s) * before + s * after for s in shares])


def advection(
    before: Float64Array, after: Float64Array, velocity: Float64Array, shares: Sequence[float]
) -> Float64Array:
    """(1 − s) B(x − s v) + s A(x + (1 − s) v) for each share s → (s, h, w); of the two the one that
    is there where the other is NaN or comes from outside of the grid; NaN where both are.

    velocity: v (2, h, w), x and y in pixels from B to A. shares: rising.
    """
    from pysteps.extrapolation.semilagrangian import extrapolate

    moves = {"allow_nonfinite_values": True}
    forward = extrapolate(before, velocity, list(shares), **moves)
    backward = extrapolate(after, -velocity, [1 - s for s in reversed(shares)], **moves)[::-1]
    weights = np.asarray(shares)[:, None, None]
    both: Float64Array = (1 - weights) * forward + weights * backward
    both = np.where(np.isnan(forward), backward, both)
    return np.where(np.isnan(backward), forward, both)


def motion_between(before: Float64Array, after: Float64Array) -> Float64Array | None:
    """v (2, h, w), x and y in pixels from one frame to the other; None where there is nothing to
    follow.

    Errors: as fill_gaps.
    """
    from nowcast.forecast.baselines.advection import motion
    from nowcast.forecast.baselines.library import quiet, require

    require("gap_filling=advection")
    try:
        with quiet("gap_filling=advection"):
            velocity = motion(np.stack([before, after]))
    except InternalError as error:
        raise InternalError(
            f"gap_filling: {error.__cause__}, so rain cannot be followed; set"
            " gap_filling=interpolation."
        ) from error
    return velocity if velocity.any() else None
