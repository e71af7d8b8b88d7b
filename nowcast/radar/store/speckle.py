"""Speckle: isolated wet pixels from clutter, birds and interference."""

import numpy as np
import numpy.typing as npt

from nowcast.arrays import FloatArray
from nowcast.radar.grid import WET_RATE


def wet_neighbours(wet: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Mask of wet pixels (y, x) → number of wet pixels among the 8 neighbours of each; pixels
    outside the grid count as dry.
    """
    padded = np.pad(wet, 1).astype(np.uint8)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - wet, dtype=np.uint8)


def remove_speckle(rate: FloatArray, neighbours: int) -> tuple[FloatArray, int]:
    """Set isolated wet pixels of rates (y, x) in mm/h to 0; return the rates and their number.

    A wet pixel (0.1 mm/h or more) with fewer than `neighbours` wet ones among its 8 neighbours
    becomes 0. Missing pixels and pixels outside the grid count as dry. All pixels are compared with
    the original frame, so their order does not matter.
    """
    wet = rate >= WET_RATE  # NaN is not
    lonely = wet & (wet_neighbours(wet) < neighbours)
    return np.where(lonely, rate.dtype.type(0), rate), int(lonely.sum())
