"""Rain forecasts of other programs, from NetCDF: CF files, and exports of pysteps.

The rain is identified by its standard name or its units: a rate, an amount in each step, or a
reflectivity. Its dimensions are lead time, y and x, in any order, and member for an ensemble.
Lead times are CF's `forecast_period`, or computed from valid times. The reference time is CF's
`forecast_reference_time`; pysteps writes none, but its times count from it. Fields without a lead
time above 0 are not forecasts and are left out.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.grid import LEAST_RATE, RATE, UNITS
from nowcast.radar.placing.georeference import Place
from nowcast.radar.reading import storage
from nowcast.radar.reading.cf.axes import y_and_x
from nowcast.radar.reading.cf.place import place_of
from nowcast.radar.reading.cf.time_units import is_time_unit
from nowcast.radar.reading.cf.times import (
    decode,
    ends_of,
    intervals_of,
    methods_of,
    minutes_of_cell_methods,
)
from nowcast.radar.reading.cf.variables import RAIN_NAMES
from nowcast.radar.reading.storage import explained
from nowcast.radar.reading.units import (
    MARSHALL_PALMER,
    dbz_to_rate,
    dry_in,
    quantity_of,
    rate_factor,
)
from nowcast.radar.series.fields_ahead import LEAD, REFERENCE, leads_of, named
from nowcast.radar.times import Times, show
from nowcast.untrusted.files import refuse_unsound
from nowcast.untrusted.isolation import isolated

_PYSTEPS = "pysteps"
_VALID = ("time", "valid_time")
_MEMBERS = ("realization", "ens_number", "member", "members", "ensemble", "number")
_WANTED = (
    f"a forecast is {RATE}(time, y, x) in {UNITS} with a scalar forecast_reference_time, as"
    " 'nowcast predict' writes it, or rain of another program as described by CF or pysteps"
)


@dataclass(frozen=True, eq=False)
class OtherForecast:
    """A forecast of another program; its rain is not read yet.

    variable, dims: names in the file of the rain and of its dimensions (lead, member, y, x), or
    (lead, y, x) without members.
    shape: (lead, member, y, x). steps: numbers of the lead times in the file.
    units: of the rain. minutes: of accumulation for an amount, else None.
    reference: the reference time in UTC. times: the valid times.
    attrs: of the file, as text; `method` is "pysteps" or "forecast" if the file has none.
    """

    path: Path
    variable: str
    dims: tuple[str, ...]
    shape: tuple[int, int, int, int]
    steps: npt.NDArray[np.intp]
    units: str
    minutes: float | None
    reference: np.datetime64
    times: Times
    place: Place
    attrs: dict[str, str]

    @property
    def is_ensemble(self) -> bool:
        """Whether the rain has a dimension of members."""
        return len(self.dims) == 4

    @property
    def converted_from(self) -> str:
        """What the rates were converted from, such as 'precip_accum [mm per 5 min]'."""
        each = "" if self.minutes is None else f" per {self.minutes:g} min"
        by = "Z = {:g} R^{:g}".format(*MARSHALL_PALMER)
        relation = f" by {by}" if quantity_of(self.units) == "reflectivity" else ""
        return f"{self.variable} [{self.units}{each}]{relation}"

    def read(self, step: int) -> npt.NDArray[np.float32]:
        """Return the rates at one of `times`, (member, y, x) in mm/h, NaN = missing.

        Errors: DataError if the file is damaged, or has negative rates.
        """
        return isolated(self.path, _read, self, step)


@dataclass(frozen=True, eq=False)
class _Times:
    """The times of a forecast, and the minutes of accumulation of an amount."""

    reference: np.datetime64
    valid: Times
    minutes: float | None


def open_other_forecast(path: Path) -> OtherForecast:
    """Describe the forecast in a file of another program.

    Errors: DataError if the file is damaged, or lacks information, which the message names.
    """
    return isolated(path, _describe, path)


def no_forecast(path: Path, reason: str) -> DataError:
    """Return the error for a file that is not a forecast, with the reason."""
    return DataError(f"{path}: not a forecast file ({reason}); {_WANTED}.")


@contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    """Open the file with values as stored, and close it afterwards, since it may be rewritten."""
    how: dict[str, Any] = dict.fromkeys(("decode_times", "decode_coords", "mask_and_scale"), False)
    with explained(path), warnings.catch_warnings(action="ignore"):  # xarray's warnings
        refuse_unsound(path)
        with xr.open_dataset(path.absolute(), engine="netcdf4", **how) as file:
            yield file


def _describe(path: Path) -> OtherForecast:
    with _opened(path) as file:
        lead = _lead_of(file, path)
        along = str(lead.dims[0])
        rain = _rain_of(file, along, path)
        times = _times_of(file, rain, lead, path)
        member, y, x = _dims_of(file, rain, along, path)
        steps = np.flatnonzero(times.valid > times.reference)
        if not steps.size or (np.diff(times.valid[steps]) <= np.timedelta64(0, "ns")).any():
            raise no_forecast(path, "its valid times do not increase from its reference time")
        members = rain.sizes[member] if member else 1
        return OtherForecast(
            path, str(rain.name), (along, *([member] if member else []), y, x),
            (steps.size, members, rain.sizes[y], rain.sizes[x]), steps,
            str(rain.attrs["units"]), times.minutes, times.reference, times.valid[steps],
            place_of(file, rain, y, x, str(path)),
            {"method": _PYSTEPS if _by_pysteps(file) else "forecast"}
            | {str(name): str(value) for name, value in file.attrs.items()},
        )  # fmt: skip


def _by_pysteps(file: xr.Dataset) -> bool:
    return str(file.attrs.get("source", "")).startswith(_PYSTEPS)


def _lead_of(file: xr.Dataset, path: Path) -> xr.DataArray:
    """Return the lead times along a dimension, else the valid times."""
    for names in (LEAD, _VALID):
        lead = named(file, names)
        if lead is not None and lead.ndim == 1:
            return lead
    raise no_forecast(path, "it has no lead times along a dimension")


def _rain_of(file: xr.Dataset, along: str, path: Path) -> xr.DataArray:
    """Return the only variable over lead times that is rain by its standard name, or its units."""
    over = [
        one
        for one in file.data_vars.values()
        if along in one.dims and one.ndim > 2 and one.dtype.kind in "iuf"
    ]
    known = [one for one in over if quantity_of(str(one.attrs.get("units", ""))) is not None]
    rain = [one for one in known if one.attrs.get("standard_name") in RAIN_NAMES] or known
    if len(rain) == 1:
        return rain[0]
    said = ", ".join(f"{one.name} [{one.attrs.get('units', 'no units')}]" for one in rain or over)
    if rain:
        raise no_forecast(path, f"several of its variables may be the rain: {said}")
    has = f"it has: {said}" if over else "no other field either"
    raise no_forecast(path, f"it has no rain over lead time, y and x in units of rain; {has}")


def _dims_of(
    file: xr.Dataset, rain: xr.DataArray, along: str, path: Path
) -> tuple[str | None, str, str]:
    """Return the names of the dimensions (member, y, x); None for member if there is none."""
    rest = [str(name) for name in rain.dims if name != along]
    members = [name for name in rest if _is_member(file, name)]
    space = [name for name in rest if name not in members]
    if len(space) > 2:
        space = [name for name in space if rain.sizes[name] > 1]
    if len(space) != 2 or len(members) > 1:
        raise no_forecast(
            path,
            f"{rain.name!r} has dimensions {', '.join(map(str, rain.dims))}, not lead time, y, x",
        )
    return (members[0] if members else None), *y_and_x(file, space, str(path))


def _is_member(file: xr.Dataset, dim: str) -> bool:
    numbers = file.variables.get(dim)
    named_so = numbers is not None and numbers.attrs.get("standard_name") == "realization"
    return named_so or dim.lower() in _MEMBERS


def _times_of(file: xr.Dataset, rain: xr.DataArray, lead: xr.DataArray, path: Path) -> _Times:
    reference = _reference_of(file, lead, path)
    clock = lead if is_time_unit(lead.attrs.get("units")) else named(file, _VALID)
    if clock is None or clock.dims != lead.dims or not is_time_unit(clock.attrs.get("units")):
        leads = leads_of(lead, np.atleast_1d(reference), str(path), path)
        return _Times(reference, reference + leads, _minutes_of(rain, None, "", (), path))
    labels = np.atleast_1d(decode(clock, path))
    if np.isnat(labels).any():
        raise no_forecast(path, f"{clock.name!r} has no time for some lead times")
    intervals, methods = intervals_of(file, clock, labels, path), methods_of(rain, clock)
    stated = None if intervals is None else intervals.minutes(path)
    spacing = np.diff([reference, *labels]) / np.timedelta64(1, "m") if _by_pysteps(file) else ()
    minutes = _minutes_of(rain, stated, methods, spacing, path)
    return _Times(reference, ends_of(labels, intervals, methods, minutes), minutes)


def _reference_of(file: xr.Dataset, lead: xr.DataArray, path: Path) -> np.datetime64:
    """Return the reference time of the forecast."""
    reference = named(file, REFERENCE)
    if reference is None and _by_pysteps(file):
        reference = lead.isel({lead.dims[0]: 0}).copy(data=0)  # pysteps counts times from it
    if reference is None or not is_time_unit(reference.attrs.get("units")):
        raise no_forecast(path, "it has no reference time, a forecast_reference_time")
    times = np.atleast_1d(decode(reference, path)).ravel()
    if times.size != 1:
        raise no_forecast(
            path, f"it has {times.size} forecasts, the first from {show(times[0])} UTC; split it"
        )
    if np.isnat(times[0]):
        raise no_forecast(path, f"{reference.name!r} has no time")
    return np.datetime64(times[0], "ns")


def _minutes_of(
    rain: xr.DataArray,
    stated: float | None,
    methods: str,
    spacing: Sequence[float] | npt.NDArray[np.float64],
    path: Path,
) -> float | None:
    """Return the minutes of accumulation of an amount: from bounds, from `cell_methods`, or for
    pysteps from the spacing of lead times. None for anything else.
    """
    units = str(rain.attrs["units"])
    if quantity_of(units) != "amount":
        return None
    each = np.unique(np.round(spacing, 3))
    spaced = each.item() if each.size == 1 else None
    minutes = stated or minutes_of_cell_methods(methods) or spaced
    if minutes is None or not minutes > 0:
        raise no_forecast(
            path, f"{rain.name!r} is an amount in {units!r} over an unknown number of minutes"
        )
    return minutes


def _read(forecast: OtherForecast, step: int) -> npt.NDArray[np.float32]:
    path, units = forecast.path, forecast.units
    with _opened(path) as file:
        field = file[forecast.variable]
        field = field.isel({forecast.dims[0]: int(forecast.steps[step])})
        field = field.squeeze([one for one in field.dims if one not in forecast.dims], drop=True)
        field = field.transpose(*forecast.dims[1:])
        raw = field.values.reshape(forecast.shape[1:])
        blank = storage.unwritten(raw, field.attrs)
        values = storage.unpack(raw, field.attrs, blank, ((), dry_in(units)))
    if quantity_of(units) == "reflectivity":
        return dbz_to_rate(values).astype(np.float32)
    rates = values * rate_factor(units, forecast.minutes)
    if (rates < LEAST_RATE).any():
        raise DataError(
            f"{path}: {forecast.variable!r} is {np.nanmin(values):g} at"
            f" {show(forecast.times[step])} UTC; if that means missing, declare it as _FillValue."
        )
    return np.maximum(rates, 0.0).astype(np.float32)
