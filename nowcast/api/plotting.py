"""Pictures of forecasts in memory, and of what was then observed."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np
import xarray as xr

from nowcast.api.settings import configured
from nowcast.config.plot import PlotConfig
from nowcast.console import printable
from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.forecast.dataset import LEAD_TIME, MODEL, REFERENCE_TIME, check_forecast
from nowcast.forecast.file_members import REALIZATION
from nowcast.forecast.file_probability import probabilities_of
from nowcast.motion.estimation import MOTION_FRAMES, estimate_motion
from nowcast.radar.grid import RATE, check_grid, frames_at
from nowcast.radar.placing.cropping import degrees_of, knows_degrees
from nowcast.radar.placing.georeference import grid_differs, place_of_grid
from nowcast.radar.placing.place import origin_of, pixel_size
from nowcast.radar.times import show
from nowcast.report.pictures.arrows import Arrows, only_over_coverage
from nowcast.report.pictures.frames import draw_film, draw_frames, frames_figure

if TYPE_CHECKING:
    from nowcast.report.pictures.figure import Picture

log = logging.getLogger(__name__)

ObservedFrames = list[Any]
"""Arrays (h, w) in mm/h; None where nothing was observed."""


class PlotSettings(TypedDict, total=False):
    """Keys of `nowcast plot` that shape a picture; configs/plot.yaml explains each."""

    colours: str
    motion: bool
    columns: int
    probability: float | None
    frames_per_second: float


@overload
def plot(
    forecasts: xr.Dataset | Mapping[str, xr.Dataset],
    grid: xr.Dataset | None = None,
    output: None = None,
    **settings: Unpack[PlotSettings],
) -> "Picture": ...


@overload
def plot(
    forecasts: xr.Dataset | Mapping[str, xr.Dataset],
    grid: xr.Dataset | None = None,
    *,
    output: str | Path,
    **settings: Unpack[PlotSettings],
) -> Path: ...


def plot(
    forecasts: xr.Dataset | Mapping[str, xr.Dataset],
    grid: xr.Dataset | None = None,
    output: str | Path | None = None,
    **settings: Unpack[PlotSettings],
) -> "Picture | Path":
    """Draw forecasts side by side, below what was then observed, as `nowcast plot` does.

    Args:
        forecasts: one, or several of one reference time by the names to show. Rates are in mm/h;
            of an ensemble the mean of its members is drawn; with `probability=1` also the
            probability of at least 1 mm/h, of those that have it.
        grid: a canonical grid, as `open_grid` opens it, with what was then observed; None draws the
            forecasts only.
        output: a file to write: a panel of lead times (.png), or a film (.gif, .mp4).
        settings: keys of `nowcast plot`, as `colours="colour_blind"`; their defaults stand in
            configs/plot.yaml.

    Returns:
        The path that was written, or without `output` a Matplotlib figure, which a notebook shows.

    Raises:
        ConfigError: if a setting is unknown or beyond its limits, or no forecast has this
            probability.
        DataError: if forecasts or grid do not fit together.
        MissingInputError: if no time of the forecast was observed.
        CannotCreateError, InputOutputError: if the file cannot be written.

    Example:
        >>> from nowcast import load_forecaster, open_grid
        >>> grid = open_grid("archive/*.nc")
        >>> forecast = load_forecaster("runs/mine/best.pt").forecast(grid, at="2018-05-18T15:00")
        >>> figure = plot(forecast, grid)
        >>> print(figure.get_suptitle())
        Forecast from 2018-05-18 15:00 UTC
    """
    given: Any = forecasts
    if isinstance(given, xr.Dataset) or not isinstance(given, Mapping):
        check_forecast(given)
        given = {method_of(given): given}
    named: Mapping[str, xr.Dataset] = given
    for one in named.values():
        check_forecast(one)
    config = configured(
        "plot", PlotConfig, PlotSettings.__optional_keys__, settings, "the grid",
        output="forecast.png" if output is None else str(output),
    )  # fmt: skip
    if not named:
        raise DataError("there is no forecast to draw; give one or several.")
    first = next(iter(named.values()))
    for name, one in named.items():
        problem = forecasts_differ(first, one)
        if problem:
            raise DataError(f"{name}: cannot be drawn with the first ({problem}); draw them apart.")
    if grid is not None:
        check_grid(grid)
    written = None if output is None else config.output
    before = frames_before(config, written)
    seen = (None, None) if grid is None else observed_frames(grid, first, before, "the grid")
    return draw(named, seen, config, method_of(first), written)


def draw(
    forecasts: Mapping[str, xr.Dataset],
    seen: tuple[ObservedFrames | None, ObservedFrames | None],
    config: PlotConfig,
    where: str,
    output: str | None,
) -> "Picture | Path":
    """Draw forecasts of one grid and reference time by their names, into a file if one is given.

    seen: the frames at the valid times and before, as `observed_frames` gives them. where: what
    messages call the forecasts.
    """
    first = next(iter(forecasts.values()))
    reference_time = first[REFERENCE_TIME].values
    observed, past = seen
    place = place_of_grid(first)
    shown: dict[str, Any] = {
        "observed": observed,
        "forecasts": {name: rates_of(forecast) for name, forecast in forecasts.items()},
        "probabilities": probabilities_at(config.probability, forecasts, where),
        "lead_minutes": [float(minutes) for minutes in first[LEAD_TIME].values],
        "title": f"Forecast from {show(reference_time).replace('T', ' ')} UTC",
        "reference_time": reference_time.astype("datetime64[us]").item(),
        "origin": origin_of(first),
        "colours": config.colours,
        "degrees": degrees_of(place, where) if knows_degrees(place) else None,
        "arrows": arrows_of(first, past, where) if config.motion else None,
    }
    if output is None:
        return frames_figure(past=past, columns=config.columns, **shown)
    if is_panel(output):
        return draw_frames(output, past=past, columns=config.columns, **shown)
    return draw_film(output, frames_per_second=config.frames_per_second, **shown)


def is_panel(output: str | None) -> bool:
    """Return whether one picture is drawn, rather than a film."""
    return output is None or Path(output).suffix == ".png"


def frames_before(config: PlotConfig, output: str | None) -> int:
    """Return how many frames up to the reference time are drawn, or followed."""
    drawn = config.columns if is_panel(output) else 0
    return max(drawn, MOTION_FRAMES) if config.motion else drawn


def arrows_of(forecast: xr.Dataset, past: ObservedFrames | None, where: str) -> Arrows | None:
    """Return the rain's motion over the frames up to the reference time; if fewer than two of them
    are given, over the first frames of the forecast. It is NaN where none of these frames is
    covered.

    where: what messages call the forecast. None, which is logged, if nothing moves.
    """
    rates = rates_of(forecast)
    if sum(frame is not None for frame in past or ()) >= 2:
        missing = np.full(rates.shape[1:], np.nan, np.float32)
        frames = [missing if frame is None else frame for frame in past or ()]
    else:
        frames = list(rates[:MOTION_FRAMES])
    seen = np.stack(frames).astype(np.float32)
    motion = estimate_motion(seen)
    if not motion.any():
        log.warning("%s: no rain can be followed over its frames, so no arrows are drawn", where)
        return None
    motion = only_over_coverage(motion, np.asarray(np.isfinite(seen).any(axis=0)))
    minutes = forecast[LEAD_TIME].values
    steps_an_hour = 60 / float(minutes[1] - minutes[0] if len(minutes) > 1 else minutes[0])
    size = pixel_size(place_of_grid(forecast))
    if size is None or size[2] != "m":
        return Arrows(motion, steps_an_hour, "pixels/h")
    return Arrows(motion, steps_an_hour * size[1] / 1000, "km/h")


def method_of(forecast: xr.Dataset, where: str | None = None) -> str:
    """Return the name of a forecast's method, as tables of scores have it, and what tells it from
    others of that name.
    """
    members = forecast[RATE].sizes.get(REALIZATION, 1)
    parts = [str(forecast.attrs.get("method", MODEL)), *([] if where is None else [where])]
    name = printable(", ".join(parts))
    return name if members == 1 else f"{name}, mean of {members} members"


def rates_of(forecast: xr.Dataset) -> Any:
    """Return the rates (lead, y, x) in mm/h; of an ensemble the mean of its members, missing
    where one of them is.
    """
    rates = forecast[RATE]
    return (rates.mean(REALIZATION, skipna=False) if REALIZATION in rates.dims else rates).values


def probabilities_at(
    threshold: float | None, forecasts: Mapping[str, xr.Dataset], where: str
) -> dict[str, Any]:
    """Return the probabilities (lead, y, x) of a threshold in mm/h by the names of their rows.

    Errors: ConfigError if no forecast has any of this threshold.
    """
    if threshold is None:
        return {}
    given = {name: probabilities_of(forecast) for name, forecast in forecasts.items()}
    values = {
        name: one.values[:, one.thresholds.index(threshold)]
        for name, one in given.items()
        if one is not None and threshold in one.thresholds
    }
    rows = {
        f"{name}: probability of ≥ {threshold:g} mm/h": drawn
        for name, drawn in _each_once(values, forecasts).items()
    }
    known = sorted({value for one in given.values() if one is not None for value in one.thresholds})
    if not known:
        raise ConfigError(
            f"probability: {where} has no probabilities; leave the key out, or give a forecast by a"
            " method that has them."
        )
    if not rows:
        listed = ", ".join(f"{value:g}" for value in known)
        raise ConfigError(
            f"probability: {where} has none of {threshold:g} mm/h; choose one of {listed}."
        )
    return rows


def _each_once(values: Mapping[str, Any], forecasts: Mapping[str, xr.Dataset]) -> Mapping[str, Any]:
    """Return probabilities without those that an earlier row has too, as of one model with several
    rates: that row is then named by the method only, if no other row is.
    """
    rows: dict[str, Any] = {}
    for name, one in values.items():
        same = [row for row, drawn in rows.items() if np.array_equal(drawn, one, equal_nan=True)]
        if not same:
            rows[name] = one
            continue
        method = method_of(forecasts[name])
        if method not in values and method not in rows:
            rows = {method if row == same[0] else row: drawn for row, drawn in rows.items()}
    return rows


def observed_times(forecast: xr.Dataset, before: int) -> tuple[Any, Any]:
    """Return the valid times, and `before` times up to the reference time."""
    valid, reference = forecast["time"].values, forecast[REFERENCE_TIME].values
    return valid, reference - (valid[0] - reference) * np.arange(before)[::-1]


def observed_frames(
    grid: xr.Dataset, forecast: xr.Dataset, before: int, where: str
) -> tuple[ObservedFrames, ObservedFrames | None]:
    """Return the frames of the valid times, and `before` frames up to the reference time or None
    if all of these are missing.

    Errors: MissingInputError if no valid time was observed, DataError if the grid is another.
    """
    problem = grid_differs(forecast, grid)
    if problem:
        raise DataError(
            f"{where}: not on the grid of the forecast ({problem}); give observations on the same"
            " grid."
        )
    valid, earlier = observed_times(forecast, before)
    observed = frames_at(grid, valid)
    absent = [show(time) for time, frame in zip(valid, observed, strict=True) if frame is None]
    if len(absent) == len(observed):
        raise MissingInputError(
            f"{where}: none of the forecast's times was observed, {show(valid[0])} to"
            f" {show(valid[-1])} UTC; give the files of these times, or leave out data."
        )
    if absent:
        log.warning(
            "%s: %d of %d times were not observed: %s UTC",
            where,
            len(absent),
            len(observed),
            ", ".join(absent),
        )
    past = frames_at(grid, earlier)
    return list(observed), list(past) if any(frame is not None for frame in past) else None


def forecasts_differ(first: xr.Dataset, other: xr.Dataset) -> str:
    """Return why two forecasts cannot stand side by side; empty if they can."""
    if other[REFERENCE_TIME].values != first[REFERENCE_TIME].values:
        times = [show(one[REFERENCE_TIME].values) for one in (other, first)]
        return f"it starts at {times[0]}, the other at {times[1]} UTC"
    if not np.array_equal(other[LEAD_TIME].values, first[LEAD_TIME].values):
        return "other lead times"
    problem = grid_differs(other, first)
    return f"another grid: {problem}" if problem else ""
