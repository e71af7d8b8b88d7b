"""The coarse grid of motion fields."""

COARSE = 8
"""Spacing of the points of the coarse grid in pixels, along each axis."""


def coarse_size(height: int, width: int) -> tuple[int, int]:
    """Return the size (hc, wc) of the coarse grid for frames (h, w): its points 0, 8, 16, … extend
    to the last pixel or beyond.
    """
    return -(-(height - 1) // COARSE) + 1, -(-(width - 1) // COARSE) + 1
