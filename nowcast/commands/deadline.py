"""A time budget."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nowcast.errors import Interrupted


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """End the block after so many seconds. Errors: Interrupted, of exit code 75."""
    if seconds is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise Interrupted(signal_number)
