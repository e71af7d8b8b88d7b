"""`nowcast plot`: draw forecast files, also with the observations, as a picture or film."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import xarray as xr

from nowcast.api.plotting import (
    ObservedFrames,
    draw,
    forecasts_differ,
    frames_before,
    method_of,
    observed_frames,
    observed_times,
)
from nowcast.config.data import RadarConfig
from nowcast.config.plot import PlotConfig
from nowcast.errors import DataError, UsageError
from nowcast.factories.radar import copied, reading
from nowcast.forecast.dataset import method_name, open_forecast
from nowcast.probability.options import RATE_BY
from nowcast.radar import find_files, open_files


def plot(config: PlotConfig, files: Sequence[str]) -> Path:
    """Draw the forecasts of these files, below the observations if `data` is given.

    Return the path of the picture.
    """
    forecasts = open_alike(files)
    first = next(iter(forecasts.values()))
    seen: tuple[ObservedFrames | None, ObservedFrames | None] = None, None
    if config.data is not None:
        before = frames_before(config, config.output)
        grid = open_around(config.data, first, before)
        seen = observed_frames(grid, first, before, config.data.path)
    draw(forecasts, seen, config, files[0], config.output)
    print(config.output)
    return Path(config.output)


def open_around(data: RadarConfig, forecast: xr.Dataset, before: int) -> xr.Dataset:
    """Open the frames of the valid times, and `before` frames up to the reference time."""
    valid, earlier = observed_times(forecast, before)
    period = (earlier[0] if before else valid[0], valid[-1])
    files = copied(find_files(data.path, period, data.format), data)
    return open_files(files, reading(data), [period])


def open_alike(files: Sequence[str]) -> dict[str, xr.Dataset]:
    """Open forecasts by name.

    Errors: UsageError for no file, or one given twice; DataError if grid, reference time or lead
    times differ.
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
        problem = forecasts_differ(forecasts[0], forecast)
        if problem:
            raise DataError(
                f"{file}: cannot be drawn with {files[0]} ({problem}); draw them separately."
            )
    return dict(zip(names_of(files, forecasts), forecasts, strict=True))


def names_of(files: Sequence[str], forecasts: Sequence[xr.Dataset]) -> list[str]:
    """Return the method of each forecast, as in tables of scores.

    If several have the same method, the names add the rate if it differs, and otherwise the folder
    or file.
    """
    methods = [method_name(forecast) for forecast in forecasts]
    rates = [forecast.attrs.get(RATE_BY) for forecast in forecasts]
    kinds = {method: {rate for one, rate in zip(methods, rates, strict=True) if one == method}
             for method in methods}  # fmt: skip
    said = [
        f"rate={rate}" if rate is not None and len(kinds[method]) > 1 else None
        for method, rate in zip(methods, rates, strict=True)
    ]
    alike: dict[tuple[str, str | None], list[str]] = {}
    for file, method, rate in zip(files, methods, said, strict=True):
        alike.setdefault((method, rate), []).append(file)
    told_apart = {
        file: where
        for same in alike.values()
        if len(same) > 1
        for file, where in zip(same, differing_parts(same), strict=True)
    }
    return [
        method_of(forecast, ", ".join(filter(None, (rate, told_apart.get(file)))) or None)
        for file, forecast, rate in zip(files, forecasts, said, strict=True)
    ]


def differing_parts(paths: Sequence[str]) -> list[str]:
    """Return the parts in which paths differ: a and b for a/fc/x.nc and b/fc/x.nc."""
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
    same = min(same, min(map(len, rest)) - 1)  # keep at least one part of each
    return [str(Path(*one[: len(one) - same])) for one in rest]
