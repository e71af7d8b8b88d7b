import numpy as np
import pytest

from nowcast.errors import DataError
from nowcast.radar import build_grid, check_grid

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
    ],
)
def test_each_broken_rule_is_named(spoil, match):
    with pytest.raises(DataError, match=match):
        check_grid(spoil(good()))
