"""The forecast at a place: of the right pixel, on grids of any kind, and of circles."""

import numpy as np
import pytest
import xarray as xr
from forecasts import (
    HERE,
    LATITUDES,
    LONGITUDES,
    NOON,
    STEP,
    degree_grid,
    forecast_of,
    with_members,
)

from nowcast.errors import DataError
from nowcast.forecast.dataset import build_forecast
from nowcast.places.curve import curve_at
from nowcast.places.pixels import Pixels, pixels_of
from nowcast.places.place import Place
from nowcast.radar.grid import CRS, RATE
from nowcast.radar.placing.cropping import to_degrees
from nowcast.radar.placing.georeference import axis_in_metres, place_of_grid


def test_a_place_is_the_pixel_that_it_lies_in_whichever_row_is_first() -> None:
    for flip in (False, True):
        grid = degree_grid(flip)
        rates = 100.0 * grid["latitude"].values + grid["longitude"].values
        forecast = build_forecast(rates[None].astype(np.float32), grid, NOON, STEP, {})
        curve = curve_at(forecast, Place("a", 50.93, 10.26))
        assert curve.rate == pytest.approx([5090 + 10.3]) and curve.status == "covered"
        assert curve.pixel_rates.shape == (1, 1) and curve.share is None and curve.quantiles is None
        np.testing.assert_array_equal(curve.lead_minutes, [5.0])
        assert curve.times[0] == NOON + STEP and curve.reference_time == NOON


def test_a_full_turn_of_longitude_is_the_same_place() -> None:
    forecast = forecast_of([3.0])
    turned = forecast.assign_coords(longitude=forecast["longitude"] + 360.0)
    for one in (forecast, turned):
        assert curve_at(one, Place("a", *HERE)).rate == [3.0]


def polar_grid(size: int = 12) -> xr.Dataset:
    """A polar stereographic grid far off its meridian, where it is turned by 40 degrees."""
    crs = {
        "grid_mapping_name": "polar_stereographic", "standard_parallel": 60.0,
        "straight_vertical_longitude_from_pole": 10.0, "latitude_of_projection_origin": 90.0,
        "earth_radius": 6370040.0,
    }  # fmt: skip
    x, y = 2.9e6 + 1000.0 * np.arange(size), -3.4e6 - 1000.0 * np.arange(size)
    return xr.Dataset(
        coords={
            "x": axis_in_metres("x", x), "y": axis_in_metres("y", y), CRS: ((), np.int32(0), crs),
        }
    )  # fmt: skip


@pytest.mark.parametrize("stored", [False, True], ids=["projection", "curvilinear"])
def test_a_place_on_a_turned_grid_is_in_it_up_to_half_a_pixel_beyond_the_last_centre(
    stored: bool,
) -> None:
    grid = polar_grid()
    rates = np.zeros((1, 12, 12), np.float32)
    here = place_of_grid(build_forecast(rates, grid, NOON, STEP, {}))
    x, y = grid["x"].values, grid["y"].values
    if stored:
        longitude, latitude = to_degrees(here, *np.meshgrid(x, y))
        grid = xr.Dataset(
            coords={"latitude": (("y", "x"), latitude), "longitude": (("y", "x"), longitude)}
        )
    pixels = pixels_of(build_forecast(rates, grid, NOON, STEP, {}))
    for row, column in ((0, 0), (11, 11), (0, 6), (6, 11), (5, 5)):
        for off, on_the_grid in ((0.45, True), (0.55, row in (5,))):
            # away from the middle of the grid
            far_x = x[column] + off * 1000.0 * np.sign(column - 5.5)
            far_y = y[row] - off * 1000.0 * np.sign(row - 5.5)
            east, north = (float(one) for one in to_degrees(here, far_x, far_y))
            found = pixels.nearest(east, north)
            assert (found is not None) == on_the_grid
            assert not on_the_grid or off > 0.5 or found == (row, column)


def test_pixels_beyond_the_projection_are_no_place() -> None:
    longitude, latitude = np.meshgrid(LONGITUDES, LATITUDES)
    latitude[:, 0] = np.inf
    pixels = Pixels(longitude, latitude)
    assert pixels.nearest(10.1, 50.9) == (1, 1)
    assert pixels.nearest(-170.0, -50.9) is None


def test_a_place_outside_or_without_coverage_is_said_and_no_error() -> None:
    forecast = forecast_of([np.nan, np.nan])
    outside = curve_at(forecast, Place("far", 10.0, 10.1))
    assert (
        outside.status == "outside"
        and np.isnan(outside.rate).all()
        and outside.pixel_rates.shape == (2, 0)
    )
    assert curve_at(forecast, Place("here", *HERE)).status == "not covered"


def test_a_forecast_that_does_not_say_where_it_is_has_no_places() -> None:
    forecast = forecast_of([1.0]).drop_vars(["latitude", "longitude"])
    with pytest.raises(DataError, match="does not say where its pixels are"):
        curve_at(forecast, Place("here", *HERE))


def test_a_circle_has_the_largest_rate_the_wet_share_and_the_largest_probability() -> None:
    forecast = forecast_of([8.0, np.nan], {0.1: [0.9, 0.4], 5.0: [0.7, 0.2]})
    # the centres of neighbours are 7 and 11.1 km away
    curve = curve_at(forecast, Place("near", *HERE, radius=8.0))
    assert curve.pixel_rates.shape == (2, 3)
    np.testing.assert_array_equal(curve.rate, [8.0, 0.0])
    assert curve.share is not None
    np.testing.assert_allclose(curve.share, [1 / 3, 0.0])
    assert curve.probability_source == "largest pixel"
    np.testing.assert_allclose(curve.probability[5.0], [0.7, 0.2], atol=1e-6)
    assert curve_at(forecast, Place("all", *HERE, radius=12.0)).pixel_rates.shape == (2, 5)


def test_the_smallest_circle_has_the_pixel_that_it_lies_in() -> None:
    assert curve_at(forecast_of([4.0]), Place("a", 50.94, 10.06, radius=0.1)).rate == [4.0]


def test_members_tell_quantiles_and_of_a_circle_the_probability_exactly() -> None:
    members = np.zeros((1, 11, 3, 4))
    members[0, :, 1, 1] = np.arange(11)
    members[0, 0, 1, 2] = 7.0  # another pixel, in a member that is dry here
    forecast = with_members(forecast_of([5.0], {0.1: [0.5], 6.0: [0.4]}), members)
    point = curve_at(forecast, Place("here", *HERE))
    assert point.probability_source == "pixel" and point.quantiles is not None
    assert [float(one[0]) for one in point.quantiles.values()] == [1.0, 5.0, 9.0]
    circle = curve_at(forecast, Place("near", *HERE, radius=8.0))
    assert circle.probability_source == "members"
    assert circle.probability[6.0] == pytest.approx([6 / 11])


def test_an_ensemble_has_its_mean_and_the_shares_of_its_members() -> None:
    rates = np.zeros((2, 4, 3, 4), np.float32)
    rates[0, :, 1, 1] = [0.0, 0.0, 2.0, 6.0]
    rates[1, :, 1, 1] = [0.0, np.nan, 2.0, 6.0]
    forecast = build_forecast(rates, degree_grid(), NOON, STEP, {})
    curve = curve_at(forecast, Place("here", *HERE))
    np.testing.assert_array_equal(curve.rate, [2.0, np.nan])
    np.testing.assert_array_equal(curve.probability[0.1], [0.5, np.nan])
    np.testing.assert_array_equal(curve.probability[5.0], [0.25, np.nan])
    assert forecast[RATE].dims[1] == "realization"


def test_rain_begins_at_a_tenth_or_at_the_lowest_threshold_of_the_forecast() -> None:
    place = Place("here", *HERE)
    assert curve_at(forecast_of([1.0]), place).rain_threshold == 0.1
    assert curve_at(forecast_of([1.0], {0.1: [1.0], 5.0: [0]}), place).rain_threshold == 0.1
    assert curve_at(forecast_of([1.0], {0.5: [1.0], 5.0: [0]}), place).rain_threshold == 0.5
