"""Gaussian noise that varies over space and time like the error of a forecast.

As in STEPS (Bowler et al. 2006, https://doi.org/10.1256/qj.04.100) the noise has the power spectrum
of the newest frame, weighted by how unpredictable each wave has become: short waves do so at once,
long ones late. So the noise is fine at the first lead time and later looks like the rain itself.
The rate of this change is estimated from the past frames in the moving frame of reference.

Everything is computed by NumPy, identical to the last bit on any number of threads.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nowcast.arrays import Float32Array, Float64Array

Waves = NDArray[np.complexfloating]

_WET_RATE, _DRY_RATE = 0.1, 0.03
"""In mm/h: a pixel is wet from the first on; a dry one has the second in the logarithm."""

LEAST_WET = 100
"""Wet pixels that the newest frame needs for its spectrum to be used."""

LEAST_POWER = 1e-6
"""Mean power that the newest frame needs for its spectrum to be used; a uniform frame has none."""

DEFAULT_SLOPE = 3.0
"""For a frame with less rain: the power falls as the wavenumber to this exponent, …"""

DEFAULT_LENGTH = 4.0
"""… and waves of this many pixels keep 1/e from one timestep to the next; longer ones keep more."""

LONGEST_MEMORY = 0.9999
"""The largest correlation from one timestep to the next, of waves as long as the grid."""

GROWTH = 1.5
"""The logarithm of the skill at a wavelength falls as the lead time to this power. The power is 1
if rain only changes, and 2 if it only deviates from its path.

Measured on 16 May 2018 of RADOLAN (16 cases of 20 members): a power of 1 gives the best sums (CRPS
of 60 minutes .1687 mm; .1691 for 1.5, .1703 for 2), a power of 2 the best spectra (at 60 minutes,
waves of 5 to 10 and of 2 to 5 pixels have 1.05 and 1.5 times the observed power; 1.6 and 2.8 for a
power of 1, 1.3 and 1.9 for 1.5). The value here is a compromise.
"""

_TAPER = 8  # the outermost eighth of each side fades to 0 before a spectrum is taken


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """How noise varies over the grid and from one lead time to the next.

    Args:
        size: (h, w) in pixels, at least those of the frames.
        amplitude: (h, w // 2 + 1) of each wave, scaled to a noise variance of 1.
        memory: (h, w // 2 + 1) the correlation of each wave with itself one timestep earlier.
    """

    size: tuple[int, int]
    amplitude: Float64Array
    memory: Float64Array


def noise_model(aligned: Float32Array) -> NoiseModel:
    """Return the noise model of the past rain in the moving frame of reference.

    If the newest frame has too little rain, as a dry or missing one, the spectrum follows
    `DEFAULT_SLOPE`. If no two successive frames have enough rain, the memory follows
    `DEFAULT_LENGTH`.

    Args:
        aligned: (t, h, w) in mm/h, NaN = missing, the newest frame last.
    """
    size = (_easy(aligned.shape[1]), _easy(aligned.shape[2]))
    rings = _rings(size)
    power = np.maximum(rings, 1) ** -DEFAULT_SLOPE
    if _is_wet(aligned[-1]):
        own = np.square(np.abs(_waves(aligned[-1], size)))
        own[0, 0] = own[rings == 1].mean()  # a mean over the grid is as uncertain as its slope
        power = own if _mean(own, size) >= LEAST_POWER else power
    pairs = [(one, after) for one, after in pairwise(aligned) if _is_wet(one) and _is_wet(after)]
    memory = _memory(pairs, size) if pairs else _default_memory(size)
    return NoiseModel(size, np.sqrt(power / _mean(power, size)), memory)


def noise_fields(model: NoiseModel, steps: int, count: int, seed: int) -> Iterator[Float32Array]:
    """Generate the noise of each lead time: (count, h, w), normally distributed.

    Each wave changes from one lead time to the next by an autoregression of order 1 whose
    correlation is its memory. Its amplitude grows with its uncertainty at that lead time. The same
    seed gives the same noise, which continues periodically beyond its size.

    Args:
        model: its variation over space and time.
        steps: number of lead times.
        count: number of independent fields.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    memory = model.memory.astype(np.float32)
    news = np.sqrt(1 - model.memory**2).astype(np.float32)
    waves = _white(model, count, random)
    for step in range(1, steps + 1):
        if step > 1:
            waves = waves * memory + _white(model, count, random) * news
        amplitude = model.amplitude * np.sqrt(1 - model.memory ** (2 * step**GROWTH))
        amplitude /= np.sqrt(_mean(amplitude**2, model.size))
        fields = np.fft.irfft2(waves * amplitude.astype(np.float32), s=model.size)
        yield fields.astype(np.float32, copy=False)


def _white(model: NoiseModel, count: int, random: np.random.Generator) -> Waves:
    return np.fft.rfft2(random.standard_normal((count, *model.size), np.float32))


def _is_wet(frame: Float32Array) -> bool:
    return int((frame >= _WET_RATE).sum()) >= LEAST_WET


def _waves(frame: Float32Array, size: tuple[int, int]) -> Waves:
    """Transform the log of rates (h, w) minus its mean; 0 if missing, tapered at the border."""
    measured = ~np.isnan(frame)
    logs = np.full(frame.shape, math.log(_DRY_RATE))
    np.log(frame, out=logs, where=frame >= _WET_RATE)
    mean = logs.mean(where=measured) if measured.any() else 0.0
    anomaly = np.where(measured, logs - mean, 0.0)
    window = _window(frame.shape[0])[:, np.newaxis] * _window(frame.shape[1])
    return np.fft.rfft2(anomaly * window, s=size)


def _window(length: int) -> Float64Array:
    """(length,) 1 in the middle, falling to 0 at both ends."""
    place = np.arange(length) + 0.5
    border = np.minimum(place, length - place) * (_TAPER / length)
    window: Float64Array = np.sin(np.minimum(border, 1) * (math.pi / 2)) ** 2
    return window


def _easy(length: int) -> int:
    """Return the next length with a fast Fourier transform: a product of 2, 3 and 5."""
    while math.gcd(length, 2**12 * 3**8 * 5**6) < length:
        length += 1
    return length


def _rings(size: tuple[int, int]) -> Float64Array:
    """Return the wavenumber of each coefficient (h, w // 2 + 1): waves per longer side, rounded."""
    down, across = np.fft.fftfreq(size[0])[:, np.newaxis], np.fft.rfftfreq(size[1])
    rings: Float64Array = np.rint(np.hypot(down, across) * max(size))
    return rings


def _mean(power: Float64Array, size: tuple[int, int]) -> float:
    """Return the mean over all coefficients, including those that `rfft2` leaves out."""
    twice = np.full(power.shape[1], 2.0)
    twice[0] = 1
    if size[1] % 2 == 0:
        twice[-1] = 1
    return float((power * twice).sum() / (size[0] * size[1]))


def _memory(
    pairs: Sequence[tuple[Float32Array, Float32Array]], size: tuple[int, int]
) -> Float64Array:
    """Return the correlation of waves with those of the frame before, by octaves of the wavenumber;
    it never rises with the wavenumber.
    """
    octave = np.log2(np.maximum(_rings(size), 1))
    both, before, after = np.sum([_products(*pair, octave, size) for pair in pairs], axis=0)
    known = both / np.maximum(np.sqrt(before * after), 1e-12)
    known = np.minimum.accumulate(known.clip(0, LONGEST_MEMORY))
    # the value of an octave applies to its middle
    memory: Float64Array = np.interp(octave, np.arange(len(known)) + 0.5, known)
    return memory


def _products(
    first: Float32Array, second: Float32Array, octave: Float64Array, size: tuple[int, int]
) -> Float64Array:
    """Return (3, octaves) sums over the waves of two frames: their product, and their squares."""
    missing = np.isnan(first) | np.isnan(second)  # includes rain that came from outside since
    one, other = (_waves(np.where(missing, np.nan, frame), size) for frame in (first, second))
    products = (one * other.conj()).real, np.abs(one) ** 2, np.abs(other) ** 2
    place = octave.astype(int).ravel()
    return np.stack([np.bincount(place, each.ravel()) for each in products])


def _default_memory(size: tuple[int, int]) -> Float64Array:
    waves_per_pixel = np.maximum(_rings(size), 1) / max(size)
    memory: Float64Array = np.exp(-((waves_per_pixel * DEFAULT_LENGTH) ** 2))
    return memory.clip(max=LONGEST_MEMORY)
