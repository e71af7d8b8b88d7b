"""Checks before a library opens a file: it is a regular file, complete, and fits in memory."""

import errno
import gzip
import os
import socket
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest

from nowcast.errors import DataError, InputOutputError, MissingInputError
from nowcast.radar import open_grid
from nowcast.radar.reading import storage
from nowcast.untrusted.files import MAX_DEPTH, refuse_irregular, refuse_unsound
from nowcast.untrusted.netcdf3 import bytes_needed

CLASSIC = ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]


def classic(
    path: Path,
    form: str,
    *,
    times: int | None = 3,
    records: bool = True,
    kind: str = "i2",
    others: bool = True,
) -> Path:
    """Rain (time, 3, 5) of 7 everywhere; `records`: time is unlimited; `others`: a time with
    it, and a text.
    """
    with netCDF4.Dataset(path, "w", format=form) as file:
        for name, size in (("time", None if records else times), ("y", 3), ("x", 5)):
            file.createDimension(name, size)
        if others:
            time = file.createVariable("time", "f8", ("time",))
            time.units = "minutes since 2020-01-01"
            time[:] = 5.0 * np.arange(times)
            file.createVariable("station", "S1", ("y",))[:] = b"a"
            file.title = "five"
        rain = file.createVariable("rain", kind, ("time", "y", "x"))
        rain.units = "mm h-1"
        rain[:] = np.full((times, 3, 5), 7, kind)
    return path


@pytest.mark.parametrize("form", CLASSIC)
@pytest.mark.parametrize("records", [True, False])
@pytest.mark.parametrize("kind", ["i1", "i2", "f4", "f8"])
@pytest.mark.parametrize("others", [True, False])
def test_a_classic_file_needs_the_bytes_it_has(tmp_path, form, records, kind, others):
    """Except up to three bytes that fill the last number of bytes to a multiple of four."""
    path = classic(tmp_path / "a.nc", form, records=records, kind=kind, others=others)
    with open(path, "rb") as file:
        assert 0 <= path.stat().st_size - bytes_needed(file) <= 3


def test_the_types_of_64_bit_data_are_counted(tmp_path):
    for kind in ("u1", "u2", "u4", "u8", "i8"):
        path = classic(tmp_path / f"{kind}.nc", "NETCDF3_64BIT_DATA", kind=kind)
        with open(path, "rb") as file:
            assert 0 <= path.stat().st_size - bytes_needed(file) <= 3


def test_a_file_without_frames_needs_its_header_only(tmp_path):
    path = classic(tmp_path / "a.nc", "NETCDF3_CLASSIC", times=0)
    with open(path, "rb") as file:
        assert bytes_needed(file) <= path.stat().st_size


@pytest.mark.parametrize("form", CLASSIC)
@pytest.mark.parametrize("pack", [False, True])
def test_a_classic_file_cut_short_anywhere_is_refused_and_the_whole_one_is_read(
    tmp_path, form, pack
):
    whole = classic(tmp_path / "whole.nc", form).read_bytes()
    path = tmp_path / ("a.nc.gz" if pack else "a.nc")
    for length in (*range(4, len(whole) - 4, 37), len(whole) - 4):
        path.write_bytes(gzip.compress(whole[:length], 1) if pack else whole[:length])
        with pytest.raises(DataError, match=r"truncated|no unit|not a radar file") as error:
            open_grid(path)
        assert "remove" not in str(error.value) and "fetch it again" not in str(error.value)
    path.write_bytes(gzip.compress(whole) if pack else whole)
    assert (open_grid(path).precipitation_rate == 7).all()


def test_of_a_streamed_file_the_number_of_records_is_not_known(tmp_path):
    path = classic(tmp_path / "a.nc", "NETCDF3_CLASSIC")
    content = bytearray(path.read_bytes())
    content[4:8] = b"\xff" * 4
    path.write_bytes(content)
    with open(path, "rb") as file:
        assert bytes_needed(file) < path.stat().st_size


@pytest.mark.parametrize("what", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, what, monkeypatch):
    path = tmp_path / "a.nc"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "socket":
        monkeypatch.chdir(tmp_path)  # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("a.nc")
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=rf"a\.nc: is a .*{what}"):
        open_grid(path)


def test_files_and_folders_and_what_is_not_there_are_regular(tmp_path):
    (tmp_path / "a").touch()
    for path in (tmp_path, tmp_path / "a", tmp_path / "none"):
        refuse_irregular(path)


def test_a_pipe_within_a_zarr_store_is_refused(tmp_path):
    pytest.importorskip("zarr")
    (tmp_path / "a.zarr/rain/c").mkdir(parents=True)
    (tmp_path / "a.zarr/zarr.json").write_text("{}")
    os.mkfifo(tmp_path / "a.zarr/rain/c/0")
    with pytest.raises(DataError, match="rain/c/0: is a named pipe"):
        open_grid(tmp_path / "a.zarr")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 4000])
def test_groups_within_one_another_without_end_are_refused(tmp_path, depth):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file
        for _ in range(depth):
            group = group.create_group("a")
    with pytest.raises(DataError, match=f"groups nested deeper than {MAX_DEPTH} levels"):
        open_grid(tmp_path / "a.h5", format="odim")


def test_an_attribute_that_crashes_the_library_is_bad_data(tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", 1)
        file.createVariable("time", "f8", ("time",)).units = "minutes since 2020-01-01"
    with h5py.File(path, "r+") as file:
        del file["time"].attrs["NAME"]
        file["time"].attrs["NAME"] = np.array([[1, 2], [3, 4]])
    with pytest.raises(DataError, match=r"a\.nc"):
        open_grid(path)


@pytest.mark.parametrize("size", [8, 9, 14, 15])
def test_an_hdf5_file_that_ends_in_its_first_bytes_is_damaged(tmp_path, size):
    path = tmp_path / "a.nc"
    path.write_bytes((b"\x89HDF\r\n\x1a\n" + bytes(7))[:size])
    with pytest.raises(OSError, match="Unable to synchronously open file"):
        refuse_unsound(path)
    with pytest.raises(DataError, match="truncated or damaged"):
        open_grid(path)


FAULTS = [
    (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error"),
    (OSError(errno.ESTALE, os.strerror(errno.ESTALE)), "Stale file handle"),
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "raise the limit of open files"),
    (
        OSError("unable to lock file, errno = 37, error message = 'No locks available'"),
        "No locks available",
    ),
]


@pytest.mark.parametrize(("error", "said"), FAULTS)
def test_a_fault_of_the_machine_is_not_told_of_the_file(tmp_path, error, said):
    (tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n\x1a\n")
    found = storage.explain(tmp_path / "a.nc", error)
    assert (
        isinstance(found, InputOutputError) and said in str(found) and "damaged" not in str(found)
    )


def test_where_the_library_gives_no_reason_plain_reading_does(tmp_path, monkeypatch):
    path = tmp_path / "a.nc"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert isinstance(storage.explain(path, OSError(-101, "NetCDF: HDF error")), DataError)
    monkeypatch.setattr("nowcast.files.faults._errno_of_reading", lambda path: errno.EIO)
    assert isinstance(storage.explain(path, OSError(-101, "NetCDF: HDF error")), InputOutputError)
    assert isinstance(
        storage.explain(path, PermissionError(errno.EACCES, "denied")), MissingInputError
    )
