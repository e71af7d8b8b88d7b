"""Sums of rain in the forecast file, for each requested length of window, as 30 minutes.

    accumulation_30min(time, y, x)      float32, mm, the sum over the 30 minutes that end at `time`,
                                        to 0.001 mm, which keeps the file small; missing (NaN) at
                                        lead times below 30 minutes, where the window lies partly
                                        in the past
    accumulation_probability_30min(time, threshold_amount, y, x)
                                        int8, the fraction of the members whose own sum is at or
                                        above the threshold, packed like `probability`; only in
                                        forecasts with members
    threshold_amount(threshold_amount)  mm, rising, common to all lengths
    time_30min(time)                    the end of each window, equal to `time`; it has the bounds
    time_30min_bounds(time, bounds)     the start and the end of each window

The bounds need a coordinate of their own: `time` is shared by windows of several lengths and by the
rates, which have no bounds.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import ConfigError
from nowcast.forecast.file_probability import probability_encoding, rounded_probability
from nowcast.radar.grid import CRS, DIMS

ACCUMULATION, ACCUMULATION_PROBABILITY = "accumulation_", "accumulation_probability_"
"""Start of the names of sums and of their probabilities; for example `30min` follows."""
AMOUNT_THRESHOLD, AMOUNT_UNITS = "threshold_amount", "mm"
PROBABILITY_DIMS = (DIMS[0], AMOUNT_THRESHOLD, *DIMS[1:])
_BOUNDS = "bounds"
_STANDARD_NAME = "lwe_thickness_of_precipitation_amount"
_NAME = re.compile(rf"({ACCUMULATION_PROBABILITY}|{ACCUMULATION})(\d+)min")


@dataclass(frozen=True, eq=False)
class FileAccumulation:
    """Sums over windows of one length.

    Args:
        minutes: the length.
        sums: (lead, y, x) in mm, NaN = missing, as at lead times below the length.
        thresholds: (k,) in mm, rising; empty without probabilities.
        probabilities: (lead, k, y, x) from 0 to 1, NaN = missing; None without members.
    """

    minutes: int
    sums: NDArray[np.float32]
    thresholds: tuple[float, ...] = ()
    probabilities: NDArray[np.float32] | None = None


def with_accumulations(forecast: xr.Dataset, sums: Sequence[FileAccumulation]) -> xr.Dataset:
    """Return a forecast dataset with variables for each of the sums."""
    for one in sums:
        forecast = _with_one(forecast, one)
    return forecast


def accumulation_variables(forecast: xr.Dataset) -> dict[str, int]:
    """Return the names of all sums and of their probabilities in a dataset, with their minutes."""
    found = {str(name): _NAME.fullmatch(str(name)) for name in forecast.data_vars}
    return {name: int(match[2]) for name, match in found.items() if match}


def window_times(forecast: xr.Dataset) -> list[str]:
    """Return the names of the variables that hold the ends and the bounds of windows."""
    windows = {f"time_{minutes}min" for minutes in accumulation_variables(forecast).values()}
    every = [name for window in sorted(windows) for name in (window, f"{window}_bounds")]
    return [name for name in every if name in forecast.variables]


def accumulation_encoding(name: str, field: xr.DataArray, packed: dict[str, Any]) -> dict[str, Any]:
    """Return the encoding of a sum or of its probabilities.

    packed: compression, checksums and coordinates of a field of rates.
    """
    minutes = accumulation_variables(field.to_dataset(name=name))[name]
    own = {**packed, "coordinates": f"{packed['coordinates']} time_{minutes}min"}
    if name.startswith(ACCUMULATION_PROBABILITY):
        return own | probability_encoding(field.shape)
    filled = {"dtype": "float32", "_FillValue": np.float32(np.nan)}
    return own | filled | {"chunksizes": (1, *field.shape[-2:])}


def accumulation_problem(forecast: xr.Dataset) -> str:
    """Return what is wrong with the sums of a dataset; "" if nothing is or it has none."""
    for name in accumulation_variables(forecast):
        is_probability = name.startswith(ACCUMULATION_PROBABILITY)
        dims, units = (PROBABILITY_DIMS, "1") if is_probability else (DIMS, AMOUNT_UNITS)
        field = forecast[name]
        if field.dims != dims:
            return f"{name!r} has the dimensions {field.dims}, not {dims}"
        if field.attrs.get("units") != units:
            return f"{name!r} is not in {units!r}"
        values = field.values
        if values.dtype.kind != "f" or np.isinf(values).any():
            return f"{name!r} holds infinite values"
        if (values < 0).any() or (is_probability and (values > 1).any()):
            return f"{name!r} holds values {'outside of 0 to 1' if is_probability else 'below 0'}"
        if is_probability and AMOUNT_THRESHOLD not in forecast.variables:
            return f"it has no {AMOUNT_THRESHOLD!r}"
    return ""


def window_steps(minutes: int, lead_minutes: Sequence[float]) -> int:
    """Return how many frames a window has.

    Args:
        minutes: the length of the window.
        lead_minutes: the lead times of the forecast.

    Raises:
        ConfigError: if the lead times are not all multiples of the first, the window is not a
            multiple of it, or the window is longer than the forecast.
    """
    step, last = lead_minutes[0], lead_minutes[-1]
    if not np.allclose(lead_minutes, step * np.arange(1, len(lead_minutes) + 1), atol=1e-3):
        raise ConfigError(
            f"accumulations: a sum needs a frame every {step:g} minutes, but these forecasts lack"
            " some lead times; leave accumulations out."
        )
    steps = round(minutes / step)
    if not math.isclose(steps * step, minutes, abs_tol=1e-3):
        near = sorted({max(1, math.floor(minutes / step)), math.ceil(minutes / step)})
        raise ConfigError(
            f"accumulations: {minutes} minutes are not a multiple of the time step, {step:g} min;"
            f" give {' or '.join(f'{step * one:g}' for one in near)}."
        )
    if steps > len(lead_minutes):
        raise ConfigError(
            f"accumulations: {minutes} minutes are longer than the forecast, which ends after"
            f" {last:g} minutes; give {last:g} or less, or forecast more lead_steps."
        )
    return steps


def _with_one(forecast: xr.Dataset, one: FileAccumulation) -> xr.Dataset:
    window, placed = f"time_{one.minutes}min", {"grid_mapping": CRS} if CRS in forecast else {}
    step = float(forecast["lead_time"].values[0])
    method = {"cell_methods": f"time: sum (interval: {step:g} minutes)"}
    about = {
        "standard_name": _STANDARD_NAME,
        "long_name": f"forecast precipitation of {one.minutes} minutes",
        "units": AMOUNT_UNITS,
        **method,
        **placed,
    }
    times = forecast["time"]
    starts = times.values - np.timedelta64(one.minutes, "m")
    bounds = np.stack([starts, times.values], axis=1)
    fields = {f"{ACCUMULATION}{one.minutes}min": xr.Variable(DIMS, one.sums.round(3), about)}
    coords = {
        window: _window_times(times, one.minutes),
        f"{window}_bounds": xr.Variable((DIMS[0], _BOUNDS), bounds),
    }
    if one.probabilities is not None:
        chances = {
            "long_name": f"probability_of_{_STANDARD_NAME}_above_threshold",
            "units": "1",
            **method,
            **placed,
        }
        name = f"{ACCUMULATION_PROBABILITY}{one.minutes}min"
        fields[name] = xr.Variable(
            PROBABILITY_DIMS, rounded_probability(one.probabilities), chances
        )
        coords[AMOUNT_THRESHOLD] = _thresholds(one.thresholds)
    return forecast.assign(fields).assign_coords(coords)


def _window_times(times: xr.DataArray, minutes: int) -> xr.Variable:
    about = {
        "standard_name": "time",
        "long_name": f"end of the {minutes} minutes",
        "bounds": f"time_{minutes}min_bounds",
        "units_metadata": "leap_seconds: none",
    }
    return xr.Variable(DIMS[:1], times.values, about)


def _thresholds(thresholds: Sequence[float]) -> xr.Variable:
    about = {
        "standard_name": _STANDARD_NAME,
        "long_name": "threshold of the sum",
        "units": AMOUNT_UNITS,
        "spp__relative_to_threshold": "greater_than_or_equal_to",
    }
    return xr.Variable(AMOUNT_THRESHOLD, np.asarray(thresholds, np.float64), about)
