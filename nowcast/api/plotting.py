"""Pictures of forecasts in memory, next to the observed frames."""

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np
import xarray as xr

from nowcast.api.picture_rows import (
    MOST_STAMPS,
    amount_probabilities_at,
    amounts_at,
    members_at,
    probabilities_at,
)
from nowcast.api.settings import configured
from nowcast.config.plot import PlotConfig
from nowcast.console import printable
from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.forecast.dataset import LEAD_TIME, REFERENCE_TIME, check_forecast, method_name
from nowcast.forecast.file_members import REALIZATION
from nowcast.motion.estimation import MOTION_FRAMES, estimate_motion
from nowcast.places.zone import local, zone_name, zone_of
from nowcast.radar.grid import RATE, check_grid, frames_at
from nowcast.radar.placing.cropping import degrees_of, knows_degrees
from nowcast.radar.placing.georeference import grid_differs, place_of_grid
from nowcast.radar.placing.place import origin_of, pixel_size
from nowcast.radar.times import show
from nowcast.report.foot import facts_of_forecast, joined, line_of
from nowcast.report.pictures.arrows import Arrows, only_over_coverage
from nowcast.report.pictures.canvas import save
from nowcast.report.pictures.frames import draw_film, draw_frames, frames_figure, time_in_words
from nowcast.report.pictures.stamps import stamps_figure
from nowcast.report.scale import sides_km

if TYPE_CHECKING:
    from nowcast.report.pictures.figure import Picture

log = logging.getLogger(__name__)

ObservedFrames = list[Any]
"""Arrays (h, w) in mm/h; None for a time without a frame."""


class PlotSettings(TypedDict, total=False):
    """Keys of `nowcast plot` that change a picture; configs/plot.yaml explains each."""

    colours: str
    motion: bool
    columns: int
    map: str
    probability: float | None
    accumulation: int | None
    accumulation_probability: float | None
    timezone: str
    members: bool
    lead_time: float | None
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
    """Draw forecasts side by side, below the observed frames, as `nowcast plot` does.

    Args:
        forecasts: one, or several of one reference time by the names to show. Rates are in mm/h; of
            an ensemble, the mean of its members is drawn. `probability=1` adds the probability of
            at least 1 mm/h, `accumulation=60` the sum over 60 minutes in mm, and with it
            `accumulation_probability=2` the probability of a sum of at least 2 mm, for forecasts
            that have them. `members=True` draws the members of one forecast at one lead time.
        grid: a canonical grid with the observed frames, as `open_grid` opens it; None draws only
            the forecasts.
        output: a file to write: a panel of lead times (.png), or a film (.gif, .mp4).
        settings: keys of `nowcast plot`, as `colours="colour_blind"`; their defaults stand in
            configs/plot.yaml.

    Returns:
        The written path; without `output` a Matplotlib figure, which a notebook shows.

    Raises:
        ConfigError: if a setting is unknown or beyond its limits; if no forecast has this
            probability, sum, lead time or members; if a map of your own needs a place that the
            forecast does not give.
        DataError: if forecasts or grid do not fit together.
        MissingInputError: if the grid has no frame at any time of the forecast.
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
    """Draw forecasts of one grid and reference time by their names, into `output` if given.

    seen: the observed frames at the valid times and before, as `observed_frames` returns them.
    where: the name of the forecasts in messages.
    """
    first = next(iter(forecasts.values()))
    reference_time: Any = first[REFERENCE_TIME].values[()]
    zone = zone_of("timezone", config.timezone)
    observed, past = seen
    place = place_of_grid(first)
    if config.has_own_map and not knows_degrees(place):
        raise ConfigError(
            f"map: {where} does not say where its pixels are on Earth, so {config.map} cannot be"
            " drawn; leave the key out."
        )
    look: dict[str, Any] = {
        "origin": origin_of(first),
        "colours": config.colours,
        "degrees": degrees_of(place, where) if knows_degrees(place) else None,
        "map": config.map,
        "pixel_km": sides_km(place),
        "foot": line_of(joined([facts_of_forecast(one.attrs, zone) for one in forecasts.values()])),
    }
    start = local(reference_time, zone)
    title = f"Forecast from {start:%Y-%m-%d %H:%M} {zone_name(start)}"
    if config.members:
        stamps, when = stamps_of(forecasts, observed, config.lead_time, start, where)
        figure = stamps_figure(stamps, f"{title}, {when}", columns=config.columns, **look)
        return figure if output is None else save(figure, output)
    shown: dict[str, Any] = {
        "observed": observed,
        "forecasts": {name: rates_of(forecast) for name, forecast in forecasts.items()},
        "amounts": amounts_at(config.accumulation, forecasts, observed, where),
        "probabilities": probabilities_at(config.probability, forecasts, where)
        | amount_probabilities_at(
            config.accumulation_probability, config.accumulation, forecasts, where
        ),
        "lead_minutes": [float(minutes) for minutes in first[LEAD_TIME].values],
        "title": title,
        "reference_time": start,
        "arrows": arrows_of(first, past, where) if config.motion else None,
        **look,
    }
    if output is None:
        return frames_figure(past=past, columns=config.columns, **shown)
    if is_panel(output):
        return draw_frames(output, past=past, columns=config.columns, **shown)
    return draw_film(output, frames_per_second=config.frames_per_second, **shown)


def stamps_of(
    forecasts: Mapping[str, xr.Dataset],
    observed: ObservedFrames | None,
    lead_time: float | None,
    start: datetime,
    where: str,
) -> tuple[dict[str, Any], str]:
    """Return the observed frame, the forecast and its members at one lead time by their names, and
    that time in words.

    start: the reference time, in the zone of the words.
    Errors: ConfigError for several forecasts; as members_at.
    """
    if len(forecasts) > 1:
        raise ConfigError("members: stamps show the members of one forecast; give one.")
    ((name, forecast),) = forecasts.items()
    step, members = members_at(lead_time, forecast, where)
    stamps = {} if observed is None else {"observed": observed[step]}
    stamps[name] = rates_of(forecast)[step]
    stamps |= {f"member {k}": one for k, one in enumerate(members[:MOST_STAMPS], 1)}
    when = time_in_words(float(forecast[LEAD_TIME].values[step]), start)
    some = f", {MOST_STAMPS} of {len(members)} members" if len(members) > MOST_STAMPS else ""
    return stamps, when + some


def is_panel(output: str | None) -> bool:
    """Return whether the output is one picture, not a film."""
    return output is None or Path(output).suffix == ".png"


def frames_before(config: PlotConfig, output: str | None) -> int:
    """Return how many frames up to the reference time are drawn, or used for motion."""
    drawn = config.columns if is_panel(output) else 0
    return max(drawn, MOTION_FRAMES) if config.motion else drawn


def arrows_of(forecast: xr.Dataset, past: ObservedFrames | None, where: str) -> Arrows | None:
    """Return the rain's motion over the frames up to the reference time.

    With fewer than two such frames, it is the motion over the first frames of the forecast. It is
    NaN where no frame is covered. If nothing moves, this is logged and None is returned.
    `where` is the name of the forecast in messages.
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
        log.warning("%s: its frames show no rain to follow, so no arrows are drawn", where)
        return None
    motion = only_over_coverage(motion, np.asarray(np.isfinite(seen).any(axis=0)))
    minutes = forecast[LEAD_TIME].values
    steps_an_hour = 60 / float(minutes[1] - minutes[0] if len(minutes) > 1 else minutes[0])
    size = pixel_size(place_of_grid(forecast))
    if size is None or size[2] != "m":
        return Arrows(motion, steps_an_hour, "pixels/h")
    return Arrows(motion, steps_an_hour * size[1] / 1000, "km/h")


def method_of(forecast: xr.Dataset, where: str | None = None) -> str:
    """Return the name of a forecast's method as in tables of scores; `where` is added to tell apart
    forecasts by one method.
    """
    members = forecast[RATE].sizes.get(REALIZATION, 1)
    parts = [method_name(forecast), *([] if where is None else [where])]
    name = printable(", ".join(parts))
    return name if members == 1 else f"{name}, mean of {members} members"


def rates_of(forecast: xr.Dataset) -> Any:
    """Return the rates (lead, y, x) in mm/h; of an ensemble, the mean of its members.

    A mean is missing where any member is.
    """
    rates = forecast[RATE]
    return (rates.mean(REALIZATION, skipna=False) if REALIZATION in rates.dims else rates).values


def observed_times(forecast: xr.Dataset, before: int) -> tuple[Any, Any]:
    """Return the valid times, and `before` times up to the reference time."""
    valid, reference = forecast["time"].values, forecast[REFERENCE_TIME].values
    return valid, reference - (valid[0] - reference) * np.arange(before)[::-1]


def observed_frames(
    grid: xr.Dataset, forecast: xr.Dataset, before: int, where: str
) -> tuple[ObservedFrames, ObservedFrames | None]:
    """Return the frames at the valid times, and `before` frames up to the reference time, or None
    if all of the latter are missing.

    Errors: MissingInputError if no valid time has a frame, DataError if the grid differs.
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
    """Return why two forecasts cannot be drawn side by side; empty if they can."""
    if other[REFERENCE_TIME].values != first[REFERENCE_TIME].values:
        times = [show(one[REFERENCE_TIME].values) for one in (other, first)]
        return f"it starts at {times[0]}, the other at {times[1]} UTC"
    if not np.array_equal(other[LEAD_TIME].values, first[LEAD_TIME].values):
        return "other lead times"
    problem = grid_differs(other, first)
    return f"another grid: {problem}" if problem else ""
