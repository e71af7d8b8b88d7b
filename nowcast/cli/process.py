"""Set up the process of a command: its streams, signals and exit code."""

import logging
import os
import signal
import sys
from io import TextIOWrapper

from nowcast.cli.app import app
from nowcast.console import printable
from nowcast.errors import (
    InputOutputError,
    Interrupted,
)
from nowcast.explain import report, say
from nowcast.signals import Stop
from nowcast.startup import settle


def main() -> None:
    """Run the command line and exit with its code."""
    settle()
    _make_streams_writable()
    logging.setLogRecordFactory(_Record)
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):  # before Typer handles them
        signal.signal(number, stop)
    try:
        code = app(standalone_mode=False) or 0
    except Interrupted as interrupt:
        code = interrupt.exit_code
        say(interrupt, "stopped.")
    except Exception as error:
        code = report(error)
    except SystemExit as stop:
        # Hydra's own options exit with 0, or with 2 for an unknown option; Typer exits with 1 if a
        # pipe is closed.
        code = (
            InputOutputError.exit_code
            if stop.code == 1
            else stop.code
            if isinstance(stop.code, int)
            else 2
        )
    _give_up_stderr()
    for number in (signal.SIGTERM, signal.SIGINT):  # nothing is left to clean up
        signal.signal(number, signal.SIG_DFL)
    sys.exit(code)


class _Record(logging.LogRecord):
    """A log record as one line without control characters, since it may contain text from a
    file.
    """

    def getMessage(self) -> str:  # noqa: N802, logging's name
        return printable(" ".join(super().getMessage().split()))


def _make_streams_writable() -> None:
    """Make stdout and stderr accept all text.

    A stream that is closed at the start is None in Python, and a file name may contain characters
    that the encoding of the terminal lacks.
    """
    sys.stdout, sys.stderr = (
        stream or open(os.devnull, "w")  # noqa: SIM115, open until exit
        for stream in (sys.stdout, sys.stderr)
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_stderr() -> None:
    """Drop what a closed or full stderr did not accept; otherwise Python tries again at exit and
    ends with exit code 120.
    """
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
