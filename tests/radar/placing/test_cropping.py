"""Crops by degrees: which pixels lie in a box, counted by hand."""

import numpy as np
import pyproj
import pytest
import xarray as xr
from pytest import approx

from nowcast.errors import DataError
from nowcast.radar.grid import CRS
from nowcast.radar.placing.cropping import box_in_degrees, box_of, from_degrees, to_degrees
from nowcast.radar.placing.georeference import (
    Place,
    axis_in_degrees,
    axis_in_metres,
    grid_mapping_from_proj,
)

POLAR = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040 +units=m"


def degrees(x: list[float], y: list[float]) -> Place:
    return {"x": axis_in_degrees("x", x), "y": axis_in_degrees("y", y)}


def polar() -> Place:
    """7 rows from north to south and 9 columns, 10 km each, about 10 E 51 N."""
    x, y = pyproj.Proj(POLAR)(10.0, 51.0)
    crs = grid_mapping_from_proj(POLAR, "here")
    assert crs is not None
    return {
        "x": axis_in_metres("x", x + 10e3 * np.arange(-4, 5)), "y": axis_in_metres("y",
        y - 10e3 * np.arange(-3, 4)), CRS: crs
    }  # fmt: skip


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((5.5, 50.5, 7.5, 52.5), slice(1, 3), slice(1, 3)),
        ((6.0, 51.0, 7.0, 52.0), slice(1, 3), slice(1, 3)),  # centres on its edge are inside
        ((-180, -90, 180, 90), slice(0, 4), slice(0, 4)),
        ((7.9, 49.9, 8.1, 50.1), slice(3, 4), slice(3, 4)),
        # the same meridians plus 360 degrees
        ((365.5, 50.5, 367.5, 52.5), slice(1, 3), slice(1, 3)),
    ],
)
def test_pixels_whose_centres_are_in_the_box(
    box: tuple[float, float, float, float], rows: slice, columns: slice
) -> None:
    assert box_of(degrees([5, 6, 7, 8], [53, 52, 51, 50]), box, "here") == (rows, columns)


def test_a_box_over_the_180th_meridian_and_longitudes_that_count_to_360() -> None:
    pacific = degrees([178, 179, 180, 181, 182], [0, 1])
    assert box_of(pacific, (178.5, -1, 181.5, 0.5), "here") == (slice(0, 1), slice(1, 4))
    assert box_of(pacific, (-180.5, -1, -178.5, 0.5), "here") == (slice(0, 1), slice(2, 4))


def test_on_a_projection_and_with_degrees_of_each_pixel_it_is_the_same() -> None:
    """The middle pixel lies at 10 E 51 N; a degree of latitude is 10.3 pixels there, one of
    longitude 6.5.
    """
    place = polar()
    longitude, latitude = to_degrees(place, *np.meshgrid(place["x"].values, place["y"].values))
    assert (longitude[3, 4], latitude[3, 4]) == (approx(10), approx(51))
    box = (9.8, 50.75, 10.2, 51.05)  # a pixel to the sides; none to the north, two to the south
    assert box_of(place, box, "here") == (slice(3, 6), slice(3, 6))
    curvilinear = {
        "longitude": xr.Variable(("y", "x"), longitude),
        "latitude": xr.Variable(("y", "x"), latitude),
    }
    assert box_of(curvilinear, box, "here") == (slice(3, 6), slice(3, 6))


def test_there_and_back_is_the_same_point() -> None:
    place = polar()
    x, y = np.meshgrid(place["x"].values, place["y"].values)
    np.testing.assert_allclose(from_degrees(place, *to_degrees(place, x, y)), (x, y), atol=1e-3)
    assert from_degrees(degrees([350, 351], [0, 1]), -9.5, 0.5) == (350.5, 0.5)


def test_a_box_beside_the_grid_and_a_grid_without_a_place_are_told() -> None:
    with pytest.raises(
        DataError,
        match=r"here: no pixel lies in the crop .* cover 5\.00 to 8\.00 E, 50\.00 to 53\.00 N",
    ):
        box_of(degrees([5, 6, 7, 8], [53, 52, 51, 50]), (20, 50, 30, 53), "here")
    with pytest.raises(
        DataError,
        match="here: the location of its pixels on Earth is unknown.*missing, or wrong and not used",
    ):
        box_of({}, (0, 0, 1, 1), "here")


def test_the_box_of_a_grid_in_degrees() -> None:
    assert box_in_degrees({}) is None
    assert box_in_degrees(degrees([5, 6, 7, 8], [53, 52, 51, 50])) == (5, 50, 8, 53)
    # across Greenwich
    assert box_in_degrees(degrees([350, 355, 360, 365], [0, 1])) == (-10, 0, 5, 1)
    # across the date line
    assert box_in_degrees(degrees([178, 179, 180, 181, 182], [0, 1])) == (178, 0, 182, 1)
    assert box_in_degrees(degrees([178, 179, -180, -179], [0, 1])) == (178, 0, 181, 1)
    west, south, east, north = box_in_degrees(polar()) or (0, 0, 0, 0)
    longitude, latitude = to_degrees(
        polar(), *np.meshgrid(polar()["x"].values, polar()["y"].values)
    )
    assert (west, east) == (approx(longitude.min(), abs=1e-4), approx(longitude.max(), abs=1e-4))
    assert (south, north) == (approx(latitude.min(), abs=1e-4), approx(latitude.max(), abs=1e-4))


def test_on_the_swiss_grid_east_is_east() -> None:
    """Its origin is the old observatory of Bern; the north-western corner of MeteoSwiss's radar
    lies in France.
    """
    text = (
        "+proj=somerc +lat_0=46.9524055555556 +lon_0=7.43958333333333 +k_0=1 +x_0=600000"
        " +y_0=200000 +ellps=bessel +units=m"
    )
    crs = grid_mapping_from_proj(text, "here")
    assert crs is not None
    x, y = [255500.0, 600000.0, 964500.0], [479500.0, 200000.0]
    place = {"x": axis_in_metres("x", x), "y": axis_in_metres("y", y), CRS: crs}
    assert to_degrees(place, 600000, 200000) == approx((7.439583, 46.952406), abs=1e-5)
    assert to_degrees(place, 255500, 479500) == approx((2.69693, 49.37180), abs=1e-5)
    assert from_degrees(place, 2.69693, 49.37180) == approx((255500, 479500), abs=1)
