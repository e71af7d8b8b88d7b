"""The pictures that loggers get: what was observed above what is forecast, in known colours."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from nowcast.factories.watching import draw_digits, draw_rain
from nowcast.radar.placing.place import Origin
from nowcast.report.pictures.colours import NOT_COVERED, RATE_CLASSES
from nowcast.sequences.windows import Pick, RadarWindows
from nowcast.training.examples import Example


def rain(observed: float, forecast: float) -> Example:
    """Two lead times of 20 × 30 pixels; the first rows of the forecast are missing."""
    fields = [np.full((2, 20, 30), rate, np.float32) for rate in (observed, forecast)]
    fields[1][:, :6] = np.nan
    return Example(1, Pick(3), (2, 4), fields[0], fields[1])


def where(image: np.ndarray, colour: str) -> np.ndarray:
    """The rows of pixels that have a colour."""
    rgb = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return np.flatnonzero((image == rgb).all(axis=2).sum(axis=1) > 40)


@pytest.mark.parametrize("origin", ["lower", "upper"])
def test_rain_is_drawn_in_its_colours_and_the_forecast_below(origin: Origin) -> None:
    times = np.datetime64("2018-05-16T00:00", "ns") + np.arange(9) * np.timedelta64(5, "m")
    windows = SimpleNamespace(clock=SimpleNamespace(times=times), input_steps=2)
    image = draw_rain(rain(3.0, 25.0), cast(RadarWindows, windows), 5.0, origin)
    assert image.dtype == np.uint8 and image.shape[2] == 3
    observed, forecast, missing = (
        where(image, colour) for colour in (RATE_CLASSES[2.0], RATE_CLASSES[20.0], NOT_COVERED)
    )
    assert observed.max() < image.shape[0] / 2 < forecast.min()
    inside = missing[(missing >= image.shape[0] / 2) & (missing < image.shape[0] * 0.9)]
    below = inside.mean() > forecast.mean()  # the first rows of a field lie in the south
    assert below == (origin == "lower")


def test_digits_are_grey_and_the_forecast_below() -> None:
    observed = np.array([[[1.0]], [[0.0]]], np.float32)  # two frames of one pixel
    image = draw_digits(Example(1, Pick(0), (1, 2), observed, 1 - observed + 0.25))
    line = 128  # of one pixel around each, all twice as large
    assert image.shape == (12, 12, 3) and (image == image[..., :1]).all()
    assert image[2::6, 2::6, 0].tolist() == [[255, 0], [64, 255]]
    assert (image[0] == line).all() and (image[:, 5:7] == line).all()
