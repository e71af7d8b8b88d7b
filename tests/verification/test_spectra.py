"""Power spectra: waves and noise whose spectrum is known, and pysteps' (without which its tests
are skipped).
"""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.errors import DataError, InternalError
from nowcast.verification import spectra
from nowcast.verification.spectra import member_power, power_ratio, power_sums, wavenumbers

NAN = float("nan")


def wave(h: int, w: int, cycles_y: int, cycles_x: int) -> Tensor:
    """A cosine of so many cycles over the height and over the width, (1, 1, h, w)."""
    y, x = (
        torch.arange(h, dtype=torch.float64)[:, None] / h,
        torch.arange(w, dtype=torch.float64) / w,
    )
    return torch.cos(2 * math.pi * (cycles_y * y + cycles_x * x))[None, None]


def power(field: Tensor) -> Tensor:
    """(W,) of the first frame."""
    return power_sums(field, field)["observed_power"][0, 0]


def coefficients(side: int) -> list[int]:
    """How many of side × side coefficients lie in each ring, counted one by one."""
    cycles = [k if k < (side + 1) // 2 else k - side for k in range(side)]
    rings = [round(math.hypot(y, x)) for y in cycles for x in cycles]
    return [rings.count(r) for r in range(len(wavenumbers(side, side)))]


def test_wavenumbers_run_from_0_to_below_a_half() -> None:
    assert wavenumbers(8, 8).tolist() == [0, 1 / 8, 2 / 8, 3 / 8]
    assert wavenumbers(5, 3).tolist() == [0, 1 / 5, 2 / 5]
    assert wavenumbers(4, 10).tolist() == [0, 0.1, 0.2, pytest.approx(0.3), 0.4]


def test_the_power_of_members_is_not_that_of_their_mean() -> None:
    """A wave and its opposite: their mean is even, each of them has all of its power."""
    one = wave(16, 16, 0, 3)
    members = torch.stack([one, -one], dim=2)
    found = member_power(members, one)
    torch.testing.assert_close(found[0, 0], power(one))
    assert power_sums(members.mean(2), one)["forecast_power"].abs().max() < 1e-12


@pytest.mark.parametrize(
    ("cycles_y", "cycles_x", "ring"),
    [(0, 5, 5), (5, 0, 5), (3, 4, 5), (-6, 2, 6), (0, 1, 1), (9, 9, 13)],
)
def test_a_plane_wave_has_all_its_power_at_its_wavenumber(
    cycles_y: int, cycles_x: int, ring: int
) -> None:
    """Two coefficients, (h w / 2)² each, over h w: their mean over the ring is h w / 2 /
    coefficients.
    """
    spectrum = power(3 * wave(32, 32, cycles_y, cycles_x))
    assert spectrum[ring].item() == pytest.approx(9 * 32 * 32 / 2 / coefficients(32)[ring])
    spectrum[ring] = 0
    assert spectrum.abs().max() < 1e-20


def test_beyond_half_a_cycle_per_pixel_nothing_is_counted() -> None:
    assert power(wave(32, 32, 15, 15)).max() < 1e-20
    assert power(wave(32, 32, 0, 16)).max() < 1e-20


@pytest.mark.parametrize(("h", "w"), [(32, 64), (64, 32)])
def test_waves_of_one_length_are_in_one_ring_whatever_the_shape_of_the_grid(h: int, w: int) -> None:
    """Eight pixels from crest to crest, across and down."""
    for spectrum in (power(wave(h, w, 0, w // 8)), power(wave(h, w, h // 8, 0))):
        assert wavenumbers(h, w)[spectrum.argmax()] == 1 / 8
        assert spectrum.sort().values[-2] < 1e-20


@pytest.mark.parametrize(("h", "w"), [(5, 4), (4, 5), (6, 10), (10, 6), (7, 3), (8, 8)])
def test_a_ring_is_the_mean_of_its_coefficients_one_by_one(h: int, w: int) -> None:
    field = np.random.default_rng(h).random((h, w))
    rings: dict[int, list[float]] = {}
    for i in range(h):
        for j in range(w):
            waves = [
                np.exp(-2j * np.pi * (i * y / h + j * x / w)) for y in range(h) for x in range(w)
            ]
            cycles = min(i, h - i) / h, min(j, w - j) / w
            rings.setdefault(round(math.hypot(*cycles) * max(h, w)), []).append(
                abs(waves @ field.ravel()) ** 2 / (h * w)
            )
    expected = [np.mean(rings[r]) for r in range(len(wavenumbers(h, w)))]
    np.testing.assert_allclose(power(torch.from_numpy(field)[None, None]), expected, rtol=1e-10)


@pytest.mark.parametrize("side", [24, 25])
def test_all_power_together_is_the_sum_of_squares(side: int) -> None:
    """Parseval, of a field without anything in the corners."""
    field = (
        0.7
        + wave(side, side, 2, 3)
        + 2 * wave(side, side, -5, 4)
        + 0.5 * wave(side, side, 0, 11)
        + wave(side, side, 7, 0)
    )
    total = sum(
        number * mean
        for number, mean in zip(coefficients(side), power(field).tolist(), strict=True)
    )
    assert total == pytest.approx(field.square().sum().item(), rel=1e-12)


def test_white_noise_has_its_variance_at_every_wavenumber() -> None:
    noise = 2 * torch.randn(
        20, 5, 48, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    mean = power_sums(noise, noise)["forecast_power"].mean((0, 1))
    torch.testing.assert_close(mean[3:], torch.full_like(mean[3:], 4.0), rtol=0.1, atol=0)


def test_a_blurred_field_loses_at_high_wavenumbers() -> None:
    """A mean of three neighbours lets (1 + 2 cos 2πk) / 3 of a wave of wavenumber k pass."""
    field = torch.rand(
        1, 1, 1, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    ).expand(1, 1, 64, 64)
    blurred = (field.roll(1, -1) + field + field.roll(-1, -1)) / 3
    sums = power_sums(blurred, field)
    ratio = power_ratio(sums["forecast_power"], sums["observed_power"])[0, 0]
    np.testing.assert_allclose(
        ratio, ((1 + 2 * np.cos(2 * np.pi * wavenumbers(64, 64))) / 3) ** 2, rtol=1e-9, atol=1e-15
    )
    assert (np.diff(ratio[:21]) < 0).all() and ratio[21] < 1e-3


def test_a_ratio_to_nothing_is_undefined() -> None:
    ratio = power_ratio([1.0, 0.0, 2.0], torch.tensor([2.0, 0.0, 0.0]))
    assert ratio[0] == 0.5 and np.isnan(ratio[1:]).all()


def test_a_missing_pixel_is_dry_in_both() -> None:
    forecast, observed = torch.rand(1, 2, 10, 12), torch.rand(1, 2, 10, 12)
    filled = [field.clone() for field in (forecast, observed)]
    for field in filled:
        field[..., 3, 4], field[..., 7, :] = 0, 0
    forecast[..., 3, 4], observed[..., 7, :] = NAN, NAN
    expected = power_sums(*filled)
    for name, spectrum in power_sums(forecast, observed).items():
        assert torch.equal(spectrum, expected[name])


@pytest.mark.parametrize("frames_at_once", [1, 4, 100])
def test_frames_looked_at_together_are_as_alone(
    frames_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast, observed = torch.rand(2, 3, 9, 8), torch.rand(2, 3, 9, 8)
    monkeypatch.setattr(spectra, "_PIXELS_AT_ONCE", frames_at_once * 72)
    sums = power_sums(forecast, observed)
    for b in range(2):
        for lead in range(3):
            torch.testing.assert_close(
                sums["forecast_power"][b, lead], power(forecast[b : b + 1, lead : lead + 1])
            )
            torch.testing.assert_close(
                sums["observed_power"][b, lead], power(observed[b : b + 1, lead : lead + 1])
            )


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 6), (7, 1), (2, 2), (3, 3)])
def test_small_grids_have_the_wavenumbers_that_they_can(h: int, w: int) -> None:
    spectrum = power(torch.full((1, 1, h, w), 2.0))
    assert len(spectrum) == len(wavenumbers(h, w)) >= 1
    assert spectrum[0].item() == pytest.approx(4 * h * w)
    assert spectrum[1:].abs().sum() < 1e-20


def test_what_has_no_spectrum_is_refused() -> None:
    field = torch.ones(1, 1, 4, 4)
    with pytest.raises(DataError, match="cannot be compared"):
        power_sums(field, field[..., :3])
    for forecast, observed in [
        (field * math.inf, field),
        (field, field * -math.inf),
        (field * math.inf, field * math.inf),
    ]:
        with pytest.raises(InternalError, match="infinite"):
            power_sums(forecast, observed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_does() -> None:
    forecast, observed = torch.rand(2, 3, 64, 50), torch.rand(2, 3, 64, 50)
    on_gpu = power_sums(forecast.cuda(), observed.cuda())
    for name, spectrum in power_sums(forecast, observed).items():
        torch.testing.assert_close(on_gpu[name], spectrum, rtol=1e-10, atol=0)


@pytest.fixture(scope="module")
def rapsd() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pysteps.utils.spectral").rapsd


@pytest.mark.parametrize("side", [7, 32, 45, 64])
def test_pysteps_agrees_on_square_grids(rapsd: Any, side: int) -> None:
    rain = np.random.default_rng(side).gamma(0.4, 15.0, (side, side))
    theirs, frequencies = rapsd(rain, fft_method=np.fft, return_freq=True)
    np.testing.assert_allclose(power(torch.from_numpy(rain)[None, None]), theirs, rtol=1e-10)
    np.testing.assert_allclose(wavenumbers(side, side), frequencies)


def test_pysteps_puts_waves_of_one_length_into_two_rings_of_a_grid_that_is_not_square(
    rapsd: Any,
) -> None:
    """It takes cycles per side for cycles per pixel on both sides: eight pixels down are then
    the frequency of sixteen.
    """
    across, down = wave(32, 64, 0, 8)[0, 0].numpy(), wave(32, 64, 4, 0)[0, 0].numpy()
    for field, frequency in ((across, 1 / 8), (down, 1 / 16)):
        theirs, frequencies = rapsd(field, fft_method=np.fft, return_freq=True)
        assert frequencies[theirs.argmax()] == frequency
        assert wavenumbers(32, 64)[power(torch.from_numpy(field)[None, None]).argmax()] == 1 / 8
