"""Speckle: isolated wet pixels are removed, pixels of rain areas stay."""

import numpy as np

from nowcast.radar.store.speckle import remove_speckle


def frame(*rows: str) -> np.ndarray:
    """'.' dry, '1' 1 mm/h, 'd' 0.05 mm/h, '?' missing."""
    rates = {".": 0.0, "1": 1.0, "d": 0.05, "?": np.nan}
    return np.array([[rates[sign] for sign in row] for row in rows], dtype=np.float32)


def test_a_lonely_pixel_becomes_dry_and_a_pair_stays() -> None:
    cleaned, removed = remove_speckle(frame("1....", ".....", "...11", "....."), 1)
    np.testing.assert_array_equal(cleaned, frame(".....", ".....", "...11", "....."))
    assert removed == 1 and cleaned.dtype == np.float32


def test_all_pixels_are_judged_by_the_frame_as_it_was() -> None:
    # Ends of a line have one wet neighbour, its middle two; if the ends were removed first, the
    # middle would be removed as well.
    cleaned, removed = remove_speckle(frame(".....", ".111.", "....."), 2)
    np.testing.assert_array_equal(cleaned, frame(".....", "..1..", "....."))
    assert removed == 2


def test_neighbours_that_are_missing_beyond_the_edge_or_below_a_tenth_are_not_wet() -> None:
    for lonely in (frame("???", "?1?", "???"), frame("1.", ".."), frame("ddd", "d1d", "ddd")):
        cleaned, removed = remove_speckle(lonely, 1)
        assert removed == 1
        np.testing.assert_array_equal(cleaned, np.where(lonely == 1, 0, lonely))


def test_diagonal_neighbours_count_and_eight_are_the_most() -> None:
    assert remove_speckle(frame("1..", ".1.", "..1"), 1)[1] == 0
    cleaned, removed = remove_speckle(frame("111", "111", "111"), 8)
    np.testing.assert_array_equal(cleaned, frame("...", ".1.", "..."))
    assert removed == 8
