"""Gaussian noise that varies over space and time as the newest rain does.

As in STEPS (Bowler et al. 2006, https://doi.org/10.1256/qj.04.100) the noise has the power spectrum
of the newest frame, and each scale of it fades as that scale of the rain did over the past frames
in the moving frame of reference: an autoregression of order 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_WET_RATE, _DRY_RATE = 0.1, 0.03
"""In mm/h: from which on a pixel is wet, and what a dry one has in the logarithm of the rate."""

LEAST_WET = 100
"""Wet pixels of the newest frame from which on its spectrum is used."""

DEFAULT_SLOPE = 3.0
"""Of a frame with less rain: the power falls with the wavenumber to this exponent, …"""

DEFAULT_LIFETIME = 0.5
"""… and a wave loses all but 1/e in so many timesteps for each pixel of its length."""

LONGEST_MEMORY = 0.99
"""The largest correlation from one lead time to the next, of waves as long as the grid."""

_TAPER = 8  # the outermost eighth of each side fades to 0 before a spectrum is taken


@dataclass(frozen=True)
class NoiseModel:
    """How noise varies over the grid, and from one lead time to the next.

    Args:
        size: (h, w) in pixels, at least those of the frames.
        amplitude: (h, w // 2 + 1) of each wave, such that the noise has a variance of 1.
        memory: (h, w // 2 + 1) the correlation of each wave with that of one timestep before.
    """

    size: tuple[int, int]
    amplitude: Tensor
    memory: Tensor


def noise_model(aligned: Tensor) -> NoiseModel:
    """Return the noise of the past rain in the moving frame of reference.

    Without enough rain in the newest frame the spectrum falls with `DEFAULT_SLOPE`, and without
    that in two frames, one timestep apart, waves live for `DEFAULT_LIFETIME`.

    Args:
        aligned: (t, h, w) in mm/h, NaN = missing, the newest frame last.
    """
    size = (_easy(aligned.shape[1]), _easy(aligned.shape[2]))
    rings = _rings(size)
    wet = (aligned >= _WET_RATE).flatten(1).sum(dim=1) >= LEAST_WET
    waves = [torch.fft.rfft2(_anomaly(frame), s=size) for frame in aligned]
    if bool(wet[-1]):
        power = waves[-1].abs().square()
        power[0, 0] = power[rings == 1].mean()  # a mean over the grid is as uncertain as its slope
    else:
        power = rings.clamp(min=1) ** -DEFAULT_SLOPE
    pairs = [(waves[k], waves[k + 1]) for k in range(len(waves) - 1) if wet[k] and wet[k + 1]]
    memory = _memory(pairs, rings) if pairs else _default_memory(rings, size)
    return NoiseModel(size, (power / _mean(power, size)).sqrt(), memory)


def noise_fields(model: NoiseModel, steps: int, count: int, seed: int) -> Iterator[Tensor]:
    """Make the noise of each lead time: (count, h, w), normally distributed, on the CPU.

    The same seed gives the same noise. It continues periodically beyond its size.

    Args:
        model: its variation over space and time.
        steps: lead times.
        count: independent fields.
        seed: of the random numbers.
    """
    random = torch.Generator().manual_seed(seed)
    news = (1 - model.memory.square()).sqrt() * model.amplitude
    waves = _white(model, count, random) * model.amplitude
    for step in range(steps):
        if step:
            waves = waves * model.memory + _white(model, count, random) * news
        yield torch.fft.irfft2(waves, s=model.size)


def _white(model: NoiseModel, count: int, random: torch.Generator) -> Tensor:
    waves: Tensor = torch.fft.rfft2(torch.randn(count, *model.size, generator=random))
    return waves


def _anomaly(frame: Tensor) -> Tensor:
    """The logarithm of rates (h, w), less its mean; 0 where missing, and towards the border."""
    logs = frame.clamp(min=_DRY_RATE).log()
    logs = torch.where(frame >= _WET_RATE, logs, math.log(_DRY_RATE))
    measured = ~frame.isnan()
    mean = _sum(logs * measured) / max(int(measured.sum()), 1)
    anomaly: Tensor = (logs - mean) * measured
    return anomaly * _window(frame.shape[0])[:, None] * _window(frame.shape[1])


def _window(length: int) -> Tensor:
    """(length,) 1, and falling to 0 at both ends."""
    place = torch.arange(length) + 0.5
    border = torch.minimum(place, length - place) * (_TAPER / length)
    return (border.clamp(max=1) * (math.pi / 2)).sin().square()


def _easy(length: int) -> int:
    """The next length whose Fourier transform is fast: a product of 2, 3 and 5."""
    while math.gcd(length, 2**12 * 3**8 * 5**6) < length:
        length += 1
    return length


def _rings(size: tuple[int, int]) -> Tensor:
    """The wavenumber of each coefficient (h, w // 2 + 1): waves along the longer side, rounded."""
    h, w = size
    down, across = torch.fft.fftfreq(h)[:, None], torch.fft.rfftfreq(w)
    rings: Tensor = ((down.square() + across.square()).sqrt() * max(size)).round()
    return rings


def _mean(power: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean over all coefficients, those that `rfft2` leaves out included."""
    twice = torch.full_like(power, 2.0)
    twice[:, 0] = 1
    if size[1] % 2 == 0:
        twice[:, -1] = 1
    return torch.tensor(_sum(power * twice) / (size[0] * size[1]))


def _sum(values: Tensor) -> float:
    """The sum, to the last bit the same for any number of threads, which that of torch is not."""
    return float(values.numpy().sum(dtype=np.float64))


def _memory(pairs: list[tuple[Tensor, Tensor]], rings: Tensor) -> Tensor:
    """The correlation of waves with those of the frame before, by octaves of the wavenumber; it
    never rises with the wavenumber.
    """
    octave = rings.clamp(min=1).log2()
    count = int(octave.max()) + 1
    place = octave.long().flatten()
    both, before, after = torch.stack([_products(*pair, place, count) for pair in pairs]).sum(0)
    known = both / (before * after).sqrt().clamp(min=1e-12)
    known = known.float().clamp(0, LONGEST_MEMORY).cummin(0).values
    middle = (octave - 0.5).clamp(0, count - 1)  # an octave's own value stands in its middle
    low = middle.long().clamp(max=count - 1)
    return torch.lerp(known[low], known[(low + 1).clamp(max=count - 1)], middle - low)


def _products(first: Tensor, second: Tensor, place: Tensor, count: int) -> Tensor:
    """(3, count) sums over waves by their place, of two frames: one with the other, each with
    itself.
    """
    products = (first * second.conj()).real, first.abs().square(), second.abs().square()
    return torch.stack([torch.bincount(place, one.double().flatten(), count) for one in products])


def _default_memory(rings: Tensor, size: tuple[int, int]) -> Tensor:
    return (-rings.clamp(min=1) / (max(size) * DEFAULT_LIFETIME)).exp().clamp(max=LONGEST_MEMORY)
