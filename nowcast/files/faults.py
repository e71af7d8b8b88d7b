"""Whether the machine or the file is at fault when reading fails: bad advice about a good file
costs data.
"""

import errno
import os
import re
from pathlib import Path

from nowcast.errors import InputOutputError

_NAMES = """EIO ESTALE ENOLCK ENOMEM ETIMEDOUT ENODEV ENXIO ENOTCONN EHOSTDOWN EHOSTUNREACH
    ENETDOWN ENETUNREACH ECONNRESET ECONNABORTED EREMOTEIO"""
# not each system has all
_OF_THE_MACHINE = {getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name)}
_BLOCK, _BLOCKS = 2**25, 8
"""Bytes read at a time, and how often, to see whether the disk gives them."""


def fault_of_machine(path: str | Path, error: Exception) -> InputOutputError | None:
    """What to tell if the disk, the network or a limit of the system kept `path` from being
    read; None if it is something else.
    """
    number = _errno_of(error)
    # netCDF says only "HDF error"
    if number is None and isinstance(error, (OSError, RuntimeError)):
        number = _errno_of_reading(path)
    if number in (errno.EMFILE, errno.ENFILE):
        return InputOutputError(
            f"{path}: cannot be opened ({os.strerror(number)}); raise the limit of open files"
            " (ulimit -n)."
        )
    if number is not None and number in _OF_THE_MACHINE:
        return InputOutputError(
            f"{path}: cannot be read now ({os.strerror(number)}); see to the disk or the network,"
            " the file may be good."
        )
    return None


def refuse_fault_of_machine(path: str | Path, error: Exception) -> None:
    """Errors: InputOutputError if the machine kept `path` from being read, as
    `fault_of_machine` tells it.
    """
    fault = fault_of_machine(path, error)
    if fault is not None:
        raise fault from error


def _errno_of(error: Exception) -> int | None:
    """The number of an error of the system, also where HDF5 tells it in words."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return error.errno
    said = re.search(r"errno = (\d+)", str(error))
    return int(said[1]) if said else None


def _errno_of_reading(path: str | Path) -> int | None:
    """Why plain reading of a file fails; None if it does not."""
    try:
        with open(path, "rb") as file:
            for _ in range(_BLOCKS):
                if not file.read(_BLOCK):
                    break
    except OSError as error:
        return error.errno
    return None
