"""Speckle: wet pixels that stand alone, as clutter, birds and interference leave them."""

import numpy as np
import numpy.typing as npt

from nowcast.arrays import FloatArray
from nowcast.radar.grid import WET_RATE


def wet_neighbours(wet: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """(y, x) whether pixels are wet → how many of the 8 around each are; none is beyond the
    edge.
    """
    padded = np.pad(wet, 1).astype(np.uint8)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - wet, dtype=np.uint8)


def remove_speckle(rate: FloatArray, neighbours: int) -> tuple[FloatArray, int]:
    """Rates (y, x) in mm/h → the same with lonely wet pixels dry, and how many these were.

    A wet pixel (0.1 mm/h or more) with fewer than `neighbours` wet ones among the 8 around it
    becomes 0. What is missing or beyond the edge is not wet. All pixels are judged by the frame as
    it was, so their order does not matter.
    """
    wet = rate >= WET_RATE  # NaN is not
    lonely = wet & (wet_neighbours(wet) < neighbours)
    return np.where(lonely, rate.dtype.type(0), rate), int(lonely.sum())
