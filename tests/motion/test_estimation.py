"""Motion from frames whose motion is known."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from nowcast.motion import estimation
from nowcast.motion.estimation import MOTION_FRAMES, _declustered, estimate_motion
from nowcast.motion.grid import COARSE, coarse_size

Rain = NDArray[np.float32]
HEIGHT, WIDTH = 120, 152


def rain(x: NDArray[np.float64], y: NDArray[np.float64]) -> Rain:
    """A smooth random field of rain in mm/h at these places, dry where it is below 0.1."""
    random = np.random.default_rng(3)
    made = np.zeros(np.broadcast(x, y).shape)
    for _ in range(40):
        length, angle, phase = random.uniform(14, 50), *random.uniform(0, 2 * np.pi, 2)
        made += np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length + phase)
    rate = 3 * np.maximum(made / np.sqrt(20), 0) ** 2
    return np.where(rate < 0.1, 0, rate).astype(np.float32)


def moving(x: float, y: float, frames: int = MOTION_FRAMES) -> Rain:
    """Frames of rain that moves so many pixels a timestep."""
    down, across = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    return np.stack([rain(across - k * x, down - k * y) for k in range(frames)])


@pytest.mark.parametrize(("x", "y"), [(3, 0), (-2, 1.5), (0, -6), (0.4, 0.3)])
def test_rain_that_is_shifted_has_that_motion_everywhere(x: float, y: float) -> None:
    motion = estimate_motion(moving(x, y))
    assert motion.shape == (2, *coarse_size(HEIGHT, WIDTH)) and motion.dtype == np.float32
    np.testing.assert_allclose(motion[0], x, atol=0.2)
    np.testing.assert_allclose(motion[1], y, atol=0.2)


def test_rain_that_turns_has_the_motion_of_a_rotation() -> None:
    turn = np.deg2rad(2.5)
    y, x = np.mgrid[:HEIGHT, :WIDTH] - np.array([HEIGHT, WIDTH])[:, None, None] / 2
    frames = [
        rain(
            x * np.cos(k * turn) + y * np.sin(k * turn), y * np.cos(k * turn) - x * np.sin(k * turn)
        )
        for k in range(-2, 2)
    ]
    motion = estimate_motion(np.stack(frames))
    down, across = np.mgrid[: motion.shape[1], : motion.shape[2]] * COARSE
    expected = turn * np.stack([HEIGHT / 2 - down, across - WIDTH / 2])
    error = np.hypot(*(motion - expected))
    inside = (slice(2, -3), slice(2, -3))
    assert error[inside].mean() < 0.25 < 1 < np.hypot(*expected)[inside].mean()


def test_only_the_newest_frames_count() -> None:
    older = moving(-4, 2)
    newest = moving(3, 1)
    both = estimate_motion(np.concatenate([older, newest]))
    np.testing.assert_array_equal(both, estimate_motion(newest))


@pytest.mark.parametrize("gone", [[1], [0, 2], [1, 2], [3]])
def test_over_missing_frames_the_motion_is_that_of_a_timestep(gone: list[int]) -> None:
    frames = moving(2, -1)
    frames[gone] = np.nan
    motion = estimate_motion(frames)
    np.testing.assert_allclose(motion[0], 2, atol=0.2)
    np.testing.assert_allclose(motion[1], -1, atol=0.2)


def test_missing_pixels_do_not_hold_the_rain_back() -> None:
    frames = moving(3, 1)
    frames[:, :, :40] = np.nan
    frames[:, 60:64] = np.nan
    motion = estimate_motion(frames)
    assert np.isfinite(motion).all()
    assert np.abs(np.median(motion, axis=(1, 2)) - [3, 1]).max() < 0.2


def test_an_outlier_is_left_out() -> None:
    """A patch that flies against all rain around it."""
    frames = moving(2, 0)
    for k, frame in enumerate(frames):
        frame[40:70, 60:90] = 0
        frame[50:56, 80 - 5 * k : 86 - 5 * k] = 40
    motion = estimate_motion(frames)
    assert np.abs(motion[0] - 2).max() < 4.5 and np.abs(np.median(motion[0]) - 2) < 0.1


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_nothing_to_follow_is_no_motion(value: float, frames: int) -> None:
    motion = estimate_motion(np.full((frames, 30, 41), value, np.float32))
    np.testing.assert_array_equal(motion, np.zeros((2, 5, 6)))


def test_one_frame_shows_no_motion() -> None:
    assert not estimate_motion(moving(3, 0, frames=1)).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (3, 300), (300, 3), (8, 8), (17, 26)])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_it_is_defined_on_any_grid(size: tuple[int, int], share: float) -> None:
    random = np.random.default_rng(5)
    frames = random.gamma(0.4, 8, (4, *size)).astype(np.float32)
    frames[random.random(frames.shape) < share] = np.nan
    motion = estimate_motion(frames)
    assert motion.shape == (2, *coarse_size(*size)) and np.isfinite(motion).all()
    np.testing.assert_array_equal(estimate_motion(frames), motion)


def test_frames_seen_again_are_followed_once_and_move_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    follow, followed = estimation.follow, []

    def watched(first: Rain, second: Rain, steps: int) -> estimation.Tracks:
        followed.append(steps)
        return follow(first, second, steps)

    monkeypatch.setattr(estimation, "follow", watched)
    monkeypatch.setattr(estimation, "_FOLLOWED", {})
    frames = moving(2, 1, 20)
    motions = [estimate_motion(frames[k : k + 4].copy()) for k in range(16)]
    assert len(followed) == 3 + 15  # each window but the first has one new pair
    assert len(estimation._FOLLOWED) == estimation._PAIRS_KEPT
    for k in (0, 7, 15):
        estimation._FOLLOWED.clear()
        np.testing.assert_array_equal(motions[k], estimate_motion(frames[k : k + 4]))


def test_frames_are_told_apart_by_each_pixel_their_shape_and_their_spacing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimation, "_FOLLOWED", {})
    frames = moving(2, 1, 2)
    other = frames.copy()
    other[1, 60, 70] = np.nan
    turned = frames.reshape(2, WIDTH, HEIGHT)  # the same bytes
    spaced = np.stack([frames[0], np.full_like(frames[0], np.nan), frames[1]])
    for known, one in enumerate([frames, other, turned, spaced], 1):
        estimate_motion(one)
        assert len(estimation._FOLLOWED) == known


def test_vectors_that_start_in_one_square_become_their_median() -> None:
    """Squares of 20 pixels, of three vectors and of two."""
    places = np.array([[1, 1], [3, 9], [2, 8], [25, 1], [39, 3]], np.float32)
    vectors = np.array([[5, 0], [1, 1], [2, 7], [1, 0], [2, 1]], np.float32)
    centres, medians, variance = _declustered(places, vectors)
    np.testing.assert_array_equal(centres, [[2, 8], [32, 2]])
    np.testing.assert_array_equal(medians, [[2, 1], [1.5, 0.5]])
    assert variance[1] / variance[0] == pytest.approx(3 / 2)


def test_it_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np; from nowcast.motion.estimation import estimate_motion;"
        " estimate_motion(np.ones((2, 9, 9), np.float32)); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
