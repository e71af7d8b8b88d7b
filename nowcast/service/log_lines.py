"""The log of an unattended program: one line per event, as text or JSON, on stderr or in a file
that another program may rotate.
"""

import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from nowcast.console import printable
from nowcast.errors import CannotCreateError
from nowcast.files import new_folders

FIELDS = "fields"
"""The attribute of a log record, given as `extra`, with the fields that JSON shows instead of its
message.
"""


@contextmanager
def log_lines(log_format: str, log_file: str | None) -> Iterator[None]:
    """Send the log and Python's warnings within the block to `log_file`, or to stderr, in
    `log_format`: text or json. If a line cannot be written, this is reported on stderr once, and
    the work goes on.

    Errors: CannotCreateError if the file cannot be written at the start.
    """
    handler: logging.Handler = _Stderr() if log_file is None else _File(Path(log_file).expanduser())
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    before = logging.root.handlers[:]
    logging.root.handlers[:] = [handler]
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.root.handlers[:] = before
        logging.captureWarnings(False)


def plain(value: Any) -> Any:
    """Return `value` with null instead of infinite and NaN numbers, which JSON does not allow."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Text(logging.Formatter):
    """`2026-11-21T12:06:03Z message`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, logging's name
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's name
        record.message = printable(" ".join(record.message.split()))
        return super().formatMessage(record)


class _Json(_Text):
    """`{"time": …, "level": …, "message": …}`, or the record's FIELDS instead of the message."""

    def format(self, record: logging.LogRecord) -> str:
        said = getattr(record, FIELDS, None) or {"message": " ".join(record.getMessage().split())}
        trace = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        line = {"time": self.formatTime(record), "level": record.levelname, **said, **trace}
        return json.dumps(plain(line), allow_nan=False, default=str)


class _Stderr(logging.StreamHandler[Any]):
    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, logging's name
        # if stderr is closed or full, there is nowhere to report it
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


class _File(logging.Handler):
    """A file that is opened for each line, which takes no time compared with a forecast. So it may
    be renamed or removed, or its disk may be full for a while. Each line is one write at the end of
    the file, so lines of two processes do not mix.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.complained = path, False
        try:
            with new_folders(path.parent):
                _open(path).close()
        except CannotCreateError as error:
            raise CannotCreateError(f"log_file: {error}") from error
        except OSError as error:
            raise CannotCreateError(
                f"log_file: {path}: cannot be written ({error.strerror}); choose another."
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        try:
            with _open(self.path) as file:
                # the disk is full; keep the next line separate
                if (file.write(line) or 0) < len(line):
                    file.write(b"\n")
        except OSError as error:  # a lost log line must not cost a forecast
            if not self.complained:
                self.complained = True
                _Stderr().emit(
                    logging.makeLogRecord(
                        {"msg": f"nowcast: {self.path}: cannot be written ({error.strerror})."}
                    )
                )


def _open(path: Path) -> FileIO:
    """Open a file to append to. A named pipe without a reader raises OSError, without waiting."""
    return FileIO(
        os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666),
        "ab",
    )
