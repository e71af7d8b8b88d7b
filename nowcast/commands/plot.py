"""`nowcast plot`: forecast files, and what was then observed → one picture or film."""

import logging
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nowcast.config.data import RadarConfig
from nowcast.config.plot import PlotConfig
from nowcast.console import printable
from nowcast.errors import DataError, MissingInputError, UsageError
from nowcast.factories.radar import reading
from nowcast.forecast.dataset import LEAD_TIME, MODEL, REALIZATION, REFERENCE_TIME, open_forecast
from nowcast.radar import RATE, find_files, open_files
from nowcast.radar.placing.cropping import degrees_of, knows_degrees
from nowcast.radar.placing.georeference import grid_differs, place_of_grid
from nowcast.radar.placing.place import origin_of
from nowcast.radar.times import Times, show
from nowcast.report.pictures.frames import draw_film, draw_frames

log = logging.getLogger(__name__)

Frames = list[Any]
"""Arrays (h, w) in mm/h; None where nothing was observed."""


def plot(config: PlotConfig, files: Sequence[str]) -> Path:
    """Draw the forecasts of these files side by side, below what was then observed where `data`
    is given. → the file written.
    """
    forecasts = open_alike(files)
    first = next(iter(forecasts.values()))
    reference_time = first[REFERENCE_TIME].values
    is_panel = Path(config.output).suffix == ".png"
    observed, past = None, None
    if config.data is not None:
        observed, past = observed_frames(config.data, first, config.columns if is_panel else 0)
    place = place_of_grid(first)
    shown: dict[str, Any] = {
        "observed": observed,
        "forecasts": {name: rates_of(forecast) for name, forecast in forecasts.items()},
        "lead_minutes": [float(minutes) for minutes in first[LEAD_TIME].values],
        "title": f"Forecast from {show(reference_time).replace('T', ' ')} UTC",
        "reference_time": reference_time.astype("datetime64[us]").item(),
        "origin": origin_of(first),
        "colours": config.colours,
        "degrees": degrees_of(place, files[0]) if knows_degrees(place) else None,
    }
    if is_panel:
        path = draw_frames(config.output, past=past, columns=config.columns, **shown)
    else:
        path = draw_film(config.output, frames_per_second=config.frames_per_second, **shown)
    print(path)
    return path


def open_alike(files: Sequence[str]) -> dict[str, xr.Dataset]:
    """Forecasts by name.

    Errors: UsageError for none, or one twice; DataError where grid, reference time or lead times
    differ.
    """
    if not files:
        raise UsageError(
            "plot: give a forecast file, as 'nowcast plot forecast.nc'; see 'nowcast plot --help'."
        )
    twice = next(
        (
            file
            for k, file in enumerate(files)
            if Path(file).resolve() in {Path(one).resolve() for one in files[:k]}
        ),
        None,
    )
    if twice:
        raise UsageError(f"{twice}: given twice; give each forecast file once.")
    forecasts = [open_forecast(Path(file).expanduser()) for file in files]
    for file, forecast in zip(files, forecasts, strict=True):
        problem = _differs(forecasts[0], forecast)
        if problem:
            raise DataError(
                f"{file}: cannot be drawn beside {files[0]} ({problem}); draw them apart."
            )
    return dict(zip(names_of(files, forecasts), forecasts, strict=True))


def names_of(files: Sequence[str], forecasts: Sequence[xr.Dataset]) -> list[str]:
    """The method of each forecast, as in tables of scores; with the folder or file where
    several have the same.
    """
    methods = [str(forecast.attrs.get("method", MODEL)) for forecast in forecasts]
    alike = {
        method: [file for file, one in zip(files, methods, strict=True) if one == method]
        for method in methods
    }
    told_apart = {
        file: where
        for same in alike.values()
        if len(same) > 1
        for file, where in zip(same, differing_parts(same), strict=True)
    }
    names = [
        f"{method}, {told_apart[file]}" if file in told_apart else method
        for file, method in zip(files, methods, strict=True)
    ]
    members = [forecast.sizes.get(REALIZATION, 1) for forecast in forecasts]
    return [
        printable(name) if m == 1 else f"{printable(name)}, mean of {m} members"
        for name, m in zip(names, members, strict=True)
    ]


def differing_parts(paths: Sequence[str]) -> list[str]:
    """Of paths that differ the folders, or the file names, in which they do: of a/fc/x.nc and
    b/fc/x.nc a and b.
    """
    parts = [Path(path).resolve().parts for path in paths]
    common = next(k for k, names in enumerate(zip_longest(*parts)) if len(set(names)) > 1)
    rest = [one[common:] for one in parts]
    same = next(
        (
            k
            for k, names in enumerate(zip_longest(*[one[::-1] for one in rest]))
            if len(set(names)) > 1
        ),
        0,
    )
    same = min(same, min(map(len, rest)) - 1)  # none is left without a name
    return [str(Path(*one[: len(one) - same])) for one in rest]


def rates_of(forecast: xr.Dataset) -> Any:
    """Rates (lead, y, x) in mm/h, of an ensemble the mean of its members; a pixel missing in
    one of them is missing.
    """
    rates = forecast[RATE]
    return (rates.mean(REALIZATION, skipna=False) if REALIZATION in rates.dims else rates).values


def observed_frames(
    data: RadarConfig, forecast: xr.Dataset, before: int
) -> tuple[Frames, Frames | None]:
    """The frames of the valid times, and `before` frames up to the reference time or None where
    none of these is there.

    Errors: MissingInputError where no valid time was observed, DataError where the grid is another.
    """
    valid, reference = forecast["time"].values, forecast[REFERENCE_TIME].values
    earlier = reference - (valid[0] - reference) * np.arange(before)[::-1]
    period = (earlier[0] if before else valid[0], valid[-1])
    grid = open_files(find_files(data.path, period, data.format), reading(data), [period])
    problem = grid_differs(forecast, grid)
    if problem:
        raise DataError(
            f"{data.path}: not on the grid of the forecast ({problem}); give observations on the"
            " same grid."
        )
    observed = _frames_at(grid, valid)
    absent = [show(time) for time, frame in zip(valid, observed, strict=True) if frame is None]
    if len(absent) == len(observed):
        raise MissingInputError(
            f"{data.path}: none of the forecast's times was observed, {show(valid[0])} to"
            f" {show(valid[-1])} UTC; give the files of these times, or leave out data."
        )
    if absent:
        log.warning(
            "%s: %d of %d times were not observed: %s UTC",
            data.path,
            len(absent),
            len(observed),
            ", ".join(absent),
        )
    past = _frames_at(grid, earlier)
    return observed, past if any(frame is not None for frame in past) else None


def _frames_at(grid: xr.Dataset, wanted: Times) -> Frames:
    """A frame for each time, None where the grid has none."""
    place = {time: index for index, time in enumerate(grid["time"].values)}
    return [grid[RATE][place[time]].values if time in place else None for time in wanted]


def _differs(first: xr.Dataset, other: xr.Dataset) -> str:
    """Why two forecasts cannot stand side by side; empty where they can."""
    if other[REFERENCE_TIME].values != first[REFERENCE_TIME].values:
        times = [show(one[REFERENCE_TIME].values) for one in (other, first)]
        return f"it starts at {times[0]}, the other at {times[1]} UTC"
    if not np.array_equal(other[LEAD_TIME].values, first[LEAD_TIME].values):
        return "other lead times"
    problem = grid_differs(other, first)
    return f"another grid: {problem}" if problem else ""
