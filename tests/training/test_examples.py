"""The validation cases that are shown: the same in every epoch, and forecast as `predict` does."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.sequences.batch import build_batch
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick
from nowcast.training.examples import Examples, join_examples

SCALING = Scaling("linear", 10.0, 0.5)
INPUT_STEPS, LEAD_STEPS = 2, 8


def windows(amounts: list[float]) -> list[Tensor]:
    """A window (t, 1, 4, 5) for each amount of rain [mm/h], which falls from the first lead time
    on; pixel (0, 0) is not covered.
    """
    made = []
    for amount in amounts:
        window = torch.zeros(INPUT_STEPS + LEAD_STEPS, 1, 4, 5)
        window[INPUT_STEPS:] = amount
        window[..., 0, 0] = torch.nan
        made.append(window)
    return made


def chosen(amounts: list[float], batch_size: int = 2, rank: int = 0, size: int = 1) -> Examples:
    """The examples of the process `rank` of `size`, which take batches in turn."""
    picks = [Pick(start) for start in range(len(amounts))]
    examples = Examples(picks, LEAD_STEPS)
    made = windows(amounts)
    for first in range(rank * batch_size, len(made), size * batch_size):
        batch = build_batch(torch.stack(made[first : first + batch_size]), SCALING, INPUT_STEPS)
        forecast = torch.linspace(0.1, 0.8, LEAD_STEPS)[:, None, None, None]
        examples.add(forecast.expand(len(batch.rates), -1, 1, 4, 5), batch, first)
    return examples


@pytest.mark.parametrize(
    ("amounts", "starts"),
    [
        ([1, 3, 2, 2, 0, 0, 5, 6], [1, 2, 4, 7]),  # of each two the wetter, of equal ones the first
        ([9, 1, 2, 3], [0, 1, 2, 3]),
        ([4, 5], [0, 1]),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4]),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_of_each_quarter_of_the_windows_the_wettest_is_shown(
    amounts: list[float], starts: list[int], batch_size: int
) -> None:
    made = chosen(amounts, batch_size).made(SCALING, None)
    assert [one.pick.start for one in made] == starts
    assert [one.number for one in made] == list(range(1, len(starts) + 1))
    assert [one.observed[0, 1, 1] for one in made] == [amounts[start] for start in starts]


@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_show_the_windows_that_one_does(size: int) -> None:
    amounts = [1.0, 3, 2, 2, 0, 0, 5, 6, 1]
    parts = [chosen(amounts, 2, rank, size) for rank in range(size)]
    made = join_examples(parts).made(SCALING, None)
    alone = chosen(amounts, 2).made(SCALING, None)
    assert [one.pick for one in made] == [one.pick for one in alone]


def test_four_lead_times_are_shown_with_the_last_in_mm_per_hour() -> None:
    """Of the 2nd, 4th, 6th and 8th frame 0.2, 0.4, 0.6 and 0.8 of 10 mm/h."""
    (one, *_) = chosen([1, 2]).made(SCALING, None)
    assert one.leads == (2, 4, 6, 8)
    assert one.forecast.shape == one.observed.shape == (4, 4, 5)
    assert one.forecast[:, 2, 3] == pytest.approx([2, 4, 6, 8])
    assert np.isnan(one.forecast[:, 0, 0]).all() and np.isnan(one.observed[:, 0, 0]).all()
    assert np.isfinite(one.forecast).sum() == 4 * 19


@pytest.mark.parametrize(
    ("lead_steps", "leads"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (12, (3, 6, 9, 12))]
)
def test_fewer_lead_times_are_shown_of_short_forecasts(
    lead_steps: int, leads: tuple[int, ...]
) -> None:
    assert Examples([Pick(0)], lead_steps).leads == leads
