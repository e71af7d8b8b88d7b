"""Handle Ctrl-C, SIGTERM and SIGUSR1 (sent by Slurm before the time limit) at a safe moment, when
nothing is half done.
"""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nowcast.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Whether a signal asked the run to stop; a second signal stops it at once. Signals within
    `ECHO` seconds count as one request, because a launcher and the system may both forward it.
    """

    ECHO = 0.5

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.heard = -math.inf

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        before, self.heard = self.heard, time.monotonic()
        if self.signal_number is None:
            self.signal_number = signal_number
        elif self.heard - before > self.ECHO:
            raise Interrupted(signal_number)

    def __bool__(self) -> bool:
        return self.signal_number is not None


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block SIGINT, SIGTERM and SIGUSR1 only set the yielded request; they do not end
    the process.
    """
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
