"""A disk that fails while something of ours is read is not told as damage of the file, and
nothing is replaced for it.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nowcast.errors import InputOutputError
from nowcast.files import sha256
from nowcast.forecast.dataset import open_forecast
from nowcast.forecast.exported import read_exported
from nowcast.radar.store.store import read_record
from nowcast.sequences.fields import hold
from nowcast.sequences.moving_mnist import open_digits
from nowcast.training.checkpoints import read_checkpoint
from nowcast.verification.counts_files import open_counts

READERS: dict[str, Callable[[Path], object]] = {
    "a.nc": open_forecast,
    "counts.nc": open_counts,
    "2020-01-01.nc": read_record,
    "digits.gz": open_digits,
    "a.pt": read_checkpoint,
    "a.onnx": read_exported,
    "sum": sha256,
}


@pytest.mark.parametrize("name", READERS)
def test_a_disk_that_fails_is_told_as_such(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    opened = os.stat(path)

    def fails(file: object, *args: object, **kwargs: object) -> object:
        if (
            isinstance(file, str | os.PathLike)
            and os.path.exists(file)
            and os.path.samestat(os.stat(file), opened)
        ):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return plainly(file, *args, **kwargs)

    import builtins
    import io

    plainly = open
    # what is read apart fails here, too
    monkeypatch.setattr(
        "nowcast.untrusted.isolation._state", type("Inside", (), {"is_inside": True})()
    )
    monkeypatch.setattr(builtins, "open", fails)
    monkeypatch.setattr(io, "open", fails)
    with pytest.raises(
        InputOutputError, match=f"{name}: cannot be read now .Input/output error.; check the disk"
    ):
        READERS[name](path)


def test_an_unpacked_field_on_a_disk_that_fails_is_not_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("nowcast.sequences.fields.SMALL_BYTES", 16)
    monkeypatch.setattr("nowcast.sequences.fields.StoredArray", fails)
    with pytest.raises(InputOutputError, match="the file itself may be good"):
        hold(
            lambda first, last: np.zeros((last - first, 3, 3), np.float32), (2, 3, 3), tmp_path, "a"
        )
