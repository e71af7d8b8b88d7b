"""Speckle: wet pixels that stand alone, as clutter, birds and interference leave them."""

from typing import Any

import numpy as np
import numpy.typing as npt

Rate = npt.NDArray[np.floating[Any]]

WET_RATE = 0.1  # mm/h; a pixel counts as wet from here on


def remove_speckle(rate: Rate, neighbours: int) -> tuple[Rate, int]:
    """Rates (y, x) in mm/h → the same with lonely wet pixels dry, and how many these were.

    A wet pixel (0.1 mm/h or more) with fewer than `neighbours` wet ones among the 8 around it becomes 0. What is missing or
    beyond the edge is not wet. All pixels are judged by the frame as it was, so their order does not matter.
    """
    wet = rate >= WET_RATE  # NaN is not
    around = np.pad(wet, 1).astype(np.uint8)
    rows = around[:-2] + around[1:-1] + around[2:]
    count = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - wet
    lonely = wet & (count < neighbours)
    return np.where(lonely, rate.dtype.type(0), rate), int(lonely.sum())
