import numpy as np
import pytest

from nowcast.errors import DataError
from nowcast.radar import build_grid, check_grid
from nowcast.radar.grid import frames_at

TIMES = np.array(["2020-01-01T00:00", "2020-01-01T00:05"], dtype="datetime64[ns]")


def good():
    return build_grid(np.zeros((2, 3, 4), np.float32), TIMES, {}, {})


def test_a_built_grid_is_good_and_knows_its_timestep():
    check_grid(good())
    assert good().attrs["timestep_minutes"] == 5.0


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda g: g.rename(precipitation_rate="rain"), "has no 'precipitation_rate'"),
        (lambda g: g.transpose("y", "x", "time"), "dimensions"),
        (lambda g: g.astype("float64"), "float32"),
        (lambda g: g.isel(time=[1, 0]), "not strictly increasing"),
        (lambda g: g.isel(time=[0, 0]), "not strictly increasing"),
        (lambda g: g.drop_vars("time"), "time coordinate"),
        (lambda g: g.drop_attrs(), "needs 'mm h-1'"),
        (lambda g: g.drop_attrs(deep=False), "timestep_minutes"),
        (lambda g: g.assign_coords(time=np.array(["2020-01-01", "NaT"], "datetime64[ns]")), "NaT"),
        (
            lambda g: g.assign_coords(y=("y", [90.0, 91.0, 92.0], {"standard_name": "latitude"})),
            "the grid: holds a latitude of 91, but",
        ),
    ],
)
def test_each_broken_rule_is_named(spoil, match):
    with pytest.raises(DataError, match=match):
        check_grid(spoil(good()))


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_an_infinite_rate_is_missing_as_in_a_file_and_is_logged(infinite, caplog):
    grid = good()
    grid["precipitation_rate"].values[1, 2, :] = [infinite, 8647.0, np.nan, -0.001]
    dry, frame = frames_at(grid, TIMES)
    assert (dry == 0).all() and (frame[:2] == 0).all()
    np.testing.assert_array_equal(frame[2], np.float32([np.nan, 8647.0, np.nan, 0.0]))
    [said] = caplog.messages
    assert said == "the grid: 1 infinite values at 2020-01-01T00:05 UTC count as missing"


def test_a_negative_rate_is_refused_as_in_a_file():
    grid = good()
    grid["precipitation_rate"].values[1, 2, 3] = -5
    assert frames_at(grid, TIMES[:1])[0] is not None
    with pytest.raises(DataError, match=r"is -5 at 2020-01-01T00:05 \(row 2, column 3; 1 such val"):
        frames_at(grid, TIMES)
