"""Gaussian noise that varies over space and time as the error of a forecast does.

As in STEPS (Bowler et al. 2006, https://doi.org/10.1256/qj.04.100) the noise has the power spectrum
of the newest frame, as far as each wave became unpredictable: short waves do so at once, long ones
late. So the noise of the first lead time is fine, and later it becomes as the rain itself. How fast
is estimated from the past frames in the moving frame of reference.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

_WET_RATE, _DRY_RATE = 0.1, 0.03
"""In mm/h: from which on a pixel is wet, and what a dry one has in the logarithm of the rate."""

LEAST_WET = 100
"""Wet pixels of the newest frame from which on its spectrum is used."""

DEFAULT_SLOPE = 3.0
"""Of a frame with less rain: the power falls with the wavenumber to this exponent, …"""

DEFAULT_LENGTH = 4.0
"""… and waves of so many pixels keep 1/e from one timestep to the next; longer ones keep more."""

LONGEST_MEMORY = 0.9999
"""The largest correlation from one timestep to the next, of waves as long as the grid."""

GROWTH = 1.5
"""The logarithm of what a forecast knows of a wave falls with lead time to this exponent. Of rain
that only changes it would be 1, of rain that only leaves its path 2; errors on RADOLAN grow so.
"""

_TAPER = 8  # the outermost eighth of each side fades to 0 before a spectrum is taken


@dataclass(frozen=True)
class NoiseModel:
    """How noise varies over the grid, and from one lead time to the next.

    Args:
        size: (h, w) in pixels, at least those of the frames.
        amplitude: (h, w // 2 + 1) of each wave, such that the noise has a variance of 1.
        memory: (h, w // 2 + 1) the correlation of each wave with itself one timestep before.
    """

    size: tuple[int, int]
    amplitude: Tensor
    memory: Tensor


def noise_model(aligned: Tensor) -> NoiseModel:
    """Return the noise of the past rain in the moving frame of reference.

    Without enough rain in the newest frame, as of a dry or missing one, the spectrum follows
    `DEFAULT_SLOPE`; and without enough in two frames, one timestep apart, the memory follows
    `DEFAULT_LENGTH`.

    Args:
        aligned: (t, h, w) in mm/h, NaN = missing, the newest frame last.
    """
    size = (_easy(aligned.shape[1]), _easy(aligned.shape[2]))
    rings = _rings(size)
    if _is_wet(aligned[-1]):
        power = _waves(aligned[-1], size).abs().square()
        power[0, 0] = power[rings == 1].mean()  # a mean over the grid is as uncertain as its slope
    else:
        power = rings.clamp(min=1) ** -DEFAULT_SLOPE
    pairs = [(one, next_) for one, next_ in pairwise(aligned) if _is_wet(one) and _is_wet(next_)]
    memory = _memory(pairs, size) if pairs else _default_memory(size)
    return NoiseModel(size, (power / _mean(power, size)).sqrt(), memory)


def noise_fields(model: NoiseModel, steps: int, count: int, seed: int) -> Iterator[Tensor]:
    """Make the noise of each lead time: (count, h, w), normally distributed, on the CPU.

    Each wave changes from one lead time to the next by an autoregression of order 1, whose
    correlation is its memory, and grows with what is not known of it by then. The same seed gives
    the same noise. It continues periodically beyond its size.

    Args:
        model: its variation over space and time.
        steps: lead times.
        count: independent fields.
        seed: of the random numbers.
    """
    random = torch.Generator().manual_seed(seed)
    news = (1 - model.memory.square()).sqrt()
    waves = _white(model, count, random)
    for step in range(1, steps + 1):
        if step > 1:
            waves = waves * model.memory + _white(model, count, random) * news
        unknown = 1 - model.memory ** (2 * step**GROWTH)
        amplitude = model.amplitude * unknown.sqrt()
        deviation = _mean(amplitude.square(), model.size).sqrt()
        yield torch.fft.irfft2(waves * (amplitude / deviation), s=model.size)


def _white(model: NoiseModel, count: int, random: torch.Generator) -> Tensor:
    waves: Tensor = torch.fft.rfft2(torch.randn(count, *model.size, generator=random))
    return waves


def _is_wet(frame: Tensor) -> bool:
    return int((frame >= _WET_RATE).sum()) >= LEAST_WET


def _waves(frame: Tensor, size: tuple[int, int]) -> Tensor:
    waves: Tensor = torch.fft.rfft2(_anomaly(frame), s=size)
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


def _memory(pairs: Sequence[tuple[Tensor, Tensor]], size: tuple[int, int]) -> Tensor:
    """The correlation of waves with those of the frame before, by octaves of the wavenumber; it
    never rises with the wavenumber.
    """
    octave = _rings(size).clamp(min=1).log2()
    count = int(octave.max()) + 1
    products = torch.stack([_products(*pair, octave, size) for pair in pairs])
    both, before, after = products.sum(dim=0)
    known = both / (before * after).sqrt().clamp(min=1e-12)
    known = known.float().clamp(0, LONGEST_MEMORY).cummin(0).values
    middle = (octave - 0.5).clamp(0, count - 1)  # an octave's own value stands in its middle
    low = middle.long()
    return torch.lerp(known[low], known[(low + 1).clamp(max=count - 1)], middle - low)


def _products(first: Tensor, second: Tensor, octave: Tensor, size: tuple[int, int]) -> Tensor:
    """(3, octave) sums over the waves of two frames: one with the other, each with itself."""
    missing = first.isnan() | second.isnan()  # as what came from outside since then
    one, other = (_waves(frame.masked_fill(missing, math.nan), size) for frame in (first, second))
    products = (one * other.conj()).real, one.abs().square(), other.abs().square()
    place = octave.long().flatten()
    return torch.stack([torch.bincount(place, each.double().flatten()) for each in products])


def _default_memory(size: tuple[int, int]) -> Tensor:
    waves_per_pixel = _rings(size).clamp(min=1) / max(size)
    return (-(waves_per_pixel * DEFAULT_LENGTH).square()).exp().clamp(max=LONGEST_MEMORY)
