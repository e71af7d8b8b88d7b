"""Checkpoints: everything needed to resume training or to forecast, in one file that is written
completely or not at all.

The file has PyTorch's format: a zip archive with uncompressed members. Its comment holds the
SHA-256 of everything before the comment, so that a single flipped bit is detected before anything
is used. The checksum detects damage; it does not prove who wrote the file.
"""

import hashlib
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from nowcast.errors import DataError, InternalError, MissingInputError
from nowcast.files import refuse_fault_of_machine, written_whole
from nowcast.probability.calibration import check_calibration
from nowcast.training.migrations import Checkpoint as Checkpoint
from nowcast.training.migrations import migrate
from nowcast.untrusted.saved_models import saved_model

SCHEMA = 9
"""Version of the format, raised whenever an older program could not read a new checkpoint or could
not verify it. Each increase needs an entry in MIGRATIONS, so that older checkpoints stay readable.
"""

_DIGESTS_FROM = 3  # the first schema whose files end in a digest
_MARK = b"nowcast sha256 "
_COMMENT = len(_MARK) + 64  # bytes: the mark, and the digest in hexadecimal
# size of the last record of a zip archive without a comment; its last two bytes are the length of
# the comment
_LAST_RECORD = 22
_FOLDER = 0x10
"""A flag that one flipped bit can set. PyTorch then returns a tensor of uninitialised memory, and
no checksum of a member covers the flag.
"""

_UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError,
    AssertionError, ArithmeticError, MemoryError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""Errors raised for damaged zip archives and members."""


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint completely or not at all.

    Args:
        path: path of the file.
        checkpoint: a model and its training state; `Checkpoint` lists the keys.

    Returns:
        None.

    Raises:
        CannotCreateError, InputOutputError: if it cannot be written.

    Example:
        >>> write_checkpoint("copy.pt", read_checkpoint("runs/mine/best.pt"))
    """
    with written_whole(path) as temporary:
        torch.save({"schema": SCHEMA, **checkpoint}, temporary)
        _add_digest(temporary)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint onto the CPU without running any code from it.

    The checksum is verified before anything is used.

    Args:
        path: path of a checkpoint written by `nowcast train`.

    Returns:
        The checkpoint; `Checkpoint` lists the keys.

    Raises:
        MissingInputError: if the file is missing.
        InputOutputError: if a disk or a network fails.
        DataError: if it is damaged, not a checkpoint, or has a newer schema.

    Example:
        >>> read_checkpoint("runs/mine/best.pt")["config"]["input_steps"]
        3
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(
            f"{path}: no such checkpoint; give one written by 'nowcast train', such as"
            " checkpoint=runs/…/best.pt."
        )
    try:
        with open(path, "rb") as file:  # opened once: the path may be replaced meanwhile
            whole = _refuse_damaged(file, path)
            file.seek(0)
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise MissingInputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        ) from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: contains more than weights and plain values, so it was not loaded; train it"
            " again."
        ) from error
    except _UNREADABLE as error:
        refuse_fault_of_machine(path, error)
        raise DataError(
            f"{path}: not a checkpoint, or cut short ({error}); use another, or train again."
        ) from error
    if not isinstance(checkpoint, dict) or "schema" not in checkpoint:
        raise DataError(
            f"{path}: not a checkpoint of nowcast; give one written by 'nowcast train'."
        )
    schema = checkpoint["schema"]
    if not isinstance(schema, int) or schema > SCHEMA:
        raise DataError(
            f"{path}: written by a newer nowcast (schema {schema}, here {SCHEMA}); update nowcast."
        )
    if schema >= _DIGESTS_FROM and not whole:
        raise _damaged(path, "its checksum is missing")
    migrated = _migrated(checkpoint, path)
    if "config" in migrated:
        saved_model(migrated, path)
        _refuse_other_calibration(migrated, path)
    return migrated


def forecast_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights used for forecasts: the averaged ones if the checkpoint has them."""
    if checkpoint["ema"] is None:
        weights: dict[str, Tensor] = checkpoint["weights"]
        return weights
    return {
        name.removeprefix("module."): value
        for name, value in checkpoint["ema"].items()
        if name.startswith("module.")
    }


def _refuse_other_calibration(checkpoint: Checkpoint, path: Path) -> None:
    """Errors: DataError if the calibration does not fit this model."""
    config, calibration = checkpoint["config"], checkpoint.get("calibration")
    if calibration is None or not {"model", "lead_steps"} <= config.keys():
        return
    try:
        check_calibration(calibration, config["model"]["thresholds"], config["lead_steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: its calibration is not for its model ({error}); use another checkpoint, or"
            " train again."
        ) from error


def _migrated(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """Migrate a checkpoint. Errors: DataError if it does not follow the schema that it names."""
    try:
        return migrate(checkpoint, SCHEMA)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"{path}: not a valid checkpoint of schema {checkpoint['schema']}, which it names"
            f" ({type(error).__name__}: {error}); train it again."
        ) from error


def _add_digest(path: Path) -> None:
    """Write the digest of a zip archive into its comment.

    Errors: InternalError if it has a comment already.
    """
    with open(path, "r+b") as file:
        file.seek(-_LAST_RECORD, os.SEEK_END)
        last = file.read()
        if not (last.startswith(b"PK\x05\x06") and last.endswith(b"\0\0")):
            raise InternalError(
                f"{path}: PyTorch did not write a plain zip archive, so no checksum can be added;"
                " use another version of PyTorch."
            )
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<H", _COMMENT))
        file.write(_comment(file, file.tell()))


def _comment(file: BinaryIO, size: int) -> bytes:
    """Return the comment with the digest of the first `size` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while size and (part := file.read(min(size, 2**20))):
        digest.update(part)
        size -= len(part)
    return _MARK + digest.hexdigest().encode()


def _refuse_damaged(file: BinaryIO, path: Path) -> bool:
    """Return whether the file ends in its digest.

    Errors: DataError if the digest is wrong or a member does not match the archive's directory.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _COMMENT))
    comment = file.read()
    marked = comment.startswith(_MARK)
    if marked and comment != _comment(file, size - _COMMENT):
        raise _damaged(path, "its checksum is wrong")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _refuse_bombs(members, size, path)
        if marked:
            return True
        damaged = archive.testzip() or next(
            (f.filename for f in members if f.external_attr & _FOLDER), None
        )
    if damaged:
        raise _damaged(path, f"in {damaged}")
    return False


def _refuse_bombs(members: list[zipfile.ZipInfo], size: int, path: Path) -> None:
    """Refuse archives that would unpack to more than the size of the file, before unpacking.

    Errors: DataError.
    """
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > size:
        raise DataError(
            f"{path}: not a checkpoint of nowcast, which would be uncompressed; give one written by"
            " 'nowcast train'."
        )


def _damaged(path: Path, where: str) -> DataError:
    return DataError(f"{path}: damaged ({where}); use another checkpoint, or train again.")
