import multiprocessing
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nowcast.errors import MissingInputError
from nowcast.radar import check_grid, open_grid
from nowcast.radar.reading import rates as frames
from nowcast.radar.reading import storage


@pytest.fixture
def reads(monkeypatch, in_this_process):
    """What is read: (file name, first frame, how many), in order."""
    seen = []
    real = frames.read_frames

    def counting(request):
        which = request.frames
        seen.append((request.file.path.name, which.start, which.stop - which.start))
        return real(request)

    monkeypatch.setattr(frames, "read_frames", counting)
    return seen


@pytest.fixture
def two_files(write, tmp_path, ramp):
    write("a.nc", ramp)
    write("b.nc", ramp + 6, np.arange(6, 12) * 5)
    return tmp_path


def first_pixels(rate):
    return rate[:, 0, 0].values.tolist()


def test_opening_reads_no_frame_and_a_frame_reads_only_itself(two_files, reads):
    grid = open_grid(two_files)
    check_grid(grid)
    assert reads == []
    assert grid.precipitation_rate[7].values[0, 0] == 7
    assert reads == [("b.nc", 1, 1)]


def test_neighbouring_frames_of_a_file_are_one_read(two_files, reads):
    assert first_pixels(open_grid(two_files).precipitation_rate[3:9]) == [3, 4, 5, 6, 7, 8]
    assert reads == [("a.nc", 3, 3), ("b.nc", 0, 3)]


@pytest.mark.parametrize(
    "key",
    [
        np.s_[5], np.s_[-1], np.s_[2:9], np.s_[::3], np.s_[::-1], np.s_[8:2:-2], np.s_[[7, 1, 1, 11]], np.s_[0:0],
        np.s_[3, 1, 2], np.s_[2:5, 1:, ::-1], np.s_[[4, 2], :, [0, 3]], np.s_[:, [2, 0], 1], np.s_[[0, 11], -1],
    ],
)  # fmt: skip
def test_any_index_gives_what_it_gives_on_the_loaded_array(two_files, key):
    lazy, loaded = (
        open_grid(two_files).precipitation_rate,
        open_grid(two_files).precipitation_rate.load(),
    )
    assert np.array_equal(lazy[key].values, loaded[key].values)
    assert lazy[key].shape == loaded[key].shape


def test_selection_by_time_and_twice_over_stays_lazy(two_files, reads):
    grid = open_grid(two_files)
    part = grid.sel(time=slice("2020-01-01T00:10", "2020-01-01T00:50")).isel(
        time=slice(1, None, 2), x=slice(1, 3)
    )
    assert reads == []
    assert part.precipitation_rate.values[:, 0, 0].tolist() == [3, 5, 7, 9]
    assert part.precipitation_rate.shape == (4, 3, 2)


def test_values_by_points_are_read(two_files):
    import xarray as xr

    when, where = xr.DataArray([0, 11], dims="p"), xr.DataArray([0, 2], dims="p")
    assert open_grid(two_files).precipitation_rate.isel(
        time=when, y=where, x=where
    ).values.tolist() == [0, 11]


def test_memory_stays_flat_over_a_series_larger_than_what_is_held(write):
    path = write("a.nc", np.zeros((400, 100, 100), "f4"))  # 16 MB
    rate = open_grid(path).precipitation_rate
    tracemalloc.start()
    for start in range(0, 400, 10):
        rate[start : start + 10].values.sum()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6  # ten frames are 0.4 MB, and 0.8 MB in double precision


def test_reading_everything_needs_little_more_than_the_result(write, monkeypatch, in_this_process):
    monkeypatch.setattr(storage, "_BLOCK", 2**20)
    rate = open_grid(write("a.nc", np.ones((400, 100, 100), "f4"))).precipitation_rate
    tracemalloc.start()
    assert rate.values.sum() == 4e6
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24e6  # the result is 16 MB


def test_few_files_are_open_at_a_time_and_closing_closes_them(write, tmp_path, in_this_process):
    for k in range(10):
        write(f"{k}.nc", np.full((1, 2, 2), k, "f4"), [5 * k])
    with open_grid(tmp_path) as grid:
        assert first_pixels(grid.precipitation_rate) == list(range(10))
        assert len(storage._handles.files) <= storage.MAX_OPEN
    assert not [key for key in storage._handles.files if key[0].startswith(str(tmp_path))]
    assert grid.precipitation_rate[3].values[0, 0] == 3  # still usable


def test_a_grid_can_be_pickled_and_read_elsewhere(two_files):
    grid = open_grid(two_files)
    grid.precipitation_rate[0].load()
    again = pickle.loads(pickle.dumps(grid))
    assert first_pixels(again.precipitation_rate) == list(range(12))
    assert again.attrs == grid.attrs


def _first_pixels_in_child(grid, queue):
    queue.put(first_pixels(grid.precipitation_rate))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # other tests may have left threads
def test_a_forked_process_reads_with_files_of_its_own(two_files):
    grid = open_grid(two_files)
    assert grid.precipitation_rate[0].values[0, 0] == 0
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_first_pixels_in_child, args=(grid, queue))
    child.start()
    assert queue.get(timeout=20) == list(range(12))
    child.join()
    assert first_pixels(grid.precipitation_rate) == list(range(12))


def test_threads_may_read_together(two_files):
    grid = open_grid(two_files)
    with ThreadPoolExecutor(4) as pool:
        frames_read = list(
            pool.map(lambda k: grid.precipitation_rate[k % 12].values[0, 0], range(60))
        )
        grids = list(pool.map(lambda _: open_grid(two_files), range(8)))
    assert frames_read == [k % 12 for k in range(60)]
    assert len(grids) == 8


def test_a_file_replaced_after_opening_is_read_anew(write, tmp_path, ramp):
    grid = open_grid(write("a.nc", ramp))
    assert grid.precipitation_rate[1].values[0, 0] == 1
    write("new.nc", ramp + 100).replace(tmp_path / "a.nc")
    assert grid.precipitation_rate[1].values[0, 0] == 101


def test_a_file_a_glob_and_a_text_are_paths(two_files):
    for path in (
        two_files / "a.nc",
        str(two_files / "a.nc"),
        two_files / "[ab].nc",
        f"{two_files}/*a*.nc",
    ):
        assert open_grid(path).precipitation_rate[0].values[0, 0] == 0


@pytest.mark.parametrize("name", ["radolan.nc", "nothing/*.nc", "empty"])
def test_where_nothing_is_that_is_said(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        MissingInputError, match="nowcast fetch" if name == "radolan.nc" else "check"
    ) as error:
        open_grid(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_the_grid_tells_where_it_came_from(write):
    path = write(
        "a.nc",
        np.ones((2, 1, 1)),
        units="mm",
        extra=lambda file: file.setncatts({"title": "T", "institution": "I"}),
    )
    attrs = open_grid(path, accumulation_minutes=5).attrs
    assert attrs == {
        "title": "T", "institution": "I", "source_files": 1, "source_format": "netcdf",
        "converted_from": "rain [mm per 5 min]", "timestep_minutes": 5.0,
    }  # fmt: skip


def test_what_was_opened_can_be_written_and_opened_again(two_files, tmp_path):
    grid = open_grid(two_files)
    grid.to_netcdf(tmp_path / "whole.nc", engine="netcdf4")
    again = open_grid(tmp_path / "whole.nc")
    assert np.array_equal(again.precipitation_rate.values, grid.precipitation_rate.values)
