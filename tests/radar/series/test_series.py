import numpy as np
import pytest

from nowcast.errors import DataError
from nowcast.radar import open_files, open_grid
from nowcast.radar.reading.file import ReadOptions


def refused(path, *match):
    with pytest.raises(DataError) as error:
        open_grid(path)
    for text in match:
        assert text in str(error.value)


def constant(value, frames=2, shape=(2, 2)):
    return np.full((frames, *shape), value, dtype=np.float32)


def test_files_in_any_order_become_one_series_in_the_order_of_time(write, tmp_path, caplog):
    write("a.nc", constant(2), [10, 15])
    write("deeper/b.nc4", constant(1), [0, 5])
    write("not.txt", constant(9), [20, 25])
    grid = open_grid(tmp_path)
    assert grid.precipitation_rate[:, 0, 0].values.tolist() == [1, 1, 2, 2]
    assert grid.attrs["timestep_minutes"] == 5
    assert grid.attrs["source_files"] == 2
    assert "were sorted" in caplog.text


def test_gaps_are_kept(write):
    grid = open_grid(write("a.nc", constant(1, 4), [0, 5, 60, 65]))
    assert np.diff(grid.time.values).astype("timedelta64[m]").astype(int).tolist() == [5, 55, 5]


def test_a_frame_that_comes_twice_is_kept_once_and_said(write, tmp_path, caplog):
    write("a.nc", constant(1), [0, 5])
    write("b.nc", np.concatenate([constant(1, 1), constant(2, 1)]), [5, 10])
    grid = open_grid(tmp_path)
    assert grid.precipitation_rate[:, 0, 0].values.tolist() == [1, 1, 2]
    assert "1 frames are duplicates" in caplog.text


def test_two_different_frames_for_one_time_are_refused(write, tmp_path):
    write("a.nc", constant(1), [0, 5])
    write("b.nc", constant(2), [5, 10])
    refused(tmp_path, "a.nc", "b.nc", "two different frames for 2020-01-01T00:05")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"shape": (2, 3)}, "its grid is (2, 3)"),
        ({"units": "mm s-1"}, "units 'mm s-1', but 'mm h-1'"),
        ({"variable": "pr"}, "variable 'pr', but 'rain'"),
        ({"x": [0.0, 2.0]}, "'x' differs"),
        ({"x": None}, "only one of them has 'x'"),
    ],
)
def test_files_that_are_not_alike_are_refused_by_both_names(write, tmp_path, change, match):
    def x_is(values):
        def extra(file):
            if values is not None:
                file.createVariable("x", "f8", ("x",))[:] = values

        return extra

    change = dict(change)
    shape = change.pop("shape", (2, 2))
    x = change.pop("x", np.arange(shape[1]))
    write("a.nc", constant(1), [0, 5], extra=x_is([0.0, 1.0]))
    write("b.nc", constant(1, 2, shape), [10, 15], extra=x_is(x), **change)
    refused(tmp_path, "a.nc", "b.nc", match)


@pytest.mark.parametrize("single_first", [True, False])
def test_files_of_one_frame_and_of_many_mix(write, tmp_path, single_first):
    write("a.nc" if single_first else "c.nc", constant(0, 1)[0], 0)
    write("b.nc", np.concatenate([constant(1, 1), constant(2, 1)]), [5, 10])
    assert open_grid(tmp_path).precipitation_rate[:, 0, 0].values.tolist() == [0, 1, 2]


def test_files_of_one_frame_each_make_a_series(write, tmp_path):
    for k in range(4):
        write(f"{k}.nc", constant(k, 1)[0], k * 10)
    grid = open_grid(tmp_path)
    assert grid.precipitation_rate[1:3, 0, 0].values.tolist() == [1, 2]
    assert grid.attrs["timestep_minutes"] == 10


# ---- a period decides for itself


def span(first, last):
    start = np.datetime64("2020-01-01", "ns")
    return start + np.timedelta64(first, "m"), start + np.timedelta64(last, "m")


def minutes_of(grid):
    return ((grid.time.values - np.datetime64("2020-01-01")) / np.timedelta64(1, "m")).tolist()


CHANGED = [0, 10, 20, 30, 40, 50, 60, 66, 72, 78, 84]


def test_another_spacing_outside_of_the_period_refuses_nothing(write):
    path = write("a.nc", constant(1, 11), CHANGED)
    refused(path, "does not fit")
    grid = open_grid(path, period=span(60, 84))
    assert minutes_of(grid) == CHANGED[6:] and grid.attrs["timestep_minutes"] == 6
    assert open_grid(path, period=span(0, 50)).attrs["timestep_minutes"] == 10
    # of a single frame, by those next to it
    assert open_grid(path, period=span(72, 72)).attrs["timestep_minutes"] == 6


def test_frames_around_a_period_are_taken_where_they_fit(write, caplog):
    path = write("a.nc", constant(1, 11), CHANGED)
    grid = open_files([path], ReadOptions(), [span(66, 78)], [span(36, 84)])
    assert (
        minutes_of(grid) == [60, 66, 72, 78, 84]
        and "2 frames around the period do not fit" in caplog.text
    )


def test_a_grid_and_two_frames_of_one_time_outside_of_the_period_refuse_nothing(write, tmp_path):
    write("a.nc", constant(1, 2, (3, 3)), [0, 5])
    write("b.nc", constant(2, 4), [10, 15, 20, 25])
    write("c.nc", constant(3, 1), [15])
    refused(tmp_path, "grid")
    grid = open_grid(tmp_path, period=span(20, 25))
    assert minutes_of(grid) == [20, 25] and grid.precipitation_rate.shape[1:] == (2, 2)
    around = open_files(
        sorted(tmp_path.glob("*.nc")), ReadOptions(), [span(20, 25)], [span(10, 25)]
    )
    assert minutes_of(around) == [10, 20, 25]  # neither of the two
    with pytest.raises(DataError, match="two different frames"):
        open_grid(tmp_path, period=span(15, 25))


def test_of_several_periods_what_lies_between_decides_nothing(write):
    path = write("a.nc", constant(1, 7), [0, 5, 10, 23, 100, 105, 110])
    grid = open_files([path], ReadOptions(), [span(0, 10), span(100, 110)])
    assert minutes_of(grid) == [0, 5, 10, 100, 105, 110]


def test_a_jitter_at_the_edge_of_a_period_is_put_into_it(write):
    path = write("a.nc", constant(1, 4), np.array([0, 4.8, 10, 15]))
    assert minutes_of(open_grid(path, period=span(5, 15))) == [5, 10, 15]
