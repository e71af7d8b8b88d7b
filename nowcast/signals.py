"""Signals that end what is being done, and the few lines that none of them may break off."""

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
    """Raises Interrupted for a signal, but not again while what that ends is tidied away: an
    impatient second one is heard later.
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
    """What a signal's handler raises: at once, or at the end of a block that is `uninterrupted`."""
    if not _depth:
        raise error
    _held.append(error)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Within the block, which is to be short, no handler of ours raises. xarray takes its locks
    in Python: what is raised right then leaves one locked for ever, and who next closes a file
    waits for it.
    """
    global _depth
    if threading.current_thread() is not threading.main_thread():  # in which alone handlers run
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
