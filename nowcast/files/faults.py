"""Tell errors of the machine from damaged files, so that no good file is taken for a bad one."""

import errno
import os
import re
from pathlib import Path

from nowcast.errors import InputOutputError

_NAMES = """EIO ESTALE ENOLCK ENOMEM ETIMEDOUT ENODEV ENXIO ENOTCONN EHOSTDOWN EHOSTUNREACH
    ENETDOWN ENETUNREACH ECONNRESET ECONNABORTED EREMOTEIO"""
# not every system has all of them
_OF_THE_MACHINE = {getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name)}
_BLOCK, _BLOCKS = 2**25, 8
"""Bytes read at a time, and how often, to test whether the disk can be read."""


def fault_of_machine(path: str | Path, error: Exception) -> InputOutputError | None:
    """Return the error to raise if the disk, the network or a system limit prevents reading `path`;
    None for another cause.
    """
    number = _errno_of(error)
    # netCDF reports only "HDF error"
    if number is None and isinstance(error, (OSError, RuntimeError)):
        number = _errno_of_reading(path)
    if number in (errno.EMFILE, errno.ENFILE):
        return InputOutputError(
            f"{path}: cannot be opened ({os.strerror(number)}); raise the limit of open files"
            " (ulimit -n)."
        )
    if number is not None and number in _OF_THE_MACHINE:
        return InputOutputError(
            f"{path}: cannot be read now ({os.strerror(number)}); check the disk or the network,"
            " the file itself may be good."
        )
    return None


def refuse_fault_of_machine(path: str | Path, error: Exception) -> None:
    """Errors: InputOutputError if the machine prevents reading `path`, see `fault_of_machine`."""
    fault = fault_of_machine(path, error)
    if fault is not None:
        raise fault from error


def _errno_of(error: Exception) -> int | None:
    """Return the number of a system error, also from the text of an HDF5 error."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return error.errno
    said = re.search(r"errno = (\d+)", str(error))
    return int(said[1]) if said else None


def _errno_of_reading(path: str | Path) -> int | None:
    """Return the error number of reading a file; None if reading succeeds."""
    try:
        with open(path, "rb") as file:
            for _ in range(_BLOCKS):
                if not file.read(_BLOCK):
                    break
    except OSError as error:
        return error.errno
    return None
