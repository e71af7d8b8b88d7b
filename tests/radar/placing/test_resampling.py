"""Crops, larger pixels, other grids and a coarser clock, computed by hand; rain is conserved."""

import numpy as np
import pyproj
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from nowcast.errors import ConfigError, DataError
from nowcast.radar.placing.cropping import box_of
from nowcast.radar.placing.georeference import Place
from nowcast.radar.placing.resampling import overlaps, to_grid, to_pixel_size
from nowcast.radar.series.cadence import targets_of
from nowcast.radar.synthetic import synthetic_grid

NAN = np.nan


def metres(y: list[float], x: list[float]) -> Place:
    """x and y of pixel centres on the projection of the synthetic rain."""
    axes = {
        name: xr.Variable(
            name,
            np.array(values, float),
            {"standard_name": f"projection_{name}_coordinate", "units": "m"},
        )
        for name, values in (("y", y), ("x", x))
    }
    return {**axes, "crs": synthetic_grid(2, 8, 8)["crs"].variable}


def degrees(latitude: list[float], longitude: list[float]) -> Place:
    return {
        "y": xr.Variable(
            "y", np.array(latitude, float), {"standard_name": "latitude", "units": "degrees_north"}
        ),
        "x": xr.Variable(
            "x", np.array(longitude, float), {"standard_name": "longitude", "units": "degrees_east"}
        ),
    }


def test_two_by_two_pixels_become_their_mean() -> None:
    resample, place = to_pixel_size(metres([500, 1500, 2500, 3500], [500, 1500]), 2000, "a.nc")
    assert resample is not None
    assert (place["y"].values.tolist(), place["x"].values.tolist()) == ([1000, 3000], [1000])
    rate = np.array([[1, 2], [3, 6], [0, 0], [0, 4]], dtype=np.float32)
    assert resample(rate).tolist() == [[3.0], [1.0]]


def test_a_pixel_of_one_and_a_half_takes_half_of_its_neighbour() -> None:
    resample, place = to_pixel_size(metres([500, 1500, 2500], [500, 1500, 2500]), 1500, "a.nc")
    assert resample is not None and place["x"].values.tolist() == [750, 2250]
    # halves of a pixel: two of the first and one of the second, …
    by_hand = [(2 * 3 + 1 * 9) / 3, (1 * 9 + 2 * 30) / 3]
    np.testing.assert_allclose(resample(np.array([[3, 9, 30]] * 3)), [by_hand, by_hand])


def test_edges_lie_on_multiples_and_a_falling_axis_keeps_falling() -> None:
    # covers 1000 to 4000
    resample, place = to_pixel_size(metres([3500, 2500, 1500], [1500, 2500, 3500]), 2000, "a.nc")
    assert resample is not None
    assert (place["y"].values.tolist(), place["x"].values.tolist()) == ([3000, 1000], [1000, 3000])
    coarse = resample(np.array([[1, 2, 4], [1, 2, 4], [8, 8, 8]], dtype=float))
    # of the last row the half is covered, in its corner a quarter
    np.testing.assert_array_equal(coarse, [[1, 3], [NAN, 8]])


@pytest.mark.parametrize(("missing", "mean"), [(1, 2.0), (2, 2.0), (3, NAN)])
def test_a_pixel_is_missing_when_less_than_half_of_it_is_covered(missing: int, mean: float) -> None:
    resample, _ = to_pixel_size(metres([500, 1500], [500, 1500]), 2000, "a.nc")
    assert resample is not None
    rate = np.full(4, 2.0)
    rate[:missing] = NAN
    np.testing.assert_array_equal(resample(rate.reshape(2, 2)), [[mean]])


@settings(max_examples=60, deadline=None)
@given(
    ratio=st.floats(1, 5), start=st.floats(-5e6, 5e6), shape=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    falling=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_no_rain_is_made_or_lost(
    ratio: float, start: float, shape: tuple[int, int], falling: bool, seed: int
) -> None:
    """With dry pixels around the rain, all new pixels with rain are covered: the sum of rate × area
    is conserved.
    """
    margin = 6
    y, x = (start + 1000.0 * np.arange(n + 2 * margin) for n in shape)
    resample, place = to_pixel_size(
        metres(list(y[::-1] if falling else y), list(x)), 1000 * ratio, "a.nc"
    )
    rain = np.pad(np.random.default_rng(seed).gamma(0.5, 4.0, shape), margin)
    if resample is None:
        assert ratio == approx(1, rel=1e-5)
        return
    coarse = resample(rain)
    assert coarse.shape == (place["y"].size, place["x"].size)
    assert np.nansum(coarse) * ratio**2 == approx(rain.sum(), rel=1e-9)
    # and it stays where it is, for the mean place
    weight_y, weight_x = np.nansum(coarse, axis=1), np.nansum(coarse, axis=0)
    assert weight_y @ place["y"].values / weight_y.sum() == approx(
        rain.sum(1) @ (y[::-1] if falling else y) / rain.sum(), abs=500 * ratio
    )
    assert weight_x @ place["x"].values / weight_x.sum() == approx(
        rain.sum(0) @ x / rain.sum(), abs=500 * ratio
    )


def test_the_overlaps_are_those_of_the_plain_definition() -> None:
    made_of = overlaps(100.0, 7.0, 9, 95.0, 12.0, 6)
    matrix = np.zeros((6, 9))
    np.add.at(matrix, (np.arange(6)[:, None], made_of.index), made_of.share)
    by_hand = [
        [
            max(0.0, min(107 + 7 * i, 107 + 12 * j) - max(100 + 7 * i, 95 + 12 * j)) / 12
            for i in range(9)
        ]
        for j in range(6)
    ]
    np.testing.assert_allclose(matrix, by_hand, atol=1e-12)


def test_dry_next_to_rain_stays_exactly_dry_where_edges_meet() -> None:
    place = metres(
        (1000.0 * np.arange(4) - 4_657_500.0).tolist(), (1000.0 * np.arange(6) + 500).tolist()
    )
    resample, _ = to_pixel_size(place, 2000, "a.nc")
    assert resample is not None
    rate = np.zeros((4, 6))
    rate[:, :2] = 100.0
    assert (resample(rate)[:, 1:] == 0).all()


def test_what_averaging_cannot_do_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"500 m is finer than the 1000 m of a\.nc.*at least 1000"
    ):
        to_pixel_size(metres([0, 1000], [0, 1000]), 500, "a.nc")
    with pytest.raises(
        ConfigError, match=r"larger than the whole grid of a\.nc; give at most 2000"
    ):
        to_pixel_size(metres([0, 1000], [0, 1000, 2000]), 1e12, "a.nc")
    with pytest.raises(ConfigError, match=r"a pixel of b\.nc is \d+ pixels of a\.nc wide"):
        to_grid(degrees([0, 1e-4], [0, 1e-4]), degrees([0, 2], [0, 2]), "a.nc", "b.nc")
    with pytest.raises(ConfigError, match=r"pixels in degrees.*grid=FILE"):
        to_pixel_size(degrees([50, 51], [8, 9]), 2000, "a.nc")
    with pytest.raises(ConfigError, match="has no x and y in metres"):
        to_pixel_size({}, 2000, "a.nc")
    with pytest.raises(DataError, match="not evenly spaced along x"):
        to_pixel_size(metres([0, 1000], [0, 1000, 2500]), 2000, "a.nc")
    assert to_pixel_size(metres([0, 1000], [0, 1000]), 1000, "a.nc")[0] is None


def test_latitudes_are_those_of_the_new_pixels() -> None:
    grid = synthetic_grid(2, 8, 8)
    place = {name: grid[name].variable for name in ("x", "y", "crs")}
    project = pyproj.Proj(pyproj.CRS.from_cf(place["crs"].attrs))
    for name, values in zip(
        ("longitude", "latitude"), project(*np.meshgrid(grid.x, grid.y), inverse=True), strict=True
    ):
        place[name] = xr.Variable(("y", "x"), values, {"standard_name": name})
    _, coarse = to_pixel_size(place, 4000, "a.nc")
    x, y = project(coarse["longitude"].values, coarse["latitude"].values)
    np.testing.assert_allclose(x, np.broadcast_to(coarse["x"].values, x.shape), atol=1e-3)
    np.testing.assert_allclose(y, np.broadcast_to(coarse["y"].values[:, None], y.shape), atol=1e-3)


def test_another_grid_whose_edges_meet_gives_the_exact_average() -> None:
    y, x = (1000.0 * np.arange(n) + 500 for n in (6, 9))
    source, target = metres(y.tolist(), x.tolist()), metres([4500, 1500], [1500, 4500, 7500])
    rate = np.random.default_rng(0).gamma(0.5, 4.0, (6, 9))
    blocks = rate.reshape(2, 3, 3, 3).mean(axis=(1, 3))[::-1]
    resample = to_grid(source, target, "a.nc", "b.nc")
    assert resample.index.shape == (9, 2, 3)
    np.testing.assert_allclose(resample(rate), blocks)


def test_another_projection_takes_the_pixel_that_is_there() -> None:
    """Each pixel of the source holds its own longitude; on a grid in degrees it is that of the
    place, to a pixel's width.
    """
    grid = synthetic_grid(2, 60, 60)
    source = {name: grid[name].variable for name in ("x", "y", "crs")}
    project = pyproj.Proj(pyproj.CRS.from_cf(source["crs"].attrs))
    longitude, latitude = project(*np.meshgrid(grid.x, grid.y), inverse=True)
    middle = float(latitude.mean()), float(longitude.mean())
    target = degrees(
        [middle[0] + 0.05 * k for k in (2, 1, 0, -1)], [middle[1] + 0.05 * k for k in (-1, 0, 1)]
    )
    got = to_grid(source, target, "a.nc", "b.nc")(longitude)
    # a pixel is 0.014° wide
    np.testing.assert_allclose(got, np.broadcast_to(target["x"].values, (4, 3)), atol=0.01)
    got = to_grid(source, target, "a.nc", "b.nc")(latitude)
    np.testing.assert_allclose(got, np.broadcast_to(target["y"].values[:, None], (4, 3)), atol=0.01)


def test_beyond_the_source_is_missing_and_longitudes_may_count_to_360() -> None:
    source = degrees([50.5, 51.5], [350.5, 351.5])
    target = degrees([51.5, 52.5], [-10.5, -9.5, -8.5])
    resample = to_grid(source, target, "a.nc", "b.nc")
    assert len(resample.index) == 1  # pixels of one size: a point each
    got = resample(np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(got, [[NAN, 3, 4], [NAN, NAN, NAN]])
    with pytest.raises(DataError, match=r"b\.nc: has no x and y"):
        to_grid(source, {}, "a.nc", "b.nc")


def test_the_crop_is_the_smallest_rectangle_of_all_centres_inside() -> None:
    place = degrees([54, 53, 52, 51, 50], [4, 5, 6, 7])
    assert box_of(place, (5.0, 51.5, 6.2, 53.5), "a.nc") == (slice(1, 3), slice(1, 3))
    assert box_of(degrees([50, 51], [355, 356, 357]), (-5, 50, -4, 50), "a.nc") == (
        slice(0, 1),
        slice(0, 2),
    )
    with pytest.raises(
        DataError, match=r"a\.nc: no pixel lies in the crop .* 4\.00 to 7\.00 E, 50\.00 to 54\.00 N"
    ):
        box_of(place, (20, 51, 21, 52), "a.nc")
    with pytest.raises(DataError, match="the location of its pixels on Earth is unknown"):
        box_of({}, (5, 51, 6, 52), "a.nc")


def test_a_projected_and_a_curvilinear_crop_agree_with_their_degrees() -> None:
    grid = synthetic_grid(2, 40, 50)
    projected = {name: grid[name].variable for name in ("x", "y", "crs")}
    project = pyproj.Proj(pyproj.CRS.from_cf(projected["crs"].attrs))
    longitude, latitude = project(*np.meshgrid(grid.x, grid.y), inverse=True)
    west, south, east, north = (
        9.9,
        float(np.quantile(latitude, 0.3)),
        10.1,
        float(np.quantile(latitude, 0.6)),
    )
    inside = (longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    by_hand = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    curvilinear = {
        "longitude": xr.Variable(("y", "x"), longitude),
        "latitude": xr.Variable(("y", "x"), latitude),
    }
    for place in (projected, curvilinear):
        assert box_of(place, (west, south, east, north), "a.nc") == by_hand


def times(minutes: list[int]) -> np.ndarray:
    return np.datetime64("2020-01-01", "ns") + np.array(minutes).astype("timedelta64[m]")


def made(minutes: list[int], source: float, wanted: float) -> dict[int, dict[int, float]]:
    """Minute of each target → {minute of a frame: its share}."""
    targets = targets_of(times(minutes), source, wanted)
    start = np.datetime64("2020-01-01", "ns")
    return {
        int((one.time - start) / np.timedelta64(1, "m")): {
            minutes[k]: round(share, 6) for k, share in one.parts
        }
        for one in targets
    }


def test_frames_stand_for_the_time_before_them() -> None:
    assert made([5, 10, 15, 20], 5, 10) == {10: {5: 0.5, 10: 0.5}, 20: {15: 0.5, 20: 0.5}}
    assert made([5, 10, 15], 5, 15) == {15: {5: 0.333333, 10: 0.333333, 15: 0.333333}}
    # 2 → 5 minutes: the frame of minute 6 stands for minutes 4 to 6, half of it before 5
    assert made([2, 4, 6, 8, 10], 2, 5) == {
        5: {2: 0.4, 4: 0.4, 6: 0.2},
        10: {6: 0.2, 8: 0.4, 10: 0.4},
    }
    assert made([5, 10], 5, 5) == {5: {5: 1.0}, 10: {10: 1.0}}


def test_a_frame_of_which_a_third_is_missing_is_made_and_with_more_it_is_not() -> None:
    assert list(made([5, 15, 20, 30], 5, 15)) == [15, 30]
    assert list(made([5, 10, 15, 25], 5, 10)) == [10]
    with pytest.raises(ConfigError, match="timestep_minutes: 2 is shorter than the 5 minutes"):
        targets_of(times([5, 10]), 5.0, 2.0)
