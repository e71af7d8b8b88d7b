"""The spacing of pixels and frames, to convert pixels per timestep to kilometres per hour."""

from dataclasses import dataclass

from torch import Tensor

from nowcast.motion.advection import refine


@dataclass(frozen=True)
class Spacing:
    """The spacing of a series of frames.

    Args:
        pixel_km: height and width of a pixel in km.
        minutes: from one frame to the next.
        every: 1 if a model uses every past frame, 2 for every second one, …
    """

    pixel_km: float
    minutes: float
    every: int = 1


def speed(
    motion: Tensor, spacing: Spacing, size: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> Tensor:
    """Return the speed of the rain at each pixel in km/h.

    Args:
        motion: (b, 2, hc, wc) in pixels per timestep, x then y, on the coarse grid.
        spacing: of the pixels and frames.
        size: (h, w), the number of pixels.
        corner: row and column of the first one.

    Returns:
        (b, 1, 1, h, w).
    """
    fine: Tensor = refine(motion[:, None], size, corner)
    pixels: Tensor = fine.square().sum(dim=2, keepdim=True).sqrt()
    return pixels * (spacing.pixel_km * 60 / spacing.minutes)
