"""Signals that stop a command, and short blocks that they must not interrupt."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nowcast.errors import Interrupted

_depth = 0
_held: list[BaseException] = []


class Stop:
    """A handler that raises Interrupted, but not again within a few seconds, so that a second
    signal does not interrupt the cleaning up.
    """

    PATIENCE = 5.0  # seconds

    def __init__(self) -> None:
        self.raised = -math.inf
        self.heard: int | None = None

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        now, self.heard = time.monotonic(), signal_number
        if now - self.raised > self.PATIENCE:
            self.raised = now
            interrupt(Interrupted(signal_number))


def interrupt(error: BaseException) -> None:
    """Raise the error of a signal handler: now, or at the end of an `uninterrupted` block."""
    if not _depth:
        raise error
    _held.append(error)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay the exceptions of our signal handlers to the end of the block, which must be short.

    xarray takes its locks in Python. An exception at that moment would leave a lock taken forever,
    and the next thread that closes a file would wait for it.
    """
    global _depth
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # the only one in which handlers run
        yield
        return
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth and _held:
            first = next((error for error in _held if isinstance(error, Interrupted)), _held[0])
            _held.clear()
            raise first
