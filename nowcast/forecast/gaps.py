"""Fill missing frames between two existing ones.

For a missing frame between B, the last frame before the gap, and A, the first one after it, s is
the fraction of the time from B to A, 0 < s < 1:

    interpolation   R(x) = (1 − s) B(x) + s A(x)
    advection       R(x) = (1 − s) B(x − s v) + s A(x + (1 − s) v)

v is the motion from B to A in pixels, estimated by `nowcast.motion`; rain is advected by the
backward semi-Lagrangian scheme of Germann and Zawadzki (2002). Advection restores rain that moves
and does not change, while interpolation shows half of it at both places. Without motion the two are
the same.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nowcast.arrays import Float32Array, Float64Array
from nowcast.motion.estimation import estimate_motion


def wholly_missing(frames: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which of the frames (…, h, w) have no measured pixel."""
    return np.asarray(np.isnan(frames).all(axis=(-2, -1)))


def is_enough(missing: NDArray[np.bool_], may_miss: int) -> bool:
    """Whether a forecast can be made if the input frames marked in `missing` (t,) are missing:
    never without the newest, nor without more than `may_miss` of the others.
    """
    return not missing[-1] and int(missing.sum()) <= may_miss


def fill_gaps(
    frames: NDArray[np.float32], missing: NDArray[np.bool_], longest: int, filling: str
) -> NDArray[np.bool_]:
    """Fill missing frames between two existing ones that are at most `longest` steps apart.

    Frames before the first existing frame or after the last stay missing.

    frames: (t, h, w) [mm/h, NaN = no measurement], filled in place.
    missing: (t,) which frames are missing.
    filling: advection, or interpolation.
    Returns which frames were filled (t,).
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
    """(1 − s) B + s A for each fraction s → (s, h, w); NaN where B or A is."""
    return np.stack([(1 - s) * before + s * after for s in shares])


def advection(
    before: Float64Array, after: Float64Array, motion: Float32Array, shares: Sequence[float]
) -> Float64Array:
    """(1 − s) B(x − s v) + s A(x + (1 − s) v) for each fraction s → (s, h, w).

    If one of the two terms is NaN or comes from outside the grid, the other is used; if both are,
    the result is NaN.

    motion: v (2, hc, wc) on the coarse grid, x and y in pixels from B to A.
    """
    weights = np.asarray(shares)[:, np.newaxis, np.newaxis]
    forward = np.stack([_moved(before, s * motion) for s in shares])
    backward = np.stack([_moved(after, (s - 1) * motion) for s in shares])
    both: Float64Array = (1 - weights) * forward + weights * backward
    both = np.where(np.isnan(forward), backward, both)
    return np.where(np.isnan(backward), forward, both)


def _moved(frame: Float64Array, motion: Float32Array) -> Float64Array:
    """Return a frame (h, w) advected once along a motion (2, hc, wc)."""
    import torch

    from nowcast.forecast.baselines.extrapolation import extrapolate

    moved: Float64Array = extrapolate(torch.from_numpy(frame), torch.from_numpy(motion), 1)[
        0
    ].numpy()
    return moved


def motion_between(before: Float64Array, after: Float64Array) -> Float32Array | None:
    """Return v (2, hc, wc) on the coarse grid, x and y in pixels from one frame to the other; None
    if there is nothing to track.
    """
    motion = estimate_motion(np.stack([before, after]).astype(np.float32))
    return motion if motion.any() else None
