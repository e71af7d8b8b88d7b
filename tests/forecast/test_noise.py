"""Noise that varies over space and time as the newest rain does."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.forecast.noise import LONGEST_MEMORY, NoiseModel, noise_fields, noise_model

SIZE = (60, 64)


def rain(width: float, seed: int = 0) -> Tensor:
    """A frame (h, w) with rain on about half of it, of structures so many pixels wide."""
    random = torch.randn(*SIZE, generator=torch.Generator().manual_seed(seed))
    down, across = torch.fft.fftfreq(SIZE[0])[:, None], torch.fft.rfftfreq(SIZE[1])
    smooth = (-2 * (math.pi * width) ** 2 * (down.square() + across.square())).exp()
    field = torch.fft.irfft2(torch.fft.rfft2(random) * smooth, s=SIZE)
    rates: Tensor = (field / field.std()).exp()
    return rates.where(field > 0, 0.0)


def model_of(frames: Iterable[Tensor]) -> NoiseModel:
    return noise_model(torch.stack(list(frames)).numpy())


def fields_of(model: NoiseModel, steps: int, count: int, seed: int = 0) -> list[Tensor]:
    return [torch.from_numpy(one) for one in noise_fields(model, steps, count, seed)]


def next_to(fields: Tensor, apart: int) -> float:
    """The correlation of pixels so far apart along a row, of fields of mean 0."""
    product = (fields[..., apart:] * fields[..., :-apart]).mean()
    return float(product / fields.square().mean())


def last(model: NoiseModel, steps: int = 12, count: int = 20) -> Tensor:
    return fields_of(model, steps, count)[-1]


def test_each_pixel_is_normal_at_each_lead_time() -> None:
    model = model_of(rain(3, seed) for seed in (1, 1, 1))
    for fields in fields_of(model, 3, 1000):
        assert fields.mean(0).abs().max() < 0.16
        assert (fields.std(0) - 1).abs().max() < 0.12
        assert abs((fields > 1.6449).float().mean() - 0.05) < 0.003


@pytest.mark.parametrize("width", [1.5, 4.0])
def test_it_becomes_correlated_as_the_newest_frame_is(width: float) -> None:
    """Frames that have nothing to do with each other: nothing of the rain is known for long."""
    model = model_of(rain(width, seed) for seed in range(3))
    fields, newest = last(model), rain(width, 2).clamp(min=0.03).log()
    for apart in (1, 2, 4):
        known = next_to(newest - newest.mean(), apart)
        assert abs(next_to(fields, apart) - known) < 0.12, apart


def changing(share: float) -> Iterator[Tensor]:
    """Frames whose short waves change by so much from one to the next."""
    for seed in range(4):
        yield rain(6, 0) * (1 + share * torch.rand(*SIZE, generator=_random(seed)))


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_is_fine_at_first_and_coarser_with_lead_time() -> None:
    model = model_of(changing(2.0))
    first, *_, late = fields_of(model, 12, 20)
    assert next_to(first, 4) < 0.5 * next_to(late, 4)
    assert (np.diff(model.memory[0]) <= 0).all() and model.memory.max() <= LONGEST_MEMORY


def test_it_changes_from_lead_time_to_lead_time_as_the_rain_did() -> None:
    def likeness(model: NoiseModel) -> float:
        one, other = fields_of(model, 2, 50)
        return float((one * other).mean())

    alike = model_of([rain(4)] * 3)
    unlike = model_of(rain(4, seed) for seed in range(3))
    assert likeness(alike) > 0.95 and likeness(unlike) < 0.4


@pytest.mark.parametrize("value", [0.0, math.nan])
@pytest.mark.parametrize("frames", [1, 3])
def test_dry_and_missing_frames_have_a_default(value: float, frames: int) -> None:
    fields = last(model_of([torch.full(SIZE, value)] * frames), count=100)
    assert fields.isfinite().all() and abs(fields.std() - 1) < 0.1
    assert next_to(fields, 1) > 0.8 and next_to(fields, 1) > next_to(fields, 8) > 0


def test_a_single_pixel_has_noise_too() -> None:
    assert last(model_of([torch.zeros(1, 1)]), count=100).isfinite().all()


def test_a_uniform_frame_after_dry_ones_has_the_default_too() -> None:
    dry, uniform = torch.zeros(SIZE), torch.full(SIZE, 3.0)
    fields = last(model_of([dry, dry, uniform]), count=100)
    assert fields.isfinite().all() and abs(fields.std() - 1) < 0.1


def test_the_border_of_what_is_measured_is_no_structure() -> None:
    """A frame that is measured on its left half only, and rains there everywhere alike."""
    half = 5 * torch.rand(*SIZE, generator=_random(0)) + 1
    half[:, 32:] = math.nan
    assert next_to(last(model_of([half, half])), 1) < 0.3


def test_a_seed_gives_the_same_noise() -> None:
    model = model_of(rain(3, seed) for seed in (0, 0, 1))
    one, again, other = (fields_of(model, 2, 4, seed)[-1] for seed in (5, 5, 6))
    assert torch.equal(one, again) and not torch.equal(one, other)
