"""The version of a file: another one whenever its content is."""

import os
from pathlib import Path

import pytest

from nowcast.files import FileVersion


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "rain.nc").write_text("rain")
    return tmp_path / "rain.nc"


def test_a_file_that_did_not_change_has_the_same_version_by_any_name(path: Path) -> None:
    version = FileVersion.of(path)
    os.link(path, path.with_name("also.nc"))
    assert FileVersion.of(path) == version == FileVersion.of(path.with_name("also.nc"))


def test_a_file_that_was_written_on_has_another_version(path: Path) -> None:
    version = FileVersion.of(path)
    with path.open("a") as file:
        file.write("!")
    assert FileVersion.of(path) != version


def test_a_file_of_the_same_size_and_time_that_took_its_place_has_another_version(
    path: Path,
) -> None:
    version, other = FileVersion.of(path), path.with_name("other")
    other.write_text("hail")
    os.utime(other, ns=(version.mtime_ns, version.mtime_ns))
    os.replace(other, path)
    now = FileVersion.of(path)
    assert (now.size, now.mtime_ns) == (version.size, version.mtime_ns) and now != version


def test_a_zarr_store_changes_with_the_files_that_describe_its_arrays(tmp_path: Path) -> None:
    store = tmp_path / "rain.zarr"
    (store / "rain").mkdir(parents=True)
    about = store / "rain" / "zarr.json"
    about.write_text("[3]")
    version = FileVersion.of(store)
    about.write_text("[44]")
    os.utime(about, (2e9, 2e9))
    assert FileVersion.of(store) != version and FileVersion.of(store).changed_ns == 2e18


def test_of_a_file_that_is_gone_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileVersion.of(tmp_path / "gone")
