"""Arrows of the rain's motion over a picture of a grid, and how fast they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nowcast.arrays import Float32Array
from nowcast.motion.grid import COARSE
from nowcast.report.pictures.colours import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_MOST = 9  # arrows along the longer side


@dataclass(frozen=True)
class Arrows:
    """Motion to draw.

    motion: (2, hc, wc) in pixels per timestep, x then y, on the coarse grid.
    speed: of one pixel per timestep, in `unit`.
    unit: as "km/h".
    """

    motion: Float32Array
    speed: float
    unit: str


def draw_arrows(panel: "Axes", arrows: Arrows, shape: tuple[int, int]) -> None:
    """Draw some of the arrows into a panel of frames (h, w), the fastest as long as they are
    apart.
    """
    rows, columns, apart = _places(shape)
    u, v = arrows.motion[:, rows][:, :, columns]
    panel.quiver(
        columns * COARSE, rows * COARSE, u, v, angles="xy", scale_units="xy",
        scale=max(float(np.hypot(u, v).max()), 1e-6) / apart, pivot="middle", color=INK,
        units="inches", width=0.014, headwidth=4, headlength=4, headaxislength=3.6, minlength=0,
    )  # fmt: skip


def key_of(arrows: Arrows, shape: tuple[int, int]) -> "Line2D":
    """The entry of a legend that says how fast the longest arrow is."""
    from matplotlib.lines import Line2D

    rows, columns, _ = _places(shape)
    longest = float(np.hypot(*arrows.motion[:, rows][:, :, columns]).max()) * arrows.speed
    return Line2D(
        [], [], color=INK, linestyle="none", marker=r"$\longrightarrow$", markersize=17,
        markeredgewidth=0.3, label=f"motion, at most {float(f'{longest:.2g}'):g} {arrows.unit}",
    )  # fmt: skip


def _places(shape: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """The rows and columns of the coarse grid that get an arrow, and the pixels between them."""
    step = max(1, -(-max(shape) // (_MOST * COARSE)))
    rows, columns = (
        np.arange(step // 2 if length > step // 2 * COARSE else 0, (length - 1) // COARSE + 1, step)
        for length in shape
    )
    return rows, columns, step * COARSE
