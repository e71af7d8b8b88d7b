"""What can go wrong, each kind with its exit code (sysexits.h).

A message names the file or key, what is wrong, and what to do.
"""

import signal


class NowcastError(Exception):
    """A failure that a person can act on; the command line prints its message as one line and
    exits with its code.
    """

    exit_code = 70


class UsageError(NowcastError):
    """The command line itself cannot be understood."""

    exit_code = 2


class DataError(NowcastError):
    """Input was found but cannot be used: wrong units, grid, times or values."""

    exit_code = 65


class MissingInputError(NowcastError):
    """An input file, folder or period does not exist or cannot be read."""

    exit_code = 66


class MissingLibraryError(NowcastError):
    """An optional library that this input needs is not installed."""

    exit_code = 69


class DeviceError(NowcastError):
    """The device asked for is absent, or lacks the memory or arithmetic asked of it."""

    exit_code = 69


class InternalError(NowcastError):
    """The computation itself went wrong: a loss or forecast that is not finite, a broken
    invariant.
    """

    exit_code = 70


class LostProcessError(NowcastError):
    """Another process of the same training ended, so this one cannot go on."""

    exit_code = 70


class CannotCreateError(NowcastError):
    """An output file or folder cannot be created."""

    exit_code = 73


class InputOutputError(NowcastError):
    """Reading or writing failed midway: disk full, broken file system."""

    exit_code = 74


class TryLaterError(NowcastError):
    """Not possible now, possible later: the network or a frame is not there yet."""

    exit_code = 75


class WarnedError(NowcastError):
    """All went well, and a forecast holds a warning; with the exit code that the user gave it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ConfigError(NowcastError):
    """A configuration key is unknown, missing, of the wrong type, out of range, or at odds with
    another.
    """

    exit_code = 78


class Interrupted(BaseException):
    """A signal asked the program to stop; not an Exception, so that it ends a whole sweep and
    no handler swallows it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number
