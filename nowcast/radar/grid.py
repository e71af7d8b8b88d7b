"""The canonical grid, on which every other room relies.

An `xr.Dataset` with `precipitation_rate(time, y, x)` in mm h-1, float32, NaN = not covered; `time`
in UTC, strictly increasing.
If the file has them: `x` and `y` in metres, 2-D `latitude` and `longitude`, and the grid mapping
`crs`.
"""

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.times import Times, show, timestep_of

__all__ = [
    "CRS",
    "DIMS",
    "LATITUDE",
    "LONGITUDE",
    "RATE",
    "TIMESTEP",
    "UNITS",
    "build_grid",
    "check_grid",
    "frames_at",
    "measured_rates",
    "timestep_of",
]

log = logging.getLogger(__name__)

RATE = "precipitation_rate"
UNITS = "mm h-1"
DIMS = ("time", "y", "x")
CRS, LATITUDE, LONGITUDE = "crs", "latitude", "longitude"
TIMESTEP = "timestep_minutes"
WET_RATE = 0.1
"""mm/h; a pixel with this rate or more counts as wet."""
LEAST_RATE = -0.01
"""mm/h; negative rates down to this value are rounding, lower values are invalid."""


def build_grid(
    rate: Any,
    times: Times,
    place: Mapping[str, xr.Variable],
    attrs: Mapping[str, Any],
    timestep_minutes: float | None = None,
) -> xr.Dataset:
    """Build a canonical grid from rates, times and place.

    Args:
        rate: (time, y, x) in mm/h, float32, NaN = not covered; a NumPy array or a lazy xarray
            array.
        times: (time,) datetime64 in UTC, strictly increasing.
        place: any of x, y, latitude, longitude and crs, by name.
        attrs: global attributes, such as the source of the data.
        timestep_minutes: the spacing; None takes it from the times.

    Returns:
        The grid, `precipitation_rate` (time, y, x) in mm h-1.

    Raises:
        DataError: if the result breaks a rule of the grid.

    Example:
        >>> times = np.array(["2020-01-01T00:00", "2020-01-01T00:05"], "datetime64[ns]")
        >>> grid = build_grid(np.zeros((2, 4, 4), np.float32), times, {}, {"title": "no rain"})
        >>> grid["precipitation_rate"].dims, grid.attrs["timestep_minutes"]
        (('time', 'y', 'x'), 5.0)
    """
    about: dict[str, Any] = {
        "standard_name": "lwe_precipitation_rate",
        "long_name": "precipitation rate",
        "units": UNITS,
    }
    if CRS in place:
        about["grid_mapping"] = CRS
    time = xr.Variable(
        "time", times.astype("datetime64[ns]"), {"standard_name": "time", "axis": "T"}
    )
    coords: dict[Hashable, Any] = {"time": time}
    coords.update(place)
    spacing = timestep_of(times) if timestep_minutes is None else timestep_minutes
    dataset = xr.Dataset(
        {RATE: (DIMS, rate, about)}, coords=coords, attrs={**attrs, TIMESTEP: spacing}
    )
    check_grid(dataset)
    return dataset


def check_grid(dataset: xr.Dataset) -> None:
    """Check that a dataset follows the rules of the canonical grid, without reading frames.

    Args:
        dataset: the dataset to check.

    Returns:
        None.

    Raises:
        DataError: if the dataset breaks a rule; the message names it.

    Example:
        >>> check_grid(xr.Dataset())
        Traceback (most recent call last):
        nowcast.errors.DataError: this dataset has no 'precipitation_rate', only []; …
    """
    if not isinstance(dataset, xr.Dataset):
        raise DataError(
            f"a grid is an xarray.Dataset, as open_grid opens it, not {type(dataset).__name__}."
        )
    if RATE not in dataset:
        raise DataError(
            f"this dataset has no {RATE!r}, only {sorted(map(str, dataset.data_vars))}; use"
            " radar.open_grid."
        )
    rate = dataset[RATE]
    if rate.dims != DIMS:
        raise DataError(
            f"{RATE} has dimensions {rate.dims}; it needs {DIMS}: rename or transpose them."
        )
    if rate.attrs.get("units") != UNITS:
        raise DataError(
            f"{RATE} is in {rate.attrs.get('units')!r}; it needs {UNITS!r}: convert it first."
        )
    if rate.dtype != np.float32:
        raise DataError(
            f"{RATE} is stored as {rate.dtype}; it needs float32: use .astype('float32')."
        )
    if "time" not in dataset.coords or dataset["time"].dtype != np.dtype("datetime64[ns]"):
        raise DataError(
            f"{RATE} needs a time coordinate of type datetime64[ns] (UTC, without a time zone)."
        )
    times = dataset["time"].values
    if np.isnat(times).any():
        raise DataError("a frame has no time (NaT); remove that frame.")
    if (np.diff(times) <= np.timedelta64(0, "ns")).any():
        raise DataError(
            "the times are not strictly increasing; sort them and keep one frame per time."
        )
    if TIMESTEP not in dataset.attrs:
        raise DataError(f"the dataset needs the attribute {TIMESTEP!r}, the spacing of its frames.")
    refuse_beyond_poles(dataset.coords, "the grid")


def refuse_beyond_poles(place: Mapping[Any, Any], where: str) -> None:
    """Errors: DataError if a latitude, along rows or of a pixel, is not from -90 to 90 degrees."""
    for name in ("y", LATITUDE):
        if name in place and place[name].attrs.get("standard_name") == "latitude":
            values = place[name].values
            beyond = values[np.isfinite(values) & (np.abs(values) > 90.0 + 1e-6)]
            if beyond.size:
                raise DataError(
                    f"{where}: holds a latitude of {beyond[0]:g}, but latitudes are from -90 to 90"
                    " degrees; correct it, or mark it as missing (_FillValue in a file, else NaN)."
                )


def frames_at(grid: xr.Dataset, times: Times) -> list[npt.NDArray[np.float32] | None]:
    """Return the frames of a canonical grid at the given times; only these are read.

    Args:
        grid: a canonical grid.
        times: (n,) datetime64 in UTC.

    Returns:
        For each time a frame (y, x) in mm/h, NaN = not covered, checked by `measured_rates`; None
        if the grid lacks it.

    Raises:
        DataError: if a file cannot be read, or a rate is negative.

    Example:
        >>> from nowcast.radar import synthetic_grid
        >>> grid = synthetic_grid(2, 4, 4, start="2020-01-01T00:00")
        >>> times = np.array(["2020-01-01T00:05", "2020-01-01T00:10"], "datetime64[ns]")
        >>> [frame is None for frame in frames_at(grid, times)]
        [False, True]
    """
    there, wanted = grid["time"].values, times.astype("datetime64[ns]")
    places = np.searchsorted(there, wanted)
    return [
        measured_rates(grid[RATE][k : k + 1].values, there[k : k + 1])[0]
        if k < there.size and there[k] == time
        else None
        for k, time in zip(places.tolist(), wanted, strict=True)
    ]


def measured_rates(rates: npt.NDArray[np.float32], times: Times) -> npt.NDArray[np.float32]:
    """Return rates with infinite values set to missing, as the file readers do, and log them.

    Args:
        rates: (time, y, x) in mm/h, NaN = not covered.
        times: (time,) of the frames.

    Raises:
        DataError: if a rate is negative by more than rounding.
    """
    infinite, low = np.isinf(rates), rates < 0
    if not (infinite | low).any():
        return rates
    impossible = low & (rates < LEAST_RATE) & ~infinite
    if impossible.any():
        frame, row, column = (int(k) for k in np.argwhere(impossible)[0])
        raise DataError(
            f"the grid: {RATE} is {rates[frame, row, column]:g} at {show(times[frame])} (row {row},"
            f" column {column}; {int(impossible.sum())} such values); set missing pixels to NaN"
            " and dry pixels to 0."
        )
    for frame in np.flatnonzero(infinite.any(axis=(1, 2))).tolist():
        log.warning(
            "the grid: %d infinite values at %s UTC count as missing",
            int(infinite[frame].sum()),
            show(times[frame]),
        )
    return np.where(infinite, np.float32(np.nan), np.maximum(rates, np.float32(0)))
