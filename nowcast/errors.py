"""Error classes, each with its exit code (sysexits.h).

A message names the file or key, what is wrong, and what to do.
"""

import signal


class NowcastError(Exception):
    """A failure that users can act on; the command line prints its message as one line and exits
    with its code.
    """

    exit_code = 70


class UsageError(NowcastError):
    """The command line cannot be understood."""

    exit_code = 2


class DataError(NowcastError):
    """Input was found, but its units, grid, times or values cannot be used."""

    exit_code = 65


class MissingInputError(NowcastError):
    """An input file, folder or period does not exist or cannot be read."""

    exit_code = 66


class MissingLibraryError(NowcastError):
    """An optional library that this input needs is not installed."""

    exit_code = 69


class DeviceError(NowcastError):
    """The requested device is missing, or lacks the required memory or arithmetic."""

    exit_code = 69


class InternalError(NowcastError):
    """The computation failed: a loss or forecast is not finite, or an invariant is broken."""

    exit_code = 70


class LostProcessError(NowcastError):
    """Another process of the same training ended, so this one cannot go on."""

    exit_code = 70


class CannotCreateError(NowcastError):
    """An output file or folder cannot be created."""

    exit_code = 73


class InputOutputError(NowcastError):
    """Reading or writing failed midway, for example because of a full disk."""

    exit_code = 74


class TryLaterError(NowcastError):
    """Not possible now but later: the network or a frame is not available yet."""

    exit_code = 75


class WarnedError(NowcastError):
    """A forecast succeeded and contains a warning; the exit code is set by the user."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ConfigError(NowcastError):
    """A configuration key is unknown, missing, out of range, of the wrong type, or conflicts with
    another.
    """

    exit_code = 78


class Interrupted(BaseException):
    """A signal asked the program to stop. It is not an Exception: it ends a whole sweep and no
    handler catches it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number
