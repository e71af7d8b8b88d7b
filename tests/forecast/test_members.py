"""Members drawn from probabilities: each a field, all together with these probabilities."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.forecast.file_probability import FileProbabilities
from nowcast.forecast.members import draw_members, with_members, with_members_of_scene
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.motion.grid import coarse_size
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities

pytest.importorskip("cv2")

LADDER = (0.5, 2.0, 8.0)
SIZE = (64, 72)


def past(columns: int = 0, steps: int = 4) -> Tensor:
    """Showers that move so many columns a timestep, (t, h, w) in mm/h."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frames = np.zeros((steps, *SIZE), np.float32)
    for row, column in np.random.default_rng(3).integers(5, 60, (14, 2)):
        for step, frame in enumerate(frames):
            east = column + columns * (step - steps + 1)
            frame += 12 * np.exp(-((x - east) ** 2 + (y - row) ** 2) / 14)
    return torch.from_numpy(np.where(frames >= 0.1, frames, 0)).float()


def probabilities(leads: int = 2) -> Probabilities:
    """From left to right rain becomes more probable."""
    rising = torch.linspace(0, 1, SIZE[1]).expand(leads, *SIZE)
    return Probabilities(LADDER, torch.stack([rising, rising**2, rising**4], dim=1)[None])


def test_the_share_of_members_is_the_probability() -> None:
    given = probabilities(leads=1)
    members = draw_members(given, past(), 1000, seed=0)
    assert members.shape == (1, 1000, *SIZE)
    for threshold in (*LADDER, 1.0, 4.0):
        share, wanted = (members >= threshold).float().mean(1), given.at([threshold])[0, :, 0]
        assert (share - wanted).abs().max() < 0.08, threshold  # five deviations of 1000 draws
        assert (share - wanted).mean().abs() < 0.005, threshold


def test_no_member_has_rain_that_a_file_calls_impossible() -> None:
    """Where all is dry a model's probabilities are 0.001 to 0.002, of heavy rain too; a file writes
    0, and some pixel of a circle had rain in every second member.
    """
    values = torch.full((1, 1, 3, *SIZE), 0.0024)
    values[..., 0] = 0.0026
    members = draw_members(Probabilities(LADDER, values), torch.zeros(4, *SIZE), 300, seed=0)
    assert (members[..., 1:] == 0).all() and (members[..., 0] >= 8).any()


def test_members_are_fields_and_not_specks() -> None:
    members = draw_members(probabilities(12), past(), 20, seed=0)[-1]
    wet = (members >= 0.5)[..., 30:42].float() - 0.5
    assert (wet[..., 1:] * wet[..., :-1]).mean() * 4 > 0.6  # neighbours are alike, 0 of specks


def test_members_move_with_the_rain() -> None:
    """Of even chances: a member of the second lead time is that of the first, moved."""
    even = Probabilities(LADDER, torch.full((1, 2, 3, *SIZE), 0.5))
    first, second = (draw_members(even, past(columns=3), 30, seed=0) >= 0.5).float() - 0.5
    moved = float((second[..., 3:] * first[..., :-3]).mean() * 4)
    still = float((second * first).mean() * 4)
    assert moved > 0.7 and moved > still + 0.2


def test_members_move_by_a_motion_that_is_given() -> None:
    """A case has its own motion; a single frame tells none."""
    motion = torch.zeros(2, 2, *coarse_size(*SIZE))
    motion[1, 0] = 3  # to the right
    even = Probabilities(LADDER, torch.full((2, 2, 3, *SIZE), 0.5))
    both, rain = Forecast(torch.zeros(2, 2, 1, *SIZE), even), past(steps=1).expand(2, 1, *SIZE)
    given = with_members(both, rain, 30, seed=0, motion=motion).members
    estimated = with_members(both, rain, 30, seed=0).members
    assert given is not None and estimated is not None and torch.equal(given[0], estimated[0])
    first, second = (given[1] >= 0.5).float() - 0.5
    moved = float((second[..., 3:] * first[..., :-3]).mean() * 4)
    still = float((second * first).mean() * 4)
    assert moved > still + 0.2


def test_a_case_has_the_same_members_in_any_batch() -> None:
    values = torch.cat([probabilities().values, probabilities().values / 2])
    rain = torch.stack([past(), past(columns=2)])
    both = Forecast(torch.zeros(2, 2, 1, *SIZE), Probabilities(LADDER, values))
    members = with_members(both, rain, 3, seed=7).members
    assert members is not None and members.shape == (2, 2, 3, *SIZE)
    alone = draw_members(Probabilities(LADDER, values[1:]), rain[1], 3, seed=7)
    assert torch.equal(members[1], alone)
    other = draw_members(Probabilities(LADDER, values[1:]), rain[1], 3, seed=8)
    assert not torch.equal(alone, other)
    scene = SceneForecast(
        np.zeros((2, *SIZE), np.float32), FileProbabilities(LADDER, values[1].numpy())
    )
    np.testing.assert_array_equal(
        with_members_of_scene(scene, rain[1].numpy(), 3, seed=7).members, alone.numpy()
    )


def test_a_seed_gives_the_same_members_on_any_number_of_threads() -> None:
    threads, made = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            made.append(draw_members(probabilities(), past(columns=2), 6, seed=1))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*made)


def test_members_are_missing_where_the_probabilities_are() -> None:
    given = probabilities()
    given.values[0, 1, 0, :10] = math.nan
    members = draw_members(given, past(), 4, seed=0)
    assert members[1, :, :10].isnan().all() and members[1, :, 10:].isfinite().all()
    assert members[0].isfinite().all()


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_a_past_without_rain_has_members_all_the_same(value: float) -> None:
    members = draw_members(probabilities(), torch.full((4, *SIZE), value), 100, seed=0)
    assert abs((members[0] >= 0.5).float().mean() - 0.5) < 0.06


def test_a_forecast_without_probabilities_stays_as_it_is() -> None:
    plain = Forecast(torch.zeros(1, 2, 1, *SIZE))
    assert with_members(plain, past()[None], 3, seed=0) is plain
