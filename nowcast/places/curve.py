"""The forecast at a place: a value for each lead time."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.arrays import Float64Array
from nowcast.forecast.dataset import LEAD_TIME, REFERENCE_TIME
from nowcast.forecast.file_accumulation import (
    ACCUMULATION,
    ACCUMULATION_PROBABILITY,
    AMOUNT_THRESHOLD,
    accumulation_variables,
)
from nowcast.forecast.file_members import MEMBER_RATE, REALIZATION
from nowcast.forecast.file_probability import PROBABILITY, THRESHOLD
from nowcast.places.pixels import Index, Pixels, pixels_of
from nowcast.places.place import Place
from nowcast.probability.formulas import expected_rate
from nowcast.radar.grid import RATE, WET_RATE
from nowcast.radar.times import Times

QUANTILES = (0.1, 0.5, 0.9)
SUMS = (30, 60)
"""Lengths in minutes of the sums that every place has, from the reference time on."""
LEAST_THRESHOLDS = 2
"""Fewer thresholds are not enough for an expected rate."""
_THRESHOLDS = (WET_RATE, 1.0, 5.0, 10.0)  # mm/h, for members in a forecast without thresholds
_AMOUNTS = (1.0, 2.0, 5.0, 10.0, 20.0)  # mm, for the same case

Status = Literal["covered", "not covered", "outside"]
"""Status of a place: known at some lead time, known at none, or outside the grid."""
Source = Literal["pixel", "largest pixel", "members"]
"""The source of probabilities: the one pixel, the circle's pixel with the largest probability, or
the share of members that reach the threshold anywhere in the circle. The second is a lower bound
for the probability of rain anywhere in the circle.
"""


@dataclass(frozen=True, eq=False)
class PlaceForecast:
    """The forecast at a place.

    Args:
        place: the place.
        status: whether the forecast covers it.
        reference_time: of the forecast, in UTC.
        times: (lead,) valid times, in UTC.
        lead_minutes: (lead,) since the reference time.
        pixel_rates: (lead, n) of the place's pixels in mm/h, NaN = unknown; of an ensemble without
            another rate, the mean.
        pixel_members: (lead, m, n) in mm/h, NaN = unknown; None without members.
        probability: by threshold in mm/h, increasing: (lead,) probability of a rate at or above it,
            NaN = unknown; empty if the forecast has none.
        probability_source: of these; None without any.
        pixel_expected: (lead, n) expected rates by the probabilities in mm/h; above the last
            threshold they follow `pixel_rates`, as `expected_rate` explains. Unknown probabilities
            give `pixel_rates`. None if the forecast has no probabilities.
        pixel_sums: by minutes, the sums (n,) in mm in a file, from the reference time on.
        amounts: thresholds of sums in mm, increasing.
        pixel_sum_probabilities: by minutes, the probabilities (k, n) in a file of sums at or above
            each of `amounts`.
        swapped_is_inside: of a place outside, whether the grid holds it with latitude and longitude
            swapped.
    """

    place: Place
    status: Status
    reference_time: np.datetime64
    times: Times
    lead_minutes: Float64Array
    pixel_rates: Float64Array
    pixel_members: Float64Array | None = None
    probability: dict[float, Float64Array] = field(default_factory=dict)
    probability_source: Source | None = None
    pixel_expected: Float64Array | None = None
    pixel_sums: dict[int, Float64Array] = field(default_factory=dict)
    amounts: tuple[float, ...] = _AMOUNTS
    pixel_sum_probabilities: dict[int, Float64Array] = field(default_factory=dict)
    swapped_is_inside: bool = False

    @property
    def rate(self) -> Float64Array:
        """The rate (lead,) in mm/h, NaN = unknown; in a circle the largest."""
        return largest(self.pixel_rates)

    @property
    def members(self) -> Float64Array | None:
        """The members' rates (lead, m) in mm/h, in a circle the largest; None without members."""
        return None if self.pixel_members is None else largest(self.pixel_members)

    @property
    def quantiles(self) -> dict[float, Float64Array] | None:
        """The 0.1, 0.5 and 0.9 quantiles (lead,) of `members`; None without members."""
        members = self.members
        if members is None:
            return None
        return dict(zip(QUANTILES, np.quantile(members, QUANTILES, axis=1), strict=True))

    @property
    def share(self) -> Float64Array | None:
        """The share (lead,) of a circle's known pixels with rain; None for a point."""
        if self.place.radius is None:
            return None
        known = np.isfinite(self.pixel_rates).sum(axis=1)
        wet = (self.pixel_rates >= np.float32(self.rain_threshold)).sum(axis=1)
        return np.asarray(np.where(known > 0, wet / np.maximum(known, 1), np.nan))

    @property
    def sum_minutes(self) -> list[int]:
        """The lengths of sums in minutes: those of `SUMS` and those in the file."""
        return sorted({*SUMS, *self.pixel_sums})

    @property
    def rain_threshold(self) -> float:
        """The least rate of rain in mm/h: 0.1, or the lowest threshold of a forecast with
        probabilities but none for 0.1 mm/h.
        """
        known = list(self.probability)
        return known[0] if known and WET_RATE not in known else WET_RATE


def curve_at(forecast: xr.Dataset, place: Place, pixels: Pixels | None = None) -> PlaceForecast:
    """Return the forecast at a place.

    Args:
        forecast: a forecast dataset, as `build_forecast` builds and `open_forecast` opens it.
        place: the place.
        pixels: of the forecast, from `pixels_of`; None finds them, which is the slowest step.

    Returns:
        A value for each lead time; for a place outside the grid, all are NaN.

    Raises:
        DataError: if the forecast does not say where its pixels are.

    Example:
        >>> from nowcast.forecast.dataset import build_forecast
        >>> from nowcast.radar import synthetic_grid
        >>> grid, step = synthetic_grid(1, 4, 4), np.timedelta64(5, "m")
        >>> rates = np.full((3, 4, 4), 2.5, np.float32)
        >>> forecast = build_forecast(rates, grid, grid["time"].values[-1], step, {})
        >>> curve_at(forecast, Place("here", 51.08, 10.0)).rate
        array([2.5, 2.5, 2.5])
    """
    pixels = pixels or pixels_of(forecast)
    index = pixels.of(place)
    about: dict[str, Any] = {
        "place": place,
        "reference_time": forecast[REFERENCE_TIME].values[()],
        "times": forecast["time"].values,
        "lead_minutes": np.asarray(forecast[LEAD_TIME].values, dtype=float),
    }
    if index is None:
        none = np.empty((forecast.sizes["time"], 0))
        could_be_swapped = abs(place.longitude) <= 90
        swapped = could_be_swapped and pixels.nearest(place.latitude, place.longitude) is not None
        return PlaceForecast(**about, status="outside", pixel_rates=none, swapped_is_inside=swapped)
    rates, members = _rates(forecast, index), _members(forecast, index)
    probability, source = _probability(forecast, index, members)
    return PlaceForecast(
        **about,
        status="covered" if np.isfinite(rates).any() else "not covered",
        pixel_rates=rates,
        pixel_members=members,
        probability=probability,
        probability_source=source,
        pixel_expected=_expected(forecast, index, rates),
        pixel_sums=_sums(forecast, ACCUMULATION, index),
        amounts=_amounts(forecast),
        pixel_sum_probabilities=_sums(forecast, ACCUMULATION_PROBABILITY, index),
    )


def _sums(forecast: xr.Dataset, name: str, index: Index) -> dict[int, Float64Array]:
    """Return by minutes the values (…, n) of the variables whose name starts with `name`."""
    found = dict[int, Float64Array]()
    for minutes in sorted(set(accumulation_variables(forecast).values())):
        steps = np.flatnonzero(np.isclose(forecast[LEAD_TIME].values, minutes))
        if f"{name}{minutes}min" in forecast and steps.size:
            sums = forecast[f"{name}{minutes}min"].isel(time=int(steps[0]))
            found[minutes] = values_at(sums, index)
    return found


def _amounts(forecast: xr.Dataset) -> tuple[float, ...]:
    known = AMOUNT_THRESHOLD in forecast.variables
    return tuple(forecast[AMOUNT_THRESHOLD].values.tolist()) if known else _AMOUNTS


def rate_at(frame: npt.NDArray[np.float32], place: Place, pixels: Pixels) -> float:
    """Return the rate of a frame (y, x) at a place in mm/h, in a circle the largest.

    NaN means outside the grid or not covered.
    """
    index = pixels.of(place)
    return float("nan") if index is None else float(largest(frame[index].astype(float)))


def _rates(forecast: xr.Dataset, index: Index) -> Float64Array:
    """Return rates (lead, n) in mm/h; of an ensemble the mean, missing where any member is."""
    rates = values_at(forecast[RATE], index)
    return rates.mean(axis=1) if REALIZATION in forecast[RATE].dims else rates


def _expected(forecast: xr.Dataset, index: Index, rates: Float64Array) -> Float64Array | None:
    if PROBABILITY not in forecast or forecast.sizes[THRESHOLD] < LEAST_THRESHOLDS:
        return None
    values = np.moveaxis(values_at(forecast[PROBABILITY], index), 1, 0)  # (k, lead, n)
    expected = expected_rate([*values], forecast[THRESHOLD].values.tolist(), np, rates)
    return np.where(np.isnan(expected), rates, expected)


def _members(forecast: xr.Dataset, index: Index) -> Float64Array | None:
    """Return the members' rates (lead, m, n) in mm/h; None without members."""
    if MEMBER_RATE in forecast:
        return values_at(forecast[MEMBER_RATE], index)
    return values_at(forecast[RATE], index) if REALIZATION in forecast[RATE].dims else None


def _probability(
    forecast: xr.Dataset, index: Index, members: Float64Array | None
) -> tuple[dict[float, Float64Array], Source | None]:
    thresholds = forecast[THRESHOLD].values.tolist() if PROBABILITY in forecast else _THRESHOLDS
    is_point = len(index[0]) == 1
    if PROBABILITY in forecast and (is_point or members is None):
        values = largest(values_at(forecast[PROBABILITY], index))
        source: Source = "pixel" if is_point else "largest pixel"
        return dict(zip(thresholds, values.T, strict=True)), source
    if members is None:
        return {}, None
    rates = largest(members)
    unknown = np.isnan(rates).any(axis=1)
    return {
        threshold: np.where(unknown, np.nan, (rates >= np.float32(threshold)).mean(axis=1))
        for threshold in thresholds
    }, "members"


def values_at(variable: xr.DataArray, index: Index) -> Float64Array:
    """Return the values of a variable (…, y, x) at some pixels, (…, n)."""
    return np.asarray(variable.values[..., index[0], index[1]], dtype=float)


def largest(values: Float64Array) -> Float64Array:
    """Return the largest known value of (…, n), (…); NaN if none is known."""
    known = np.isfinite(values)
    found = np.where(known, values, -np.inf).max(axis=-1, initial=-np.inf)
    return np.asarray(np.where(known.any(axis=-1), found, np.nan))
