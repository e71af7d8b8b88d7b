"""The process of a command: its streams, signals and exit code."""

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
    for number in (signal.SIGTERM, signal.SIGINT):  # before Typer makes something else of them
        signal.signal(number, stop)
    try:
        code = app(standalone_mode=False) or 0
    except Interrupted as interrupt:
        code = interrupt.exit_code
        say(interrupt, "stopped.")
    except Exception as error:
        code = report(error)
    except SystemExit as stop:
        # Hydra's own options end so: 0, or 2 for one it does not know; and Typer, with 1, where a
        # pipe is closed.
        code = (
            InputOutputError.exit_code
            if stop.code == 1
            else stop.code
            if isinstance(stop.code, int)
            else 2
        )
    _give_up_stderr()
    for number in (signal.SIGTERM, signal.SIGINT):  # nothing is left to tidy away
        signal.signal(number, signal.SIG_DFL)
    sys.exit(code)


class _Record(logging.LogRecord):
    """One line without control characters, wherever it is written: it may hold what a file says
    of itself.
    """

    def getMessage(self) -> str:  # noqa: N802, logging's name
        return printable(" ".join(super().getMessage().split()))


def _make_streams_writable() -> None:
    """Started with its output closed, Python has none; and a name of a file may hold what the
    encoding of a terminal lacks.
    """
    sys.stdout, sys.stderr = (
        stream or open(os.devnull, "w")  # noqa: SIM115, to the end
        for stream in (sys.stdout, sys.stderr)
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_stderr() -> None:
    """What a stderr that is closed or full did not take is dropped, or Python would try again
    at its end, and exit with 120.
    """
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
