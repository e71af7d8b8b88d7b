"""Arrows of the rain's motion over a picture of a grid, with their speed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nowcast.arrays import Float32Array
from nowcast.console import two_digits
from nowcast.motion.grid import COARSE
from nowcast.report.pictures.colours import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_MOST = 9  # arrows along the longer side


@dataclass(frozen=True)
class Arrows:
    """Motion to draw.

    motion: (2, hc, wc) in pixels per timestep, x then y, on the coarse grid; NaN draws no arrow.
    speed: of one pixel per timestep, in `unit`.
    unit: of speed, such as "km/h".
    """

    motion: Float32Array
    speed: float
    unit: str


def only_over_coverage(motion: Float32Array, covered: NDArray[np.bool_]) -> Float32Array:
    """Return a motion (2, hc, wc), NaN where no pixel (h, w) around a point is covered."""
    before = COARSE // 2
    after = (
        points * COARSE - length - before
        for points, length in zip(motion.shape[1:], covered.shape, strict=True)
    )
    padded = np.pad(covered, [(before, more) for more in after])
    blocks = padded.reshape(motion.shape[1], COARSE, motion.shape[2], COARSE)
    return np.where(blocks.any(axis=(1, 3)), motion, np.float32(np.nan))


def draw_arrows(panel: "Axes", arrows: Arrows, shape: tuple[int, int]) -> None:
    """Draw some of the arrows into a panel of frames (h, w).

    The fastest arrow is as long as the spacing of the arrows.
    """
    x, y, u, v = _drawn(arrows, shape)
    panel.quiver(
        x, y, u, v, angles="xy", scale_units="xy",
        scale=max(_longest(u, v), 1e-6) / _apart(shape), pivot="middle", color=INK,
        units="inches", width=0.014, headwidth=4, headlength=4, headaxislength=3.6, minlength=0,
    )  # fmt: skip


def keys_of(arrows: Arrows, shape: tuple[int, int]) -> list["Line2D"]:
    """Return the legend's entry with the speed of the longest arrow; none without arrows."""
    from matplotlib.lines import Line2D

    _, _, u, v = _drawn(arrows, shape)
    if not u.size:
        return []
    speed = _longest(u, v) * arrows.speed
    key = Line2D(
        [], [], color=INK, linestyle="none", marker=r"$\longrightarrow$", markersize=17,
        markeredgewidth=0.3, label=f"the longest arrow: {two_digits(speed)} {arrows.unit}",
    )  # fmt: skip
    return [key]


def _drawn(arrows: Arrows, shape: tuple[int, int]) -> tuple[NDArray[np.floating], ...]:
    """Return the column, row and motion (x, y) of each drawn arrow."""
    step = _apart(shape) // COARSE
    rows, columns = (
        np.arange(step // 2 if length > step // 2 * COARSE else 0, (length - 1) // COARSE + 1, step)
        for length in shape
    )
    u, v = arrows.motion[:, rows][:, :, columns]
    y, x = np.meshgrid(rows * COARSE, columns * COARSE, indexing="ij")
    known = np.isfinite(u)
    return x[known], y[known], u[known], v[known]


def _longest(u: NDArray[np.floating], v: NDArray[np.floating]) -> float:
    return float(np.hypot(u, v).max(initial=0.0))


def _apart(shape: tuple[int, int]) -> int:
    """Return the spacing of the arrows in pixels."""
    return COARSE * max(1, -(-max(shape) // (_MOST * COARSE)))
