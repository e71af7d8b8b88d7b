"""Synthetic rain: fields that move, grow and decay like radar rain, of any size and length,
reproducible by seed.

A Gaussian field with a power-law spectrum is advected; each of its waves is an autoregressive
process, and small waves decorrelate first (as in STEPS: Bowler et al. 2006, Seed 2003). It rains
where the field exceeds a threshold; rates are log-normally distributed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.arrays import Float32Array
from nowcast.errors import InputOutputError
from nowcast.files import written_whole
from nowcast.radar.grid import CRS, RATE, build_grid

Waves = npt.NDArray[np.complex64]

LEAST_RATE = 0.1  # mm/h; lower rates are set to 0, as in most radar products
START = "2020-06-01T00:00"
TITLE = "synthetic rain"
_FRAMES_A_CHUNK = 12
# Polar stereographic, true at 60° N on a sphere, like DWD's RADOLAN composites.
_CRS = {
    "grid_mapping_name": "polar_stereographic",
    "latitude_of_projection_origin": 90.0,
    "straight_vertical_longitude_from_pole": 10.0,
    "standard_parallel": 60.0,
    "false_easting": 0.0,
    "false_northing": 0.0,
    "earth_radius": 6370040.0,
}
_CENTRE = (-4200e3, 0.0)  # (y, x) in metres: the middle of Germany


@dataclass(frozen=True)
class Weather:
    """Properties of the synthetic rain. Lengths are in pixels, times in time steps.

    Example:
        >>> Weather(wet_share=0.5).median_rate
        0.7
    """

    wet_share: float = 0.1  # mean share of pixels with rain
    median_rate: float = 0.7  # mm/h, of wet pixels, before rates below LEAST_RATE are set to 0
    spread: float = 1.3  # standard deviation of ln(rate)
    velocity: tuple[float, float] = (1.0, 2.0)  # (y, x), pixels per step
    lifetime: float = 90.0  # of waves of `largest` pixels; smaller waves have shorter lifetimes
    # wavelength above which the spectrum is flat; reduced for small frames, which would otherwise
    # be all wet or all dry
    largest: float = 150.0
    slope: float = 2.1  # amplitude falls as wavenumber^-slope
    swing: float = 0.3  # standard deviation of ln(wet share) in time
    swing_steps: float = 72.0  # correlation time of the wet share


def synthetic_frames(
    steps: int,
    height: int,
    width: int,
    *,
    seed: int = 0,
    weather: Weather | None = None,
    coverage: bool = False,
) -> Iterator[Float32Array]:
    """Make frames of rain, one after the other; the same seed gives the same frames.

    The rain moves by `weather.velocity` each step. The field is larger than a frame, so rain that
    leaves a frame does not come back. A longer run begins with the frames of a shorter one.

    Args:
        steps: number of frames.
        height, width: their size in pixels.
        seed: seed of the random numbers.
        weather: properties of the rain.
        coverage: whether the corners are out of radar range (NaN).

    Returns:
        The frames (height, width) in mm/h; dry is exactly 0.

    Example:
        >>> [frame.shape for frame in synthetic_frames(2, 8, 9)]
        [(8, 9), (8, 9)]
    """
    weather = weather or Weather()
    rng = np.random.default_rng(seed)
    rows, columns = _fast_size(height), _fast_size(width)
    amplitude, memory, shift = _spectra(rows, columns, weather)
    covered = _covered(height, width) if coverage else None
    fresh = np.sqrt(1.0 - memory**2) * amplitude
    waves = amplitude * _noise(rng, rows, columns)
    swing = float(rng.standard_normal())
    fade = math.exp(-1.0 / weather.swing_steps)
    for _ in range(steps):
        field = np.fft.irfft2(waves, s=(rows, columns), axes=(0, 1)).astype(np.float32, copy=False)
        field /= field.std()
        share = weather.wet_share * math.exp(weather.swing * swing - weather.swing**2 / 2)
        rate = _rain(field[:height, :width], min(share, 0.8), weather)
        yield rate if covered is None else np.where(covered, rate, np.float32(np.nan))
        waves = memory * shift * waves + fresh * _noise(rng, rows, columns)
        swing = fade * swing + math.sqrt(1.0 - fade**2) * float(rng.standard_normal())


def synthetic_grid(
    steps: int = 288, height: int = 128, width: int = 128, *, seed: int = 0,
    weather: Weather | None = None, coverage: bool = False, start: str = START,
    timestep_minutes: float = 5.0,
) -> xr.Dataset:  # fmt: skip
    """Make a canonical grid of rain in memory: 1 km pixels on a polar stereographic projection.

    Row 0 lies in the south.

    Args:
        steps, height, width, seed, weather, coverage: see `synthetic_frames`.
        start: time of the first frame, in UTC.
        timestep_minutes: spacing of the frames.

    Returns:
        The grid, `precipitation_rate` (time, y, x) in mm/h.

    Example:
        >>> dict(synthetic_grid(3, 8, 9).sizes)
        {'time': 3, 'y': 8, 'x': 9}
    """
    frames = synthetic_frames(steps, height, width, seed=seed, weather=weather, coverage=coverage)
    rate = np.empty((steps, height, width), dtype=np.float32)
    for k, frame in enumerate(frames):
        rate[k] = frame
    return build_grid(
        rate,
        _times(steps, start, timestep_minutes),
        _place(height, width),
        {"title": TITLE},
        timestep_minutes,
    )


def write_synthetic(
    path: str | Path, steps: int = 288, height: int = 128, width: int = 128, *, seed: int = 0,
    weather: Weather | None = None, coverage: bool = False, start: str = START,
    timestep_minutes: float = 5.0,
) -> Path:  # fmt: skip
    """Write rain to a NetCDF file for `open_grid`, with only a few frames in memory at a time.

    Args:
        path: of the file; it is written completely or not at all.
        steps, height, width, seed, weather, coverage, start, timestep_minutes: see
            `synthetic_grid`.

    Returns:
        The path.

    Raises:
        CannotCreateError, InputOutputError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_synthetic(f"{folder}/rain.nc", 2, 8, 9).name
        'rain.nc'
    """
    path = Path(path)
    frames = synthetic_frames(steps, height, width, seed=seed, weather=weather, coverage=coverage)
    empty = build_grid(
        np.empty((0, height, width), np.float32),
        _times(0, start, 0),
        _place(height, width),
        {},
        timestep_minutes,
    )
    try:
        with written_whole(path) as temporary, netCDF4.Dataset(temporary, "w") as file:
            rate = _lay_out(file, empty, start)
            file["time"][:] = np.arange(steps) * timestep_minutes
            for first in range(0, steps, _FRAMES_A_CHUNK):
                block = list(islice(frames, _FRAMES_A_CHUNK))
                rate[first : first + len(block)] = np.stack(block)
    except RuntimeError as error:  # how the NetCDF library reports a full disk
        raise InputOutputError(
            f"{path}: writing failed ({error}); nothing was left behind."
        ) from error
    return path


def _spectra(rows: int, columns: int, weather: Weather) -> tuple[Float32Array, Float32Array, Waves]:
    """Return for each wave (rows, columns // 2 + 1) its amplitude, the share kept per step, and the
    phase shift per step.
    """
    k_y, k_x = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    k = np.hypot(k_y, k_x)
    largest = min(weather.largest, min(rows, columns) / 2)
    amplitude = (k**2 + largest**-2) ** (-weather.slope / 2)
    amplitude[0, 0] = 0.0
    life = weather.lifetime * np.minimum(1.0, 1.0 / np.maximum(k * weather.largest, 1e-9))
    v_y, v_x = weather.velocity
    shift = np.exp(-2j * np.pi * (k_y * v_y + k_x * v_x))
    return (
        amplitude.astype(np.float32),
        np.exp(-1.0 / life).astype(np.float32),
        shift.astype(np.complex64),
    )


def _noise(rng: np.random.Generator, rows: int, columns: int) -> Waves:
    return np.fft.rfft2(rng.standard_normal((rows, columns), dtype=np.float32)).astype(
        np.complex64, copy=False
    )


def _rain(field: Float32Array, share: float, weather: Weather) -> Float32Array:
    """Standard normal values → mm/h: the highest `share` of the values become rain, mapped by rank
    to a log-normal distribution.
    """
    if share <= 0:
        return np.zeros_like(field)
    z, log_beyond = _normal_table()
    least = math.log(LEAST_RATE / weather.median_rate) / weather.spread
    # the rest of the log-normal rain is below LEAST_RATE and set to 0
    kept = math.exp(float(np.interp(least, z, log_beyond)))
    log_share = math.log(min(share / kept, 0.999))
    threshold = float(np.interp(-log_share, -log_beyond, z))
    knots = np.linspace(threshold, 8.0, 512)
    rank = np.interp(knots, z, log_beyond) - log_share
    rates = weather.median_rate * np.exp(weather.spread * np.interp(-rank, -log_beyond, z))
    rate = np.interp(field, knots, rates, left=0.0).astype(np.float32)
    rate[rate < LEAST_RATE] = 0.0
    return rate


@lru_cache(maxsize=1)
def _normal_table() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return z and ln P(Z > z) for a standard normal Z."""
    z = np.linspace(-8.0, 12.0, 2001)
    return z, np.log([0.5 * math.erfc(value / math.sqrt(2.0)) for value in z])


def _fast_size(size: int) -> int:
    """Return a size at least half as large again whose only prime factors are 2, 3 and 5, so
    that Fourier transforms are fast.
    """
    size += max(32, size // 2)
    while math.gcd(size, 2**20 * 3**12 * 5**8) != size:
        size += 1
    return size


def _covered(height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return a mask that is True inside an ellipse and False in the corners."""
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    return np.asarray(y**2 + x**2 <= 1.6)


def _times(steps: int, start: str, timestep_minutes: float) -> npt.NDArray[np.datetime64]:
    after = np.round(np.arange(steps) * timestep_minutes * 60_000).astype("timedelta64[ms]")
    return np.asarray(np.datetime64(start, "ns") + after)


def _place(height: int, width: int) -> dict[str, xr.Variable]:
    place = {CRS: xr.Variable((), np.int32(0), dict(_CRS))}
    for name, size, centre in (("y", height, _CENTRE[0]), ("x", width, _CENTRE[1])):
        attrs = {
            "standard_name": f"projection_{name}_coordinate",
            "units": "m",
            "axis": name.upper(),
        }
        place[name] = xr.Variable(name, centre + 1000.0 * (np.arange(size) - (size - 1) / 2), attrs)
    return place


def _lay_out(file: netCDF4.Dataset, grid: xr.Dataset, start: str) -> "netCDF4.Variable[Any]":
    """Write everything except the frames and their times; return the variable for the frames."""
    file.setncatts({"Conventions": "CF-1.11", "title": TITLE})
    file.createDimension("time", None)
    for name in ("y", "x"):
        file.createDimension(name, grid.sizes[name])
        file.createVariable(name, "f8", (name,))[:] = grid[name].values
        file[name].setncatts(grid[name].attrs)
    file.createVariable(CRS, "i4", ()).setncatts(grid[CRS].attrs)
    time = file.createVariable("time", "f8", ("time",))
    time.setncatts(
        {
            "standard_name": "time",
            "axis": "T",
            "units": f"minutes since {start}",
            "calendar": "standard",
        }
    )
    chunks = (_FRAMES_A_CHUNK, grid.sizes["y"], grid.sizes["x"])
    rate = file.createVariable(
        RATE,
        "f4",
        ("time", "y", "x"),
        compression="zlib",
        complevel=4,
        shuffle=True,
        chunksizes=chunks,
        fill_value=np.nan,
    )
    rate.setncatts({name: value for name, value in grid[RATE].attrs.items()})
    return rate
