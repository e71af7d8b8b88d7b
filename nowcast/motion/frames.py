"""Windows of frames in the moving frame of reference, and fields of a forecast back in the fixed.

Moving means: seen from the pixels at the forecast reference time, taken along with the rain. Rain
that only moves stands still there, so a model has to say only how the rain changes.
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
    """Return how far each pixel at the reference time is displaced in each frame of a window.

    Args:
        motion: (b, 2, hc, wc) in pixels per timestep, x then y, on the coarse grid.
        input_steps, lead_steps: frames of past and future; the last of the past is not displaced.
        size: (h, w) of the pixels.
        corner: row and column of the first of them.

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
    """Take the frames of a window to the forecast reference time, along with the rain.

    Past frames are interpolated, but the newest, which stays where it is. Of future frames the
    nearest pixel is taken, so that every rate that is learnt from is one that was measured.

    Args:
        window: (b, t, c, H, W), NaN = missing; the first `input_steps` frames are the past.
        displacement: (b, t, 2, h, w) in pixels, of the first h × w pixels of the frames.
        input_steps: frames of the past.

    Returns:
        (b, t, c, h, w), NaN = missing.
    """
    before = input_steps - 1
    past = move(window[:, :before], displacement[:, :before])
    rest = move(window[:, before:], displacement[:, before:], nearest=True)
    return torch.cat([past, rest], dim=1)


def take_forward(fields: Tensor, way: Tensor) -> Tensor:
    """Take fields of a forecast from the moving frame of reference to the fixed one.

    Args:
        fields: (b, lead, c, h, w) as seen from the pixels at the reference time, NaN = missing, in
            all channels of a pixel.
        way: (b, lead, 2, hc, wc) in pixels, x then y, on the coarse grid: from where rain is at
            each lead time back to where it is at the reference time, as `displacements` gives it.

    Returns:
        (b, lead, c, h, w) at the pixels where they are expected; NaN where rain would come from
        outside.
    """
    return move(fields, refine(way, (fields.shape[-2], fields.shape[-1])), alike=True)
