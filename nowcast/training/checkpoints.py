"""Checkpoints: all that is needed to go on training, or to forecast, in one file that is written whole or not at all."""

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from nowcast.errors import DataError, MissingInputError
from nowcast.files import written_whole

SCHEMA = 2
"""Raised whenever an older program could no longer read a new checkpoint."""

Checkpoint = dict[str, Any]
"""schema, versions, config, weights, ema, optimizer, schedule, gradient_scaler, rng, progress: tensors and plain values alone."""

_FOLDER = 0x10
"""Set by one flipped bit, it makes torch give a tensor of whatever was in memory, and no checksum covers it."""


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole or not at all. Errors: CannotCreateError, InputOutputError."""
    with written_whole(path) as temporary:
        torch.save({"schema": SCHEMA, **checkpoint}, temporary)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint onto the CPU, without ever running code from it, its checksums verified.

    Errors: MissingInputError where there is none; DataError where it is damaged, foreign, or of a newer schema.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"{path}: no such checkpoint; give one that 'nowcast train' wrote, as checkpoint=runs/…/best.pt.")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() or next((f.filename for f in archive.infolist() if f.external_attr & _FOLDER), None)
        if damaged:
            raise DataError(f"{path}: damaged (in {damaged}); use another checkpoint, or train again.")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(f"{path}: holds more than weights and plain values, so it was not loaded; train it again.") from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a checkpoint, or cut short ({error}); use another, or train again.") from error
    if not isinstance(checkpoint, dict) or "schema" not in checkpoint:
        raise DataError(f"{path}: not a checkpoint of nowcast; give one that 'nowcast train' wrote.")
    if not isinstance(checkpoint["schema"], int) or checkpoint["schema"] > SCHEMA:
        raise DataError(f"{path}: written by a newer nowcast (schema {checkpoint['schema']}, here {SCHEMA}); update nowcast.")
    return checkpoint
