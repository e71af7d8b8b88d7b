"""Trajectories and frames along them, compared with values computed by hand."""

import math

import pytest
import torch
from torch import Tensor

from nowcast.motion.advection import displacements, move, refine
from nowcast.motion.grid import COARSE, coarse_size

SIZE = 49, 57


def steady(x: float, y: float) -> Tensor:
    """A motion (1, 2, hc, wc) that is the same everywhere."""
    return (
        torch.tensor([x, y], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, *coarse_size(*SIZE))
    )


def rotating(turn: float) -> Tensor:
    """A motion (1, 2, hc, wc) that turns around the middle by `turn` radians a timestep."""
    rows, columns = coarse_size(*SIZE)
    y = torch.arange(rows)[:, None] * COARSE - SIZE[0] // 2
    x = torch.arange(columns)[None, :] * COARSE - SIZE[1] // 2
    return turn * torch.stack([-y.expand(rows, columns), x.expand(rows, columns)])[None].float()


def test_rain_in_a_steady_motion_is_moved_by_it() -> None:
    frame = torch.rand(1, 1, 1, *SIZE)
    back = refine(displacements(steady(2, -3), 4, backward=True), SIZE)
    moved = move(frame.expand(1, 4, 1, -1, -1), back)
    torch.testing.assert_close(back[0, :, 0, 0, 0], torch.tensor([-2.0, -4, -6, -8]))
    torch.testing.assert_close(moved[0, 1, 0, :-6, 4:], frame[0, 0, 0, 6:, :-4])


def test_what_comes_from_outside_is_missing() -> None:
    back = refine(displacements(steady(2, 0), 1, backward=True), SIZE)
    moved = move(torch.ones(1, 1, 1, *SIZE), back)[0, 0, 0]
    assert moved[:, :2].isnan().all()
    assert (moved[:, 2:] == 1).all()


def test_a_rotation_turns_rain_by_its_angle() -> None:
    middle, steps, turn = SIZE[0] // 2, 10, math.radians(9)
    travelled = refine(displacements(rotating(turn), steps), SIZE)[0, -1]
    y, x = torch.meshgrid(*(torch.arange(n) - n // 2 for n in SIZE), indexing="ij")
    near = x.square() + y.square() <= (middle - 4) ** 2
    # after ten steps of nine degrees, a quarter turn: (x, y) → (−y, x)
    error = torch.hypot(travelled[0] - (-y - x), travelled[1] - (x - y))
    assert error[near].max() < 0.2


def test_there_and_back_along_a_flow_without_divergence_is_where_it_began() -> None:
    there = displacements(rotating(math.radians(5)), 6)[:, -1:]
    blob = torch.exp(-((torch.arange(SIZE[1]) - 34.0) ** 2) / 50)
    blob = (blob * torch.exp(-((torch.arange(SIZE[0])[:, None] - 20.0) ** 2) / 50))[
        None, None, None
    ]
    back = displacements(rotating(math.radians(5)), 6, backward=True)[:, -1:]
    moved = move(blob, refine(back, SIZE))
    again = move(moved, refine(there, SIZE))
    inner = (..., slice(12, -12), slice(12, -12))
    torch.testing.assert_close(again[inner], blob[inner], atol=0.03, rtol=0)


def test_the_nearest_pixel_keeps_every_value_as_it_was_measured() -> None:
    frame = torch.rand(1, 1, 1, *SIZE)
    moved = move(frame, refine(displacements(steady(0.6, 0.3), 1), SIZE), nearest=True)
    torch.testing.assert_close(moved[..., :-1], frame[..., 1:], rtol=0, atol=0)


@pytest.mark.parametrize("nearest", [False, True])
def test_a_missing_pixel_is_missing_where_it_is_moved_to(nearest: bool) -> None:
    frame = torch.rand(1, 1, 1, *SIZE)
    frame[..., 20, 30] = torch.nan
    moved = move(frame, refine(displacements(steady(3, 2), 1), SIZE), nearest=nearest)
    assert moved[..., 18, 27].isnan().all()
    assert moved[..., :-2, :-3].isnan().sum() == 1


def test_gradients_flow_to_the_motion() -> None:
    motion = steady(1.3, 0.4).clone().requires_grad_()
    ramp = torch.arange(SIZE[1], dtype=torch.float32).expand(1, 1, 1, *SIZE)
    moved = move(ramp, refine(displacements(motion, 1), SIZE))
    moved[..., 10:20, 10:20].sum().backward()  # type: ignore[no-untyped-call]
    assert motion.grad is not None
    # each of the 100 pixels is displaced in x by the motion itself, on a ramp of slope 1
    torch.testing.assert_close(motion.grad[0, 0].sum(), torch.tensor(100.0))


def test_the_coarse_grid_reaches_to_the_last_pixel() -> None:
    for length in (1, 2, 8, 9, 10, 190):
        points, _ = coarse_size(length, 1)
        assert (points - 1) * COARSE >= length - 1 > (points - 2) * COARSE


def test_a_part_of_the_grid_is_refined_as_within_the_whole() -> None:
    coarse = torch.rand(2, 3, 2, *coarse_size(*SIZE))
    whole = refine(coarse, SIZE)
    for size, corner in (((20, 9), (13, 30)), ((1, 1), (48, 56)), ((49, 1), (0, 8))):
        part = refine(coarse, size, corner)
        rows = slice(corner[0], corner[0] + size[0])
        torch.testing.assert_close(part, whole[..., rows, corner[1] : corner[1] + size[1]])
