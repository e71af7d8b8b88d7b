"""Settle what a process may run and tell before it imports anything.

Only `os` and `sys` are imported here, which Python has loaded
by then: any other module could still come from the working folder."""

import os
import sys


def settle() -> None:
    """Run no Python file of the working folder, here or in a process that is started later, and
    let no library tell what it does.
    """
    # workers start by `python -c`, which would look into the working folder first
    os.environ["PYTHONSAFEPATH"] = "1"
    # ONNX Runtime would keep a list of events in the home folder, and send it
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # the NetCDF library would read .ncrc, .daprc and .dodsrc of the working folder
    os.environ["NCRCENV_IGNORE"] = "1"
    here, ours = _working_folder(), os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if here != ours:
        sys.path[:] = [place for place in sys.path if place and os.path.realpath(place) != here]


def _working_folder() -> str | None:
    """The real path of the working folder, or None if it was removed."""
    try:
        return os.path.realpath(os.getcwd())
    except OSError:
        return None
