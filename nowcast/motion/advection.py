"""Semi-Lagrangian advection in PyTorch: trajectories along a motion field, and frames advected
along them.

A motion field is smooth, and steady over the hour of a forecast, so it is given on a coarse grid:
at every `COARSE`-th pixel, starting at pixel 0. Trajectories are computed there and then
interpolated. Everything runs on any device and is differentiable.

The scheme is that of Germann and Zawadzki (2002), with midpoint steps: rain at x at the reference
time moves to x + d, where d is the sum of the steps, and each step is the motion at its midpoint.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from nowcast.motion.grid import COARSE, coarse_size

_LEAST_MEASURED = 0.5
"""Least weight of measured pixels around a point for a valid interpolated value."""


def displacements(motion: Tensor, steps: int, *, backward: bool = False) -> Tensor:
    """Return the displacements of the pixels of the coarse grid after 1, 2, …, `steps` timesteps.

    Each step is a midpoint step (second-order Runge–Kutta). Outside its border the motion field
    continues with the value at the border.

    Args:
        motion: (b, 2, hc, wc) in pixels per timestep, x then y, on the coarse grid.
        steps: number of steps of the trajectory.
        backward: whether to go back in time.

    Returns:
        (b, steps, 2, hc, wc) in pixels, x then y: final position minus initial position.
    """
    sign = -1.0 if backward else 1.0
    position = torch.zeros_like(motion)
    travelled = []
    for _ in range(steps):
        half = position + 0.5 * sign * _at(motion, position)
        position = position + sign * _at(motion, half)
        travelled.append(position)
    return torch.stack(travelled, dim=1)


def refine(coarse: Tensor, size: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> Tensor:
    """Interpolate fields on the coarse grid to pixels.

    Args:
        coarse: (b, n, 2, hc, wc).
        size: (h, w), the number of pixels wanted.
        corner: row and column of the first one.

    Returns:
        (b, n, 2, h, w).
    """
    first = [start // COARSE for start in corner]
    ends = [start + length for start, length in zip(corner, size, strict=True)]
    last = [max(-(-(end - 1) // COARSE), begin + 1) for end, begin in zip(ends, first, strict=True)]
    part = coarse[..., first[0] : last[0] + 1, first[1] : last[1] + 1]
    full = (part.shape[-2] - 1) * COARSE + 1, (part.shape[-1] - 1) * COARSE + 1
    fine = functional.interpolate(
        part.flatten(0, 1), size=full, mode="bilinear", align_corners=True
    )
    rows, columns = (
        slice(start - begin * COARSE, end - begin * COARSE)
        for start, end, begin in zip(corner, ends, first, strict=True)
    )
    cut: Tensor = fine[..., rows, columns].unflatten(0, coarse.shape[:2])
    return cut


def motion_within(motion: Tensor, corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the motion of a part of the grid, on the coarse grid of that part.

    Args:
        motion: (b, 2, hc, wc) of the whole grid, in pixels per timestep, x then y.
        corner: row and column of the first pixel of the part.
        size: (h, w) of the part.

    Returns:
        (b, 2, coarse height, coarse width).
    """
    y, x = (
        (first + COARSE * torch.arange(count)) / COARSE / max(length - 1, 1) * 2 - 1
        for first, count, length in zip(corner, coarse_size(*size), motion.shape[-2:], strict=True)
    )
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).to(motion)
    return functional.grid_sample(
        motion, places.expand(len(motion), -1, -1, -1),
        mode="bilinear", padding_mode="border", align_corners=True,
    )  # fmt: skip


def move(
    frames: Tensor, displacement: Tensor, *, nearest: bool = False, alike: bool = False
) -> Tensor:
    """Sample each frame at displaced pixels: result(x) = frame(x + d(x)).

    Values from outside the frame or from missing pixels are missing. Interpolation is bilinear over
    the measured pixels, and a value is missing if their weight is less than a half. With `nearest`
    the nearest pixel is used, so measured values are unchanged.

    Args:
        frames: (b, n, c, H, W), NaN = missing.
        displacement: (b, n, 2, h, w) in pixels, x then y; of the first h × w pixels of the frames,
            so usually h = H, w = W.
        nearest: whether to use the nearest pixel.
        alike: whether all channels miss the same pixels, so that one mask is enough.

    Returns:
        (b, n, c, h, w), NaN = missing.
    """
    batch_and_steps, channels = frames.shape[:2], frames.shape[2]
    flat = frames.flatten(0, 1)
    measured = (~(flat[:, :1] if alike else flat).isnan()).to(flat.dtype)
    values, weight = functional.grid_sample(
        torch.cat([flat.nan_to_num(0.0), measured], dim=1),
        _sampling_grid(displacement.flatten(0, 1), frames.shape[-2:]),
        mode="nearest" if nearest else "bilinear",
        padding_mode="zeros",
        align_corners=True,
    ).tensor_split([channels], dim=1)
    moved = values / weight.clamp(min=_LEAST_MEASURED)
    moved = moved.masked_fill(weight < _LEAST_MEASURED, math.nan)
    unflattened: Tensor = moved.unflatten(0, batch_and_steps)
    return unflattened


def _at(motion: Tensor, travelled: Tensor) -> Tensor:
    """Return the motion (b, 2, hc, wc) at the displaced pixels of its own grid."""
    grid = _sampling_grid(travelled / COARSE, motion.shape[-2:])
    return functional.grid_sample(
        motion, grid, mode="bilinear", padding_mode="border", align_corners=True
    )


def _sampling_grid(displacement: Tensor, size: torch.Size) -> Tensor:
    """Return the sampling points for `grid_sample` in fields of this size: (n, h, w, 2) from -1 to
    1.

    displacement: (n, 2, h, w) in pixels of these fields, x then y, from each pixel. In memory x and
    y are stored separately, which is several times faster to write than pairs.
    """
    rows, columns = displacement.shape[-2:]
    y = torch.arange(rows, device=displacement.device, dtype=displacement.dtype)
    x = torch.arange(columns, device=displacement.device, dtype=displacement.dtype)
    across = (x + displacement[:, 0]) * (2 / max(size[1] - 1, 1)) - 1
    down = (y[:, None] + displacement[:, 1]) * (2 / max(size[0] - 1, 1)) - 1
    return torch.stack([across, down], dim=1).movedim(1, -1)
