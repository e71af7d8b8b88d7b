"""The coarse grid on which a motion field is given."""

COARSE = 8
"""Pixels from one point of the coarse grid to the next, along each axis."""


def coarse_size(height: int, width: int) -> tuple[int, int]:
    """Return (hc, wc) of the coarse grid of frames (h, w): its points 0, 8, 16, … reach to the last
    pixel or beyond it.
    """
    return -(-(height - 1) // COARSE) + 1, -(-(width - 1) // COARSE) + 1
