"""Errors for archives and compressed files name their kind and say what to do; none advises to
fetch or remove them.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pytest

from nowcast.errors import DataError
from nowcast.radar import open_grid


def tar_of(path, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("a.nc"), io.BytesIO(b""))
    return path.read_bytes()


def zip_of(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.nc", b"CDF")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("day.tar", tar_of, r"an archive of files \(tar\); unpack it first"),
        (
            "old.tar",
            lambda path: tar_of(path, tarfile.USTAR_FORMAT),
            r"an archive of files \(tar\)",
        ),
        ("day.tar.gz", lambda path: gzip.compress(tar_of(path)), r"an archive of files \(tar\)"),
        ("day.tgz", lambda path: gzip.compress(tar_of(path)), r"an archive of files \(tar\)"),
        ("day.zip", zip_of, r"an archive of files \(zip\)"),
        ("cut.zip", lambda path: zip_of(path)[:40], r"an archive of files \(zip\)"),
        ("day.7z", lambda path: b"7z\xbc\xaf\x27\x1c" + bytes(100), r"an archive of files \(7z\)"),
        ("day.rar", lambda path: b"Rar!\x1a\x07\1\0" + bytes(100), r"an archive of files \(RAR\)"),
        ("a.nc.bz2", lambda path: bz2.compress(b"CDF"), "compressed by bzip2; unpack it first"),
        ("a.nc.xz", lambda path: lzma.compress(b"CDF"), "compressed by xz"),
        ("a.nc.zst", lambda path: b"\x28\xb5\x2f\xfd" + bytes(100), "compressed by zstd"),
        ("a.nc.Z", lambda path: b"\x1f\x9d\x90" + bytes(100), "compressed by compress"),
    ],
)
def test_an_archive_is_called_one(tmp_path, name, made, said):
    path = tmp_path / name
    path.write_bytes(made(path))
    with pytest.raises(DataError, match=f"{name}: this is {said}") as error:
        open_grid(path)
    assert not any(word in str(error.value) for word in ("fetch", "remove", "damaged"))


def test_arrays_of_numpy_are_called_so(tmp_path):
    np.savez(tmp_path / "rain.npz", rain=np.zeros((2, 3, 4)), when=np.zeros(2))
    with pytest.raises(
        DataError, match=r"rain\.npz: this is a NumPy \.npz file of rain, when; .*MeteoNet"
    ):
        open_grid(tmp_path / "rain.npz")
    np.save(tmp_path / "rain.npy", np.zeros((2, 3, 4)))
    with pytest.raises(DataError, match=r"rain\.npy: this is a NumPy array \(\.npy\)"):
        open_grid(tmp_path / "rain.npy")


def test_a_format_that_is_given_tells_an_archive_too(tmp_path):
    path = tmp_path / "day.zip"
    path.write_bytes(zip_of(path))
    with pytest.raises(DataError, match=r"day\.zip: this is an archive of files \(zip\)"):
        open_grid(path, format="netcdf")
