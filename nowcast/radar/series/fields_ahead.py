"""Forecast fields on the grid of the radar, such as rain from a weather model, from NetCDF."""

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
"""Seconds per unit of lead time."""


@dataclass(frozen=True, eq=False)
class FieldAheadFile:
    """A variable of a file of forecasts, on the grid of the radar; its frames are not read yet.

    name: its CF standard name, else its name in the file.
    references: (runs,) increasing, in UTC. leads: (leads,) increasing.
    variable, dims: names in the file of the variable, and of its dimensions (run, lead, y, x); None
    for a single run.
    size: (y, x) in pixels. first: number in the file of the first run used here.
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
        """Whether its name is that of a vector component or direction, such as wind."""
        return fields.is_vector(self.name)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(runs × leads, y, x)."""
        return self.references.size * self.leads.size, *self.size

    def between(self, start: np.datetime64, end: np.datetime64) -> "FieldAheadFile":
        """Return the runs that start from `start` to `end`."""
        first, last = np.searchsorted(self.references, [start, end + np.timedelta64(1, "ns")])
        return replace(self, references=self.references[first:last], first=self.first + int(first))

    def read(self, first: int, last: int) -> npt.NDArray[np.float32]:
        """Return frames first … last − 1, counted run after run, (n, y, x), NaN = missing.

        Errors: DataError if the file is damaged.
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
    """The description of a variable in a file."""

    name: str
    references: Times
    leads: npt.NDArray[np.timedelta64]
    dims: tuple[str | None, str, str, str]
    size: tuple[int, int]
    place: Place


def open_field_ahead(path: str, variable: str, grid: xr.Dataset) -> FieldAheadFile:
    """Open a variable of a NetCDF file or Zarr store, (run, lead, y, x) or (lead, y, x), on the
    grid of the radar.

    The time of a run is a CF `forecast_reference_time`, the lead time a `forecast_period` (or the
    valid `time`).
    Errors: MissingInputError if the file does not exist; MissingLibraryError for Zarr if zarr is
    not installed; DataError if the file cannot be used.
    """
    where = Path(path).expanduser()
    if not where.exists():
        raise MissingInputError(
            f"{path}: no such field file; check its path in inputs.ahead.fields or input_paths."
        )
    found = isolated(where, _find, where, variable, path)
    zero = np.timedelta64(0, "ns")
    if not found.leads.size:
        raise DataError(f"{path}: has no lead times; give a file with lead times.")
    for steps, what in (
        (np.diff(found.references), "runs"),
        (np.diff(found.leads), "lead times"),
    ):
        if not (steps > zero).all():
            raise DataError(f"{path}: its {what} do not increase; sort them and keep each once.")
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
                f"{path}: {variable!r} has no known reference time and lead time; add them as in CF"
                " (forecast_reference_time, and forecast_period or time)."
            )
        along_run = str(run.dims[0]) if run.ndim and run.dims[0] in field.dims else None
        along_lead = str(lead.dims[0])
        if " since " not in str(run.attrs.get("units", "")):
            raise DataError(
                f"{path}: {run.name!r} has no units like 'hours since 2020-01-01'; add them, as CF"
                " requires."
            )
        if along_run == along_lead or (along_run is None and run.size > 1):
            raise DataError(
                f"{path}: {variable!r} has no separate dimension for the {run.size} runs; it needs"
                " dimensions run, lead, y, x."
            )
        field = field.squeeze(
            [d for d in field.dims if field.sizes[d] == 1 and d not in (along_run, along_lead)],
            drop=True,
        )
        space = [str(name) for name in field.dims if name not in (along_run, along_lead)]
        if field.dtype.kind not in "iufb" or len(space) != 2:
            raise DataError(
                f"{path}: {variable!r} has type {field.dtype} and dimensions {field.dims}; a field"
                " ahead needs numbers over run, lead, y, x, or lead, y, x."
            )
        y, x = y_and_x(file, space, path)
        references = np.atleast_1d(decode(run, where))
        name = str(field.attrs.get("standard_name", variable))
        size = field.sizes[y], field.sizes[x]
        place = place_of(file, field, y, x, path)
        leads = leads_of(lead, references, path, where)
        return _Found(name, references, leads, (along_run, along_lead, y, x), size, place)


def named(file: xr.Dataset, names: tuple[str, ...]) -> xr.DataArray | None:
    """Return the variable whose CF standard name, or name, is one of these, or None."""
    for name in file.variables:
        if file[name].attrs.get("standard_name") in names or str(name).lower() in names:
            return file[name]
    return None


def leads_of(
    lead: xr.DataArray, references: Times, path: str, where: Path
) -> npt.NDArray[np.timedelta64]:
    """Return lead times, from their own units, or from the valid times of a single run."""
    units = str(lead.attrs.get("units", ""))
    if " since " in units:
        if references.size != 1:
            raise DataError(f"{path}: several runs need lead times; add a forecast_period.")
        return np.asarray(decode(lead, where) - references[0])
    if units.lower() not in _SECONDS or lead.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: lead times have type {lead.dtype} and units {units!r}; they need to be"
            " numbers of hours, minutes or seconds."
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
    """Return frames first … last − 1, counted run after run, (n, y, x), NaN = missing."""
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
