"""Absent chunks of a Zarr store: dry if that is how Zarr stores dry weather, missing if rain borders
on them.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nowcast.radar import open_grid
from nowcast.radar.reading.readers import zarr_chunks

pytest.importorskip("zarr")
TIMES = np.datetime64("2020-01-01", "ns") + np.arange(3) * np.timedelta64(5, "m")
PACKED = {"dtype": "i2", "scale_factor": 0.1, "_FillValue": -1}


@pytest.fixture(autouse=True)
def told_anew():
    zarr_chunks._tell.cache_clear()


def store(path: Path, rain: np.ndarray, *, form: int = 3, **encoding: object) -> Path:
    dataset = xr.Dataset(
        {"rain": (("time", "y", "x"), rain.astype("f4"), {"units": "mm h-1"})},
        {"time": TIMES, "y": np.arange(16) * 1e3, "x": np.arange(16) * 1e3},
    )
    dataset["rain"].encoding = {"chunks": (1, 8, 8), **PACKED, **encoding}
    dataset.to_zarr(path, zarr_format=form, consolidated=False)
    return path


def chunks(path: Path) -> set[str]:
    return {
        str(one.relative_to(path / "rain/c"))
        for one in (path / "rain/c").rglob("*")
        if one.is_file()
    }


def rates(path: Path) -> np.ndarray:
    return open_grid(path).precipitation_rate.values


def storm() -> np.ndarray:
    """Rain in the south-western quarter of each frame that ends within it; all else is dry."""
    rain = np.zeros((3, 16, 16))
    rain[:, 1:7, 1:7] = 5
    return rain


def test_dry_chunks_that_zarr_leaves_out_are_dry(tmp_path):
    path = store(tmp_path / "a.zarr", storm())
    assert chunks(path) == {"0/0/0", "1/0/0", "2/0/0"}  # so is a dry chunk stored
    assert np.array_equal(rates(path), storm().astype("f4"))


def test_a_dry_frame_between_others_is_dry_where_little_rain_surrounds_it(tmp_path):
    rain = storm()
    rain[:, 1:7, 1:7] = 0
    rain[[0, 2], 3, 3] = 5  # one pixel
    assert np.array_equal(rates(store(tmp_path / "a.zarr", rain)), rain.astype("f4"))


@pytest.mark.parametrize("lost", ["0/0/0", "1/0/1", "2/1/1"])
def test_a_lost_chunk_in_the_midst_of_rain_is_missing(tmp_path, lost, caplog):
    path = store(tmp_path / "a.zarr", np.full((3, 16, 16), 5.0))
    (path / "rain/c" / lost).unlink()
    found = rates(path)
    t, y, x = map(int, lost.split("/"))
    assert (
        np.isnan(found[t, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]).all()
        and np.isnan(found).sum() == 64
    )
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}/rain: its chunk c/{lost} does not exist although rain borders on it, so it counts as"
        " missing."
    ]


def test_a_frame_that_is_not_written_yet_is_missing_where_it_rained_before(tmp_path):
    path = store(tmp_path / "a.zarr", storm())
    shutil.rmtree(path / "rain/c/2")
    found = rates(path)
    assert np.isnan(found[2, :8, :8]).all() and not np.isnan(found[:2]).any()
    assert (found[2, 8:] == 0).all()  # where it did not rain before, it is likely dry


def test_in_a_store_that_writes_dry_chunks_an_absent_one_is_missing(tmp_path):
    import zarr

    with zarr.config.set({"array.write_empty_chunks": True}):
        path = store(tmp_path / "a.zarr", storm(), write_empty_chunks=True)
    assert len(chunks(path)) == 12
    (path / "rain/c/1/1/1").unlink()
    assert np.isnan(rates(path)[1, 8:, 8:]).all()


def test_a_part_is_read_as_the_whole(tmp_path):
    path = store(tmp_path / "a.zarr", np.full((3, 16, 16), 5.0))
    (path / "rain/c/1/1/1").unlink()
    rate = open_grid(path).precipitation_rate
    assert (
        np.isnan(rate[1, 9:11, 10:12].values).all() and not np.isnan(rate[1, 2:5, 2:5].values).any()
    )
    assert np.array_equal(rate[0:2, 5:12, 7:9].values, rates(path)[0:2, 5:12, 7:9], equal_nan=True)


@pytest.mark.parametrize(
    "encoding", [{"form": 2}, {"dtype": "f4", "scale_factor": 1.0, "_FillValue": np.nan}]
)
def test_where_absent_reads_as_missing_nothing_is_told_apart(tmp_path, encoding):
    path = store(tmp_path / "a.zarr", np.full((3, 16, 16), 5.0), **encoding)
    last = sorted(
        one for one in (path / "rain").rglob("*") if one.is_file() and one.name[0].isdigit()
    )[-1]
    last.unlink()
    assert np.isnan(rates(path)).sum() == 64


def test_a_lost_shard_is_missing(tmp_path):
    path = store(tmp_path / "a.zarr", np.full((3, 16, 16), 5.0), chunks=(1, 4, 4), shards=(1, 8, 8))
    (path / "rain/c/1/1/1").unlink()
    assert np.isnan(rates(path)[1, 8:, 8:]).all() and np.isnan(rates(path)).sum() == 64
