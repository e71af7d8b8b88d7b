"""Windows of frames in the moving frame of reference, and forecast fields back in the fixed one.

In the moving (Lagrangian) frame of reference, frames are advected along with the rain to the
forecast reference time. Rain that only moves stands still there, so a model only needs to predict
how the rain changes.
"""

import torch
from torch import Tensor

from nowcast.motion.advection import displacements, move, refine


def window_displacement(
    motion: Tensor,
    input_steps: int,
    lead_steps: int,
    size: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
) -> Tensor:
    """Return the displacement in each frame of a window of each pixel at the reference time.

    Args:
        motion: (b, 2, hc, wc) in pixels per timestep, x then y, on the coarse grid.
        input_steps, lead_steps: number of past and future frames; the last past frame is not
            displaced.
        size: (h, w), the number of pixels.
        corner: row and column of the first one.

    Returns:
        (b, input_steps + lead_steps, 2, h, w) in pixels, x then y.
    """
    parts = [torch.zeros_like(motion)[:, None]]
    if input_steps > 1:
        parts.insert(0, displacements(motion, input_steps - 1, backward=True).flip(1))
    if lead_steps:
        parts.append(displacements(motion, lead_steps))
    return refine(torch.cat(parts, dim=1), size, corner)


def take_along(window: Tensor, displacement: Tensor, input_steps: int) -> Tensor:
    """Advect the frames of a window to the forecast reference time.

    Past frames are interpolated, except the newest, which is not displaced. Future frames use the
    nearest pixel, so all rates used as training targets are measured values.

    Args:
        window: (b, t, c, H, W), NaN = missing; the first `input_steps` frames are the past.
        displacement: (b, t, 2, h, w) in pixels, of the first h × w pixels of the frames.
        input_steps: number of past frames.

    Returns:
        (b, t, c, h, w), NaN = missing.
    """
    before = input_steps - 1
    past = move(window[:, :before], displacement[:, :before])
    rest = move(window[:, before:], displacement[:, before:], nearest=True)
    return torch.cat([past, rest], dim=1)


def take_forward(fields: Tensor, way: Tensor) -> Tensor:
    """Convert forecast fields from the moving frame of reference to the fixed one.

    Args:
        fields: (b, lead, c, h, w) in the moving frame of reference, NaN = missing in all channels
            of a pixel.
        way: (b, lead, 2, hc, wc) in pixels, x then y, on the coarse grid: displacements from each
            lead time back to the reference time, from `displacements`.

    Returns:
        (b, lead, c, h, w) in the fixed frame of reference; NaN where rain would come from outside.
    """
    return move(fields, refine(way, (fields.shape[-2], fields.shape[-1])), alike=True)
