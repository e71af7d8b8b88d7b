"""Checkpoints: all that is needed to go on training, or to forecast, in one file that is written
whole or not at all.

The file is PyTorch's own: a zip archive whose members are not compressed. Its comment holds the
SHA-256 of all that stands before the comment, so that one flipped bit is noticed before anything of
it is used. It tells damage, not who wrote the file.
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
"""Raised whenever an older program could no longer read a new checkpoint, or could not tell
whether it is whole; with an entry in MIGRATIONS, so that this program still reads the older one.
"""

_DIGESTS_FROM = 3  # the first schema whose files end in a digest
_MARK = b"nowcast sha256 "
_COMMENT = len(_MARK) + 64  # bytes: the mark, and the digest in hexadecimal
# bytes at the end of a zip archive without a comment, of which the last two are the length of a
# comment
_LAST_RECORD = 22
_FOLDER = 0x10
"""Set by one flipped bit, it makes torch give a tensor of whatever was in memory, and no
checksum of a member covers it.
"""

_UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError,
    AssertionError, ArithmeticError, MemoryError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What zip archives and their members raise that are not what they seem."""


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        path: of the file.
        checkpoint: what `nowcast train` keeps of a model, as `Checkpoint` describes it.

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
    """Read a checkpoint onto the CPU, without ever running code from it.

    Its checksum is verified before anything of it is used.

    Args:
        path: of a checkpoint that `nowcast train` wrote.

    Returns:
        The checkpoint, as `Checkpoint` describes it.

    Raises:
        MissingInputError: if there is none.
        InputOutputError: if a disk or a network fails.
        DataError: if it is damaged, foreign, or of a newer schema.

    Example:
        >>> read_checkpoint("runs/mine/best.pt")["config"]["input_steps"]
        3
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(
            f"{path}: no such checkpoint; give one that 'nowcast train' wrote, as"
            " checkpoint=runs/…/best.pt."
        )
    try:
        with open(path, "rb") as file:  # one file from here on, whatever takes its place meanwhile
            whole = _refuse_damaged(file, path)
            file.seek(0)
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise MissingInputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        ) from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: holds more than weights and plain values, so it was not loaded; train it"
            " again."
        ) from error
    except _UNREADABLE as error:
        refuse_fault_of_machine(path, error)
        raise DataError(
            f"{path}: not a checkpoint, or cut short ({error}); use another, or train again."
        ) from error
    if not isinstance(checkpoint, dict) or "schema" not in checkpoint:
        raise DataError(
            f"{path}: not a checkpoint of nowcast; give one that 'nowcast train' wrote."
        )
    schema = checkpoint["schema"]
    if not isinstance(schema, int) or schema > SCHEMA:
        raise DataError(
            f"{path}: written by a newer nowcast (schema {schema}, here {SCHEMA}); update nowcast."
        )
    if schema >= _DIGESTS_FROM and not whole:
        raise _damaged(path, "it lacks its checksum")
    migrated = _migrated(checkpoint, path)
    if "config" in migrated:
        saved_model(migrated, path)
        _refuse_other_calibration(migrated, path)
    return migrated


def forecast_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights that a checkpoint forecasts by: averaged ones where it has them."""
    if checkpoint["ema"] is None:
        weights: dict[str, Tensor] = checkpoint["weights"]
        return weights
    return {
        name.removeprefix("module."): value
        for name, value in checkpoint["ema"].items()
        if name.startswith("module.")
    }


def _refuse_other_calibration(checkpoint: Checkpoint, path: Path) -> None:
    """Errors: DataError if the calibration is not one of the probabilities of this model."""
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
    """Errors: DataError if an earlier schema is none, or says something else than that schema."""
    try:
        return migrate(checkpoint, SCHEMA)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"{path}: no checkpoint of schema {checkpoint['schema']}, as it says"
            f" ({type(error).__name__}: {error}); train it again."
        ) from error


def _add_digest(path: Path) -> None:
    """Make the digest of a zip archive its comment.

    Errors: InternalError where it has one already.
    """
    with open(path, "r+b") as file:
        file.seek(-_LAST_RECORD, os.SEEK_END)
        last = file.read()
        if not (last.startswith(b"PK\x05\x06") and last.endswith(b"\0\0")):
            raise InternalError(
                f"{path}: PyTorch wrote no plain zip archive, so it cannot be given a checksum; use"
                " another PyTorch."
            )
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<H", _COMMENT))
        file.write(_comment(file, file.tell()))


def _comment(file: BinaryIO, size: int) -> bytes:
    """The comment that belongs to the first `size` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while size and (part := file.read(min(size, 2**20))):
        digest.update(part)
        size -= len(part)
    return _MARK + digest.hexdigest().encode()


def _refuse_damaged(file: BinaryIO, path: Path) -> bool:
    """Whether the file ends in its digest.

    Errors: DataError where it ends in another, or a member is not what the archive says.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _COMMENT))
    comment = file.read()
    marked = comment.startswith(_MARK)
    if marked and comment != _comment(file, size - _COMMENT):
        raise _damaged(path, "its checksum is another")
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
    """Errors: DataError where the members would unpack to more than the file holds, before one
    is unpacked.
    """
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > size:
        raise DataError(
            f"{path}: not a checkpoint of nowcast, which is not compressed; give one that 'nowcast"
            " train' wrote."
        )


def _damaged(path: Path, where: str) -> DataError:
    return DataError(f"{path}: damaged ({where}); use another checkpoint, or train again.")
