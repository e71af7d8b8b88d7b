"""A disk or a network that fails is told as such, whatever kind of file was read: the file may be good."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nowcast.errors import InputOutputError
from nowcast.files.faults import fault_of_machine
from nowcast.forecast import dataset, exported
from nowcast.sequences import packed
from nowcast.training import checkpoints
from nowcast.verification import counts_files


def fail(*args: Any, **kwargs: Any) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def open_packed(path: Path) -> Any:
    return packed._open(path, np.zeros(2, "datetime64[ns]"), np.timedelta64(5, "m"), (4, 4))


READERS = [
    (dataset, "apart", dataset.open_forecast),
    (counts_files, "apart", counts_files.open_counts),
    (exported.Path, "read_bytes", exported.read_exported),
    (checkpoints.torch, "load", checkpoints.read_checkpoint),
    (packed, "StoredArray", open_packed),
]


@pytest.mark.parametrize(("place", "name", "read"), READERS, ids=["forecast", "counts", "exported", "checkpoint", "packed"])
def test_a_disk_that_fails_is_no_damage_of_the_file(
    place: Any, name: str, read: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"PK\3\4" + bytes(100))
    monkeypatch.setattr(checkpoints, "_refuse_damaged", lambda file, path: True)
    monkeypatch.setattr(place, name, fail)
    with pytest.raises(InputOutputError, match=r"file: cannot be read now \(Input/output error\).* may be good"):
        read(path)


def test_an_error_of_the_file_itself_is_no_fault_of_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert fault_of_machine(path, OSError(-101, "NetCDF: HDF error")) is None
    assert fault_of_machine(path, FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert fault_of_machine(path, ValueError("bad magic")) is None
