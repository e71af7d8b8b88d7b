"""The forecast file: CF-1.11 NetCDF with the forecast, its place, its times and its provenance.

    precipitation_rate(time, y, x)     float32, mm h-1; missing (NaN) without a forecast;
                                       for an ensemble (time, realization, y, x): time comes first,
                                       otherwise CDO reads nothing
    probability(time, threshold, y, x) probability of reaching each threshold, if the method gives
                                       it: `file_probability`
    member_rate(time, realization, y, x)   members drawn from the probabilities, or the rates of
                                       several models: `file_members`
    accumulation_30min(time, y, x)     mm, sums over windows of each requested length:
                                       `file_accumulation`
    realization(realization)           number of the member, starting at 1
    time(time)                         valid time: minutes since 1970-01-01 00:00 UTC
    forecast_reference_time            time of the last observed frame, on the same clock
    lead_time(time)                    their difference in minutes, a plain number
    x(x), y(y); latitude(y, x), longitude(y, x); crs        as far as the radar files give them

The unit of `lead_time` is spelled "minute" because xarray treats "minutes" differently from version
to version: some decode a duration, some warn, some do neither. With "minute" all versions read the
same number.

Everything but the scalars is stored in chunks, each with a checksum (fletcher32, over the values).
HDF5 keeps checksums of the attributes. The same forecast gives the same file, byte for byte, except
for the time in `history`, which has a fixed length, and the checksum over it.
"""

import glob
import json
import math
import re
import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.console import two_digits
from nowcast.errors import DataError, DeviceError, MissingInputError, NowcastError
from nowcast.files import refuse_fault_of_machine, written_whole
from nowcast.forecast.file_accumulation import (
    accumulation_encoding,
    accumulation_problem,
    accumulation_variables,
    window_times,
)
from nowcast.forecast.file_members import (
    MEMBER_DIMS,
    MEMBER_RATE,
    REALIZATION,
    member_problem,
    member_variable,
    rate_encoding,
    realization_variable,
)
from nowcast.forecast.file_probability import (
    PROBABILITY,
    THRESHOLD,
    FileProbabilities,
    probability_encoding,
    probability_problem,
    probability_variable,
    threshold_variable,
)
from nowcast.forecast.memory import free_memory
from nowcast.pretrained import model_names
from nowcast.radar.grid import CRS, DIMS, LEAST_RATE, RATE, UNITS
from nowcast.radar.reading.units import quantity_of, rate_factor
from nowcast.radar.series.other_forecasts import no_forecast, open_other_forecast
from nowcast.signals import uninterrupted
from nowcast.untrusted.files import refuse_unsound
from nowcast.untrusted.isolation import isolated
from nowcast.version import __version__

REFERENCE_TIME, LEAD_TIME = "forecast_reference_time", "lead_time"
MODEL = "model"
"""The name of the method if the forecast gives none: a trained model."""
_CLOCK = {"units": "minutes since 1970-01-01 00:00:00", "calendar": "standard", "dtype": "float64"}
# xarray may leave out a zero time of day
_SPELLED = (_CLOCK["units"], _CLOCK["units"].removesuffix(" 00:00:00"))
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NO_LEAP_SECONDS = {"units_metadata": "leap_seconds: none"}
# every reader verifies this checksum of each chunk; scalars have no chunks
_CHECKED = {"fletcher32": True}
# every build of CDO and GDAL can read this compression
_COMPRESSED = {"zlib": True, "complevel": 4, "shuffle": True}
_TEXTS = {
    "units",
    "standard_name",
    "long_name",
    "axis",
    "grid_mapping",
    "grid_mapping_name",
    "crs_wkt",
    "spatial_ref",
}
# netCDF4 raises the last of these for a damaged attribute
_UNREADABLE = (OSError, ValueError, RuntimeError, AttributeError)
_TITLE, _SOURCE = "Precipitation forecast", "nowcast "
_LAST = 2**27  # largest plausible minutes since 1970, in the year 2225
_AT_ONCE = 2**28  # variables up to this many bytes are read in one go
_HEAD = 2**14  # bytes at the start of a file, which include its attributes
_OURS = re.compile(
    rb"title\0.{1,24}%b.*source\0.{1,24}%b" % (_TITLE.encode(), _SOURCE.encode()), re.DOTALL
)

LATEST = "latest.nc"
"""The name under which the newest forecast is also published, next to the forecast files."""


def build_forecast(
    rates: NDArray[np.float32],
    grid: xr.Dataset,
    forecast_reference_time: np.datetime64,
    timestep: np.timedelta64,
    provenance: Mapping[str, Any],
    probabilities: FileProbabilities | None = None,
    members: NDArray[np.float32] | None = None,
) -> xr.Dataset:
    """Build the forecast dataset of rates on the grid of the input.

    `time` is the valid time, `forecast_reference_time` the time of the last observed frame, and
    `lead_time` their difference in minutes. The georeference is that of the grid.
    Args:
        rates: (lead, y, x) in mm/h, or (lead, m, y, x) for an ensemble; NaN = missing.
        grid: a canonical grid.
        forecast_reference_time: time of the last observed frame, in UTC.
        timestep: from one lead time to the next.
        provenance: global attributes; values that are not text are written as JSON. If the method
            is not a trained ConvLSTM, `source` and `references` say what it is and where it was
            published.
        probabilities: for the same times and pixels, if the method gives any; they are rounded to
            steps of 0.005, as in a file.
        members: (lead, n, y, x) in mm/h, if any: drawn from the probabilities, or, without
            probabilities, the rates of each of several models.

    Returns:
        `precipitation_rate` (time, y, x), or (time, realization, y, x), in mm h-1, CF-1.11; with
        probabilities also `probability` (time, threshold, y, x), with members also `member_rate`
        (time, realization, y, x) in mm h-1.

    Example:
        >>> from nowcast.radar import synthetic_grid
        >>> grid, step = synthetic_grid(2, 4, 4), np.timedelta64(5, "m")
        >>> rates = np.zeros((3, 4, 4), np.float32)
        >>> forecast = build_forecast(rates, grid, grid["time"].values[-1], step, {})
        >>> forecast["lead_time"].values
        array([ 5., 10., 15.])
    """
    leads = timestep * np.arange(1, len(rates) + 1)
    start = forecast_reference_time.astype("datetime64[ns]")
    time = {"standard_name": "time", "long_name": "valid time", "axis": "T", **_NO_LEAP_SECONDS}
    reference = {
        "standard_name": REFERENCE_TIME,
        "long_name": "time of the last observed frame",
        **_NO_LEAP_SECONDS,
    }
    lead = {
        "standard_name": "forecast_period",
        "long_name": "time since the last observed frame",
        "units": "minute",
    }
    about = {
        "standard_name": "lwe_precipitation_rate",
        "long_name": "forecast precipitation rate",
        "units": UNITS,
    }
    coords: dict[Any, Any] = {
        name: _as_it_is(grid.variables[name]) for name in grid.coords if name != "time"
    }
    coords["time"] = ("time", start + leads, time)
    coords[REFERENCE_TIME] = ((), start, reference)
    coords[LEAD_TIME] = ("time", leads / np.timedelta64(1, "m"), lead)
    dims = DIMS if rates.ndim == 3 else MEMBER_DIMS
    for ensemble in (rates if rates.ndim == 4 else None, members):
        if ensemble is not None:
            coords[REALIZATION] = realization_variable(ensemble.shape[1])
    fields = {RATE: xr.Variable(dims, rates.astype(np.float32, copy=False), about)}
    if probabilities is not None:
        coords[THRESHOLD] = threshold_variable(probabilities)
        fields[PROBABILITY] = probability_variable(probabilities)
    if members is not None:
        fields[MEMBER_RATE] = member_variable(members, drawn=probabilities is not None)
    if CRS in grid.coords:
        for field in fields.values():
            field.attrs["grid_mapping"] = CRS
    return xr.Dataset(fields, coords, _global_attributes(grid, provenance))


def write_forecast(dataset: xr.Dataset, path: str | Path) -> None:
    """Write a forecast file, complete or not at all, compressed.

    Args:
        dataset: as made by `build_forecast` or `RadarForecaster.forecast`.
        path: of the NetCDF file.

    Returns:
        None.

    Raises:
        CannotCreateError, InputOutputError: if it cannot be written.

    Example:
        >>> from nowcast import load_forecaster, open_grid
        >>> forecast = load_forecaster("runs/mine/best.pt").forecast(open_grid("archive/*.nc"))
        >>> write_forecast(forecast, "forecasts/newest.nc")
    """
    stored = _as_stored(dataset)
    with written_whole(path) as temporary, uninterrupted():
        stored.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", unlimited_dims=["time"])


def method_name(forecast: xr.Dataset) -> str:
    """Return the method that a forecast names, or the name of a pretrained model, or "model"."""
    checkpoint = forecast.attrs.get("checkpoint")
    return str(forecast.attrs.get("method", checkpoint if checkpoint in model_names() else MODEL))


def open_forecast(path: str | Path) -> xr.Dataset:
    """Read a whole forecast file into memory.

    Args:
        path: of a file that `nowcast predict` or `write_forecast` wrote, or of another program's
            forecast that follows CF or pysteps: rates, amounts or reflectivity.

    Returns:
        The forecast as it was built: `precipitation_rate` (time, y, x) or (time, realization, y, x)
        in mm h-1; `probability` (time, threshold, y, x) and `member_rate` (time, realization, y,
        x) if the file has them. In another program's forecast, the attribute `converted_from` says
        which quantity the rates were computed from.

    Raises:
        MissingInputError: if there is no such file.
        InputOutputError: if the disk fails.
        DataError: if it is damaged or not a forecast.
        DeviceError: if it does not fit into memory.

    Example:
        >>> open_forecast("forecasts/one.nc").sizes["time"]
        4
    """
    path = Path(path)
    dataset = _read_whole(path)
    problem = _problem(dataset)
    if problem and dataset.attrs.get("title") != _TITLE:
        dataset = _of_another_program(path)
        problem = _problem(dataset)
    return _checked(path, dataset, problem)


def open_own_forecast(path: Path, *, pixels: bool = True) -> xr.Dataset:
    """Read a forecast file like `open_forecast`, but only if it has the structure of a nowcast
    forecast. Without `pixels` read only attributes and times, which is fast.
    """
    dataset = _read_whole(path, pixels=pixels)
    return _checked(path, dataset, _problem(dataset))


def _checked(path: Path, dataset: xr.Dataset, problem: str) -> xr.Dataset:
    """Return the dataset with times rounded. Errors: DataError if there is a problem."""
    if problem:
        raise no_forecast(path, problem)
    if CRS in dataset:
        dataset = dataset.set_coords(CRS)
    return dataset.assign_coords(
        {
            name: _to_milliseconds(dataset[name])
            for name in ("time", REFERENCE_TIME, *window_times(dataset))
        }
    )


def _of_another_program(path: Path) -> xr.Dataset:
    """Return another program's forecast in our structure; its lead times may be irregular."""
    other = open_other_forecast(path)
    rates = np.empty(other.shape, np.float32)
    _refuse_beyond_memory(path, rates.shape)
    for step in range(len(rates)):
        rates[step] = other.read(step)
    leads = (other.times - other.reference) / np.timedelta64(1, "m")
    made = build_forecast(
        rates if other.is_ensemble else rates[:, 0],
        xr.Dataset(coords=other.place),
        other.reference,
        np.timedelta64(1, "m"),
        {},
    )
    times = {"time": other.times, LEAD_TIME: leads}
    made = made.assign_coords({name: made[name].copy(data=one) for name, one in times.items()})
    made.attrs = {**other.attrs, "converted_from": other.converted_from}
    return made


def _read_whole(path: Path, *, pixels: bool = True) -> xr.Dataset:
    """Read a file, or all but its pixels; equivalent units and times are converted to ours."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such forecast file"
        raise MissingInputError(f"{path}: {what}; give a file that 'nowcast predict' wrote.")
    try:
        dataset, large = isolated(path, _load, path, _AT_ONCE, pixels)
        for one in large:
            dataset[one.name] = _read_large(path, one)
    except NowcastError:
        raise
    except PermissionError as error:
        raise MissingInputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        ) from error
    except Exception as error:  # libraries raise many kinds for a file that they cannot read
        refuse_fault_of_machine(path, error)
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).partition(
            "\n"
        )[0]
        raise DataError(
            f"{path}: not a whole NetCDF file ({reason}); compare it with its source, or forecast"
            " again."
        ) from error
    return _in_our_words(dataset)


@dataclass(frozen=True)
class _Large:
    """A variable that is too large to be read in one go."""

    name: str
    dims: tuple[Hashable, ...]
    shape: tuple[int, ...]
    attrs: dict[str, Any]


def _load(path: Path, at_once: int, pixels: bool) -> tuple[xr.Dataset, list[_Large]]:
    """Load a file into memory, apart from variables larger than `at_once` bytes; without `pixels`,
    x and y have length 0.
    """
    refuse_unsound(path)
    # xarray warns of times that it cannot decode; they are refused later
    quiet = warnings.catch_warnings(action="ignore")
    with quiet, xr.open_dataset(path.absolute(), engine="netcdf4", decode_timedelta=False) as whole:
        if RATE not in whole.variables:  # from another program: its rain is read elsewhere
            return whole.drop_vars(whole.variables), []
        none = dict.fromkeys(DIMS[1:], slice(0))
        file = whole if pixels else whole.isel(none, missing_dims="ignore")
        large = []
        for name in (RATE, PROBABILITY, MEMBER_RATE, *accumulation_variables(file)):
            if name in file.variables and file[name].ndim and file[name].nbytes > at_once:
                one = file[name].variable
                large.append(_Large(name, one.dims, one.shape, one.attrs))
        return _plain(file.drop_vars([one.name for one in large]).load()), large


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with objects turned into text. Objects stand for times such as year
    -99999999, which cause warnings wherever they are used; as text they are recognised as no time.
    """
    objects = {
        name: one.astype(str) for name, one in dataset.variables.items() if one.dtype.kind == "O"
    }
    return dataset.assign(
        {name: (one.dims, one.values, one.attrs) for name, one in objects.items()}
    )


def _read_large(path: Path, about: _Large) -> xr.Variable:
    """Read a variable step by step. Errors: DeviceError if it does not fit into memory."""
    _refuse_beyond_memory(path, about.shape)
    values = np.empty(about.shape, np.float32)
    for step in range(about.shape[0]):
        values[step] = isolated(path, _read_step, path, about.name, step)
    return xr.Variable(about.dims, values, about.attrs)


def _refuse_beyond_memory(path: Path, shape: tuple[int, ...]) -> None:
    free, needs = free_memory(), 4 * math.prod(shape)
    if free is not None and needs > free:
        raise DeviceError(
            f"{path}: holds {two_digits(needs / 1e9)} GB of rain, but only"
            f" {two_digits(free / 1e9)} GB of memory are free; free some."
        )


def _read_step(path: Path, name: str, step: int) -> NDArray[np.float32]:
    with xr.open_dataset(path.absolute(), engine="netcdf4", decode_timedelta=False) as file:
        return np.asarray(file[name][step].values, np.float32)


def read_reference_time(path: Path) -> np.datetime64 | None:
    """Return the forecast reference time of a file that nowcast wrote, without reading more of it;
    None for any other file, and if the file is missing.
    """
    if not path.is_file():
        return None
    try:
        return isolated(path, _reference_time, path)
    except DataError:
        return None


def _reference_time(path: Path) -> np.datetime64 | None:
    try:
        with netCDF4.Dataset(path) as file:
            file.set_auto_mask(False)
            title, source = str(getattr(file, "title", "")), str(getattr(file, "source", ""))
            if (
                title != _TITLE
                or not source.startswith(_SOURCE)
                or file[REFERENCE_TIME].units not in _SPELLED
            ):
                return None
            minutes = float(file[REFERENCE_TIME][...])
    except (*_UNREADABLE, IndexError, TypeError):
        return None
    return (
        np.datetime64(round(minutes * 60e3), "ms").astype("datetime64[ns]")
        if abs(minutes) < _LAST
        else None
    )


def check_forecast(dataset: Any) -> None:
    """Errors: DataError if this is not a forecast dataset as made by `build_forecast`."""
    if not isinstance(dataset, xr.Dataset):
        raise DataError(
            f"a forecast is an xarray.Dataset, as returned by open_forecast, not"
            f" {type(dataset).__name__}."
        )
    absent = [name for name in (RATE, "time", LEAD_TIME, REFERENCE_TIME) if name not in dataset]
    if absent or "time" not in dataset.sizes or not dataset.sizes["time"]:
        raise DataError(
            f"this dataset is not a forecast: it lacks {', '.join(absent) or 'a lead time'}; give"
            " a dataset that RadarForecaster.forecast made or open_forecast read."
        )
    if dataset[RATE].dtype.kind != "f" or bool(np.isnat(dataset[REFERENCE_TIME].values).any()):
        raise DataError(
            "this dataset is not a forecast: its rates are not floating point, or it has no"
            " reference time."
        )
    problem = _problem_of_values(dataset)
    if problem:
        raise DataError(f"this dataset is not a forecast: {problem}.")


def is_forecast(path: Path) -> bool:
    """Whether nowcast wrote this file, judged by its first bytes if they suffice: much faster than
    `read_reference_time`.
    """
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.startswith(_SIGNATURE) and (
        _OURS.search(head) is not None or read_reference_time(path) is not None
    )


def is_damaged(path: Path) -> bool:
    """Whether a file cannot be opened, although it begins like a forecast file, is empty or begins
    with zeros.
    """
    with open(path, "rb") as file:
        start = file.read(len(_SIGNATURE))
    try:
        isolated(path, _open, path)
        return False
    except (*_UNREADABLE, DataError):
        return start == _SIGNATURE or not start.strip(b"\0")


def _open(path: Path) -> None:
    netCDF4.Dataset(path).close()


def find_forecasts(path: str) -> list[Path]:
    """Return the forecast files of a path, a folder or a glob, sorted by name; for a folder or a
    glob without `latest.nc`.

    Errors: MissingInputError if there are none.
    """
    whole = Path(path).expanduser()
    if whole.is_file():
        return [whole]
    found = (
        whole.glob("*.nc") if whole.is_dir() else map(Path, glob.glob(str(whole), recursive=True))
    )
    paths = sorted(
        one
        for one in found
        if one.is_file() and one.name != LATEST and not one.name.startswith(".")
    )
    if not paths:
        raise MissingInputError(
            f"{path}: no forecast files found; give a file, folder or quoted glob of files that"
            " 'nowcast predict' wrote."
        )
    return paths


def _global_attributes(grid: xr.Dataset, provenance: Mapping[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # attribution and licence of the input; those of the forecast are up to the user
    said = {f"input_{name}": value for name, value in grid.attrs.items()}
    return {
        "Conventions": "CF-1.11",
        "title": _TITLE,
        "source": f"{_SOURCE}{__version__}: learned extrapolation of radar rain rates",
        "history": f"{now} nowcast predict",
        "references": "Shi et al. 2015, https://arxiv.org/abs/1506.04214",
        **{
            name: value if isinstance(value, str) else json.dumps(value, default=str)
            for name, value in {**said, **provenance}.items()
        },
    }


def _as_it_is(variable: xr.Variable) -> xr.Variable:
    """Return a variable without the encoding of the file that it was read from."""
    return xr.Variable(variable.dims, variable.values, variable.attrs)


def _as_stored(dataset: xr.Dataset) -> xr.Dataset:
    """Return a copy whose variables have the encoding of a forecast file."""
    copy = dataset.copy()
    if CRS in copy.coords:  # in CF a grid mapping is not a coordinate
        copy = copy.reset_coords(CRS)
    for variable in copy.variables.values():
        variable.encoding = {
            "_FillValue": None,
            "coordinates": None,
            **(_CLOCK if variable.dtype.kind == "M" else {}),
            **({**_CHECKED, "chunksizes": variable.shape} if variable.ndim else {}),
            **(_COMPRESSED if variable.ndim == 2 else {}),
        }
    ends = window_times(copy)
    field: dict[str, Any] = {
        **_CHECKED,
        **_COMPRESSED,
        "coordinates": " ".join(sorted(set(map(str, copy.coords)) - {*copy.dims, *ends})),
    }
    for name in (RATE, MEMBER_RATE):
        if name in copy:
            copy[name].encoding = field | rate_encoding(copy[name].shape)
    if PROBABILITY in copy:
        copy[PROBABILITY].encoding = field | probability_encoding(copy[PROBABILITY].shape)
    for name in accumulation_variables(copy):
        copy[name].encoding = accumulation_encoding(name, copy[name], field)
    return copy


def _in_our_words(dataset: xr.Dataset) -> xr.Dataset:
    """Return another program's dataset with our spelling of the unit, with lead times computed from
    its times, and with text attributes converted to text.
    """
    dataset.attrs = {
        name: str(value) if isinstance(value, np.ndarray) else value
        for name, value in dataset.attrs.items()
    }
    for variable in dataset.variables.values():
        variable.attrs = {
            name: str(value) if name in _TEXTS else value for name, value in variable.attrs.items()
        }
    for name in (RATE, THRESHOLD, MEMBER_RATE):
        if name in dataset and _same_unit(str(dataset[name].attrs.get("units", ""))):
            dataset[name].attrs["units"] = UNITS
    times = {name: dataset[name] for name in ("time", REFERENCE_TIME) if name in dataset.variables}
    if (
        LEAD_TIME not in dataset.variables
        and len(times) == 2
        and all(time.dtype.kind == "M" for time in times.values())
    ):
        lead = (times["time"] - times[REFERENCE_TIME]).values / np.timedelta64(1, "m")
        if lead.ndim == 1:
            dataset = dataset.assign_coords({LEAD_TIME: ("time", lead, {"units": "minute"})})
    return dataset


def _same_unit(units: str) -> bool:
    try:
        return quantity_of(units) == "rate" and rate_factor(units) == 1.0
    except DataError:
        return False


def _problem(dataset: xr.Dataset) -> str:
    """Return what `dataset` lacks to be a forecast; empty if it is one."""
    ensemble = RATE in dataset.variables and REALIZATION in dataset[RATE].dims
    needed = {
        RATE: MEMBER_DIMS if ensemble else DIMS,
        "time": ("time",),
        REFERENCE_TIME: (),
        LEAD_TIME: ("time",),
    }
    for name, dims in (needed | ({REALIZATION: (REALIZATION,)} if ensemble else {})).items():
        if name not in dataset.variables:
            return f"it has no {name!r}"
        if dataset[name].dims != dims:
            return f"{name!r} has the dimensions {dataset[name].dims}, not {dims}"
    undated = next(
        (name for name in ("time", REFERENCE_TIME) if dataset[name].dtype.kind != "M"), None
    )
    if undated:
        return f"{undated!r} holds no times"
    unnumbered = next(
        (name for name in (RATE, LEAD_TIME) if dataset[name].dtype.kind not in "fiu"), None
    )
    if unnumbered:
        return f"{unnumbered!r} holds no numbers"
    passed = (dataset["time"] - dataset[REFERENCE_TIME]).values / np.timedelta64(1, "m")
    # scalars have no checksum that would reveal damage
    if not np.allclose(passed, dataset[LEAD_TIME].values, rtol=0, atol=1e-4):
        return f"{LEAD_TIME!r} is not the time since {REFERENCE_TIME!r}"
    if dataset[RATE].attrs.get("units") != UNITS:
        return f"{RATE!r} is not in {UNITS!r}"
    return _problem_of_values(dataset)


def _problem_of_values(dataset: xr.Dataset) -> str:
    """Return what makes the values impossible in a forecast; empty if nothing does."""
    leads = dataset[LEAD_TIME].values
    if not leads.size:
        return "it has no lead time"
    if not (np.diff(leads, prepend=0.0) > 0).all():
        return f"{LEAD_TIME!r} does not rise from above 0"
    rates = dataset[RATE]
    if rates.dtype.kind == "f" and np.isinf(rates.values).any():
        return f"{RATE!r} holds infinite values"
    if (rates.values < LEAST_RATE).any():
        return f"{RATE!r} holds values below 0"
    problems = (probability_problem, member_problem, accumulation_problem)
    return next(filter(None, (problem(dataset) for problem in problems)), "")


def _to_milliseconds(time: xr.DataArray) -> xr.DataArray:
    """Round times to ms: minutes in double precision turn 20 s into 19.9999999 s."""
    return time.copy(data=np.asarray(time.dt.round("ms").values, dtype="datetime64[ns]"))
