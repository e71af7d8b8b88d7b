"""Forecasts of a field on the grid of the radar, as rain of a weather model, from NetCDF."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.errors import DataError, MissingInputError
from nowcast.radar.placing.georeference import Place
from nowcast.radar.reading import storage
from nowcast.radar.reading.cf.axes import y_and_x
from nowcast.radar.reading.cf.place import place_of
from nowcast.radar.reading.cf.times import decode
from nowcast.radar.reading.storage import explained
from nowcast.radar.reading.units import dry_in
from nowcast.radar.series import fields
from nowcast.radar.times import Times
from nowcast.untrusted.isolation import if_running, isolated

REFERENCE = ("forecast_reference_time", "reference_time", "init_time", "initial_time", "run")
LEAD = ("forecast_period", "lead_time", "leadtime", "step", "prediction_timedelta")
_SECONDS = {
    unit: seconds
    for units, seconds in (
        ("d day days", 86400),
        ("h hr hrs hour hours", 3600),
        ("min mins minute minutes", 60),
        ("s sec secs second seconds", 1),
    )
    for unit in units.split()
}
"""Seconds of a unit of lead times."""


@dataclass(frozen=True, eq=False)
class FieldAheadFile:
    """A variable of a file of forecasts, on the grid of the radar; its frames unread.

    name: its CF standard name, or else its own.
    references: (runs,) rising, in UTC. leads: (leads,) rising.
    variable, dims: the file's names of it, and of its (run, lead, y, x); None for a single run.
    size: (y, x) in pixels. first: the run of the file that is the first here.
    """

    path: Path
    name: str
    references: Times
    leads: npt.NDArray[np.timedelta64]
    variable: str
    dims: tuple[str | None, str, str, str]
    size: tuple[int, int]
    first: int = 0

    @property
    def is_vector(self) -> bool:
        """Whether it is a component or a direction of wind or the like, by its name."""
        return fields.is_vector(self.name)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(runs × leads, y, x)."""
        return self.references.size * self.leads.size, *self.size

    def between(self, start: np.datetime64, end: np.datetime64) -> "FieldAheadFile":
        """The runs that begin from `start` to `end`."""
        first, last = np.searchsorted(self.references, [start, end + np.timedelta64(1, "ns")])
        return replace(self, references=self.references[first:last], first=self.first + int(first))

    def read(self, first: int, last: int) -> npt.NDArray[np.float32]:
        """Frames first … last − 1 of all runs after each other, (n, y, x), NaN = missing.

        Errors: DataError where the file is damaged.
        """
        if first == last:
            return np.empty((0, *self.size), np.float32)
        start = self.first * self.leads.size
        return isolated(
            self.path, _read, self.path, self.variable, self.dims, start + first, start + last
        )

    def close(self) -> None:
        """Close the file."""
        if_running(fields.close_opened)


@dataclass(frozen=True, eq=False)
class _Found:
    """What a file says of a variable."""

    name: str
    references: Times
    leads: npt.NDArray[np.timedelta64]
    dims: tuple[str | None, str, str, str]
    size: tuple[int, int]
    place: Place


def open_field_ahead(path: str, variable: str, grid: xr.Dataset) -> FieldAheadFile:
    """The variable of a NetCDF file or Zarr store, (run, lead, y, x) or (lead, y, x), on the grid
    of the radar.

    The run's time is a CF `forecast_reference_time`, the lead time a `forecast_period` (or a
    `time`, when each frame is valid).
    Errors: MissingInputError where the file is not there; MissingLibraryError for Zarr without
    zarr; DataError naming the file, what is wrong and what to do.
    """
    where = Path(path).expanduser()
    if not where.exists():
        raise MissingInputError(
            f"{path}: no such field file; check its path in inputs.ahead.fields or input_paths."
        )
    found = isolated(where, _find, where, variable, path)
    zero = np.timedelta64(0, "ns")
    if not found.leads.size:
        raise DataError(f"{path}: has no lead time; give a file with some.")
    for steps, what in (
        (np.diff(found.references), "runs"),
        (np.diff(found.leads), "lead times"),
    ):
        if not (steps > zero).all():
            raise DataError(f"{path}: its {what} do not rise; sort them and keep each once.")
    fields.check_place(found.size, found.place, variable, grid, path)
    return FieldAheadFile(
        where, found.name, found.references, found.leads, variable, found.dims, found.size
    )


def _find(where: Path, variable: str, path: str) -> _Found:
    with explained(where):
        file = fields.open_dataset(where)
        if variable not in file.variables:
            raise DataError(
                f"{path}: has no variable {variable!r}, only"
                f" {', '.join(map(str, file.variables)) or 'none'}; name one."
            )
        field = file[variable]
        run, lead = named(file, REFERENCE), named(file, LEAD)
        lead = named(file, ("time",)) if lead is None else lead
        if run is None or lead is None or lead.ndim != 1 or lead.dims[0] not in field.dims:
            raise DataError(
                f"{path}: {variable!r} has no forecast_reference_time and lead time that are known;"
                " give them as CF does (forecast_reference_time, and forecast_period or time)."
            )
        along_run = str(run.dims[0]) if run.ndim and run.dims[0] in field.dims else None
        along_lead = str(lead.dims[0])
        if " since " not in str(run.attrs.get("units", "")):
            raise DataError(
                f"{path}: {run.name!r} has no units as 'hours since 2020-01-01'; give them, as CF"
                " has them."
            )
        if along_run == along_lead or (along_run is None and run.size > 1):
            raise DataError(
                f"{path}: {variable!r} has no dimension of its own for the {run.size} runs; give it"
                " over run, lead, y, x."
            )
        field = field.squeeze(
            [d for d in field.dims if field.sizes[d] == 1 and d not in (along_run, along_lead)],
            drop=True,
        )
        space = [str(name) for name in field.dims if name not in (along_run, along_lead)]
        if field.dtype.kind not in "iufb" or len(space) != 2:
            raise DataError(
                f"{path}: {variable!r} is {field.dtype} over {field.dims}; a field ahead has"
                " numbers over run, lead, y, x, or lead, y, x."
            )
        y, x = y_and_x(file, space, path)
        references = np.atleast_1d(decode(run, where))
        name = str(field.attrs.get("standard_name", variable))
        size = field.sizes[y], field.sizes[x]
        place = place_of(file, field, y, x, path)
        leads = leads_of(lead, references, path, where)
        return _Found(name, references, leads, (along_run, along_lead, y, x), size, place)


def named(file: xr.Dataset, names: tuple[str, ...]) -> xr.DataArray | None:
    """The variable whose CF standard name, or own name, is one of these."""
    for name in file.variables:
        if file[name].attrs.get("standard_name") in names or str(name).lower() in names:
            return file[name]
    return None


def leads_of(
    lead: xr.DataArray, references: Times, path: str, where: Path
) -> npt.NDArray[np.timedelta64]:
    """Lead times, from their own units, or from the times that a single run is valid at."""
    units = str(lead.attrs.get("units", ""))
    if " since " in units:
        if references.size != 1:
            raise DataError(f"{path}: times of several runs need lead times; give forecast_period.")
        return np.asarray(decode(lead, where) - references[0])
    if units.lower() not in _SECONDS or lead.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: lead times are {lead.dtype} in {units!r}; give numbers of hours, minutes or"
            " seconds."
        )
    seconds = np.round(np.asarray(lead.values, np.float64) * _SECONDS[units.lower()])
    return seconds.astype("timedelta64[s]").astype("timedelta64[ns]")


def _read(
    path: Path,
    variable: str,
    dims: tuple[str | None, str, str, str],
    first: int,
    last: int,
) -> npt.NDArray[np.float32]:
    """Frames first … last − 1 of all runs after each other, (n, y, x), NaN = missing."""
    with explained(path):
        run, lead, y, x = dims
        field = fields.open_dataset(path)[variable]
        field = field.squeeze([name for name in field.dims if name not in dims], drop=True)
        leads = field.sizes[lead]
        if run is None:
            raw = field.transpose(lead, y, x)[first:last].values
        else:
            runs = slice(first // leads, -(-last // leads))
            part = field.transpose(run, lead, y, x)[runs].values
            begin = first - runs.start * leads
            raw = part.reshape(-1, *part.shape[-2:])[begin : begin + last - first]
        blank = None if path.is_dir() else storage.unwritten(raw, field.attrs)
        dry = dry_in(str(field.attrs.get("units", "")))
        values = storage.unpack(raw, field.attrs, blank, ((), dry)).astype(np.float32)
        values[~np.isfinite(values)] = np.nan
        return values
