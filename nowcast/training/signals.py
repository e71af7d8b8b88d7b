"""Ctrl-C, SIGTERM, and SIGUSR1, by which Slurm tells that time is nearly up: heard at a moment when
nothing is half done.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nowcast.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Whether a signal asked the run to stop; a second signal stops it at once."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            raise Interrupted(signal_number)
        self.signal_number = signal_number

    def __bool__(self) -> bool:
        return self.signal_number is not None


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block SIGINT, SIGTERM and SIGUSR1 set the request that it gives, and end nothing
    by themselves.
    """
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
