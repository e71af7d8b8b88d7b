"""The page of the newest forecast: the observations of the last hour, and the forecast."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.config.predict import MODEL
from nowcast.forecast.dataset import REFERENCE_TIME, open_forecast
from nowcast.forecast.file_members import REALIZATION
from nowcast.forecast.file_probability import FileProbabilities, probabilities_of
from nowcast.radar.grid import RATE
from nowcast.radar.placing.georeference import place_of_grid
from nowcast.radar.placing.place import origin_of
from nowcast.radar.times import Times
from nowcast.report.foot import facts_of_forecast, method_of
from nowcast.report.forecast_page import ForecastPage, write_forecast_page
from nowcast.report.scale import sides_km
from nowcast.service.input_window import Need
from nowcast.service.live_frames import FrameSource
from nowcast.service.page_map import lines_on_page
from nowcast.service.page_places import places_on_page
from nowcast.service.publication import METHOD_REASON, newest_forecast
from nowcast.service.questions import Questions, Warned, found_in

_HOUR = np.timedelta64(1, "h")
_THRESHOLDS = (0.5, 1.0, 2.0, 5.0, 10.0)  # mm/h, for an ensemble, which has none of its own


def write_page(
    source: FrameSource,
    questions: Questions,
    reference_time: np.datetime64,
    now: np.datetime64,
    warned: Warned,
) -> None:
    """Write the page of the newest forecast. A forecast from an earlier time leaves an existing
    page unchanged.

    warned: the warnings of the forecast from `reference_time`.
    Errors: DataError, MissingInputError of a map that cannot be used; CannotCreateError,
    InputOutputError.
    """
    config = source.config
    assert config.page is not None
    path = Path(config.page).expanduser()
    time, newest = newest_forecast(config.output, max(reference_time, now)) or (None, None)
    if newest is not None and (time == reference_time or not path.exists()):
        forecast = open_forecast(newest)
        if time != reference_time:
            warned = _warned(forecast, questions)
        words = [str(one["words"]) for one in found_in(warned)]
        write_forecast_page(path, build_page(forecast, source, questions, words))


def _warned(forecast: xr.Dataset, questions: Questions) -> Warned:
    from nowcast.places.pixels import pixels_of

    return questions.warned(forecast, pixels_of(forecast))[0] if questions.rules else {}


def build_page(
    forecast: xr.Dataset, source: FrameSource, questions: Questions, warnings: Sequence[str] = ()
) -> ForecastPage:
    """Return what the page of a forecast shows, north up. Errors: as `write_page`."""
    place, turned = place_of_grid(forecast), origin_of(forecast) == "lower"
    rates, probabilities = _fields(forecast)
    times, observed = _observed(forecast, source)
    rows = slice(None, None, -1 if turned else 1)
    return ForecastPage(
        observed=observed[:, rows],
        rates=rates[:, rows],
        times=np.concatenate([times, forecast["time"].values]),
        thresholds=() if probabilities is None else probabilities.thresholds,
        probabilities=None if probabilities is None else probabilities.values[:, :, rows],
        pixel_km=sides_km(place),
        lines=lines_on_page(place, rates.shape[1], source.config.page_map, turned=turned),
        places=places_on_page(forecast, observed, questions.places, questions.zone, turned=turned),
        zone=questions.zone,
        warnings=warnings,
        about=[
            *facts_of_forecast(forecast.attrs, questions.zone),
            ("time zone", str(questions.zone)),
        ],
        by_other=_by_other(forecast),
    )


def _fields(forecast: xr.Dataset) -> tuple[NDArray[np.float32], FileProbabilities | None]:
    """Return rates (lead, y, x), for an ensemble their mean, and probabilities, for an ensemble the
    fraction of its members.
    """
    rates = forecast[RATE].values
    if REALIZATION not in forecast[RATE].dims:
        return rates, probabilities_of(forecast)
    unknown = np.isnan(rates).any(axis=1)
    shares = [np.where(unknown, np.nan, (rates >= one).mean(axis=1)) for one in _THRESHOLDS]
    values = np.stack(shares, axis=1).astype(np.float32)
    return rates.mean(axis=1), FileProbabilities(_THRESHOLDS, values)


def _observed(forecast: xr.Dataset, source: FrameSource) -> tuple[Times, NDArray[np.float32]]:
    """Return the times and frames (n, y, x) in mm/h of the hour up to the newest frame, NaN =
    missing.

    They are read separately, because a forecast uses fewer.
    """
    newest = forecast[REFERENCE_TIME].values[()]
    step = (forecast["time"].values[0] - newest).astype("timedelta64[s]")
    steps = max(2, 1 + int(_HOUR / step))
    times: Times = newest - step * np.arange(steps)[::-1]
    frames = source.frames_before(times[-1], Need(steps, steps - 1, step))
    shape = (steps, *forecast[RATE].shape[-2:])
    if frames is None or frames.shape != shape:
        frames = np.full(shape, np.nan, np.float32)
    return times, frames


def _by_other(forecast: xr.Dataset) -> str:
    reason = str(forecast.attrs.get(METHOD_REASON, "")).removeprefix(f"{MODEL}: ")
    return reason and f"Forecast by {method_of(forecast.attrs)}, not by the model: {reason}"
