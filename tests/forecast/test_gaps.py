"""Frames that are missing between two that are there."""

import subprocess
import sys

import numpy as np
import pytest

from nowcast.forecast.gaps import advection, fill_gaps, interpolation, motion_between
from nowcast.motion.grid import coarse_size

NONE = np.nan


def blob(row: int, column: int, size: int = 32) -> np.ndarray:
    """4 × 4 pixels of 8 mm/h with their first corner there."""
    frame = np.zeros((size, size))
    frame[row : row + 4, column : column + 4] = 8
    return frame


def rain(shift: int, size: int = 96) -> np.ndarray:
    """Smooth rain cells, moved so many pixels along x."""
    y, x = np.mgrid[:size, :size].astype(float)
    spots = [(25, 20, 5, 10), (60, 30, 7, 20), (40, 45, 4, 6), (75, 50, 6, 15), (15, 40, 5, 9)]
    return sum(
        high * np.exp(-((y - row) ** 2 + (x - column - shift) ** 2) / 2 / wide**2)
        for row, column, wide, high in spots
    )


def constant_motion(x: float, y: float, size: int = 32) -> np.ndarray:
    """On the coarse grid."""
    points = np.ones(coarse_size(size, size), np.float32)
    return np.stack([x * points, y * points])


def test_interpolation_shows_half_of_the_rain_at_both_places() -> None:
    made = interpolation(blob(4, 4), blob(4, 16), [0.25, 0.5])
    np.testing.assert_array_equal(made[0], 0.75 * blob(4, 4) + 0.25 * blob(4, 16))
    np.testing.assert_array_equal(made[1], (blob(4, 4) + blob(4, 16)) / 2)


def test_interpolation_knows_nothing_where_one_of_the_two_is_missing() -> None:
    before, after = np.array([[1.0, NONE, 3.0, NONE]]), np.array([[3.0, 1.0, NONE, NONE]])
    np.testing.assert_array_equal(interpolation(before, after, [0.5])[0], [[2.0, NONE, NONE, NONE]])


def test_advection_restores_rain_that_moves_and_does_not_change() -> None:
    """12 pixels along x and 8 along y in four steps: 3 and 2 in each.

    What comes in from the left and goes out below is in neither frame.
    """
    made = advection(blob(4, 4), blob(12, 16), constant_motion(12, 8), [0.25, 0.5, 0.75])
    for k, frame in enumerate(made, start=1):
        expected = blob(4 + 2 * k, 4 + 3 * k)
        expected[-8 + 2 * k :, : 3 * k] = NONE
        expected[: 2 * k, -12 + 3 * k :] = NONE
        np.testing.assert_allclose(frame, expected, atol=1e-9)


def test_advection_weighs_both_frames_by_time_where_rain_changes() -> None:
    made = advection(blob(4, 4), 3 * blob(4, 16), constant_motion(12, 0), [0.25])
    np.testing.assert_allclose(made[0], (0.75 * 1 + 0.25 * 3) * blob(4, 7), atol=1e-9)


def test_advection_takes_the_frame_that_is_there_where_the_other_is_not() -> None:
    """From the left comes what only the later frame has seen; a pixel missing in both is
    missing.
    """
    before, after = np.full((8, 8), 2.0), np.full((8, 8), 4.0)
    before[4, 2] = NONE
    after[4, 6] = NONE  # where the pixel of before comes to
    [made] = advection(before, after, constant_motion(4, 0, 8), [0.5])
    expected = np.full((8, 8), 3.0)
    expected[:, :2], expected[:, 6:] = 4.0, 2.0
    expected[4, 4] = NONE
    np.testing.assert_allclose(made, expected)


def test_the_motion_between_two_frames_is_found() -> None:
    """Rain that moved 8 pixels along x, its middle frame taken away: what advection makes of it
    is much closer than interpolation.
    """
    frames = np.stack([rain(0), rain(4), rain(8)]).astype(np.float32)
    off = {}
    for filling in ("interpolation", "advection"):
        made = frames.copy()
        made[1] = NONE
        assert fill_gaps(made, np.array([False, True, False]), 2, filling).tolist() == [
            False,
            True,
            False,
        ]
        assert np.isfinite(made[1]).mean() > 0.99
        off[filling] = np.nanmean(np.abs(made[1] - frames[1]))
    assert off["interpolation"] > 0.2 and off["advection"] < 0.1 * off["interpolation"]


def test_where_nothing_moves_both_ways_are_the_same() -> None:
    dry = np.zeros((3, 32, 32), np.float32)
    dry[:, 0, :] = NONE
    assert motion_between(dry[0].astype(float), dry[2].astype(float)) is None
    made = [dry.copy() for _ in range(2)]
    for frames, filling in zip(made, ("interpolation", "advection"), strict=True):
        frames[1] = NONE
        fill_gaps(frames, np.array([False, True, False]), 2, filling)
    np.testing.assert_array_equal(*made)
    np.testing.assert_array_equal(made[0], dry)


@pytest.mark.parametrize(
    ("there", "longest", "filled"),
    [
        ("1.1.1", 2, ".x.x."),
        ("1..1.1", 2, "....x."),  # three steps from one to the next
        ("1..1.1", 3, ".xx.x."),
        (".11.", 9, "...."),  # nothing before, nothing after
        ("1.1", 0, "..."),
        ("...", 9, "..."),
    ],
)
def test_only_gaps_short_enough_and_between_frames_are_filled(
    there: str, longest: int, filled: str
) -> None:
    """Frames hold their own number, which is linear in time."""
    missing = np.array([one == "." for one in there])
    frames = np.where(missing, NONE, np.arange(len(there)))[:, None, None].astype(
        np.float32
    ) * np.ones((1, 2, 2), np.float32)
    made = fill_gaps(frames, missing, longest, "interpolation")
    assert "".join("x" if one else "." for one in made) == filled
    known = made | ~missing
    np.testing.assert_allclose(frames[known, 0, 0], np.flatnonzero(known), rtol=1e-6)
    assert np.isnan(frames[~known]).all()


def test_looking_at_frames_needs_no_torch() -> None:
    """A forecast that is there already is told from files alone, in a fraction of the time that
    torch takes to load.
    """
    code = (
        "import sys, nowcast.service.live_frames; sys.exit(bool({'torch', 'pysteps', 'cv2'} &"
        " set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
