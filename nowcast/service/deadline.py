"""A time budget."""

import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nowcast.errors import TryLaterError
from nowcast.signals import interrupt

# seconds to the next alarm, where one was swallowed: an object that is finalised may not raise
_AGAIN = 1.0
_IMPORTED = 0.02  # and where one came amid an import


class _Alarm(BaseException):
    """Not an Exception, so that no handler on the way swallows it."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """End the block after so many seconds, or where it ends later than that; None: never.

    Main thread only, one at a time. A module that is being imported is imported to its end, as one
    that was half imported cannot be imported again.

    Errors: TryLaterError.
    """
    if seconds is None:
        yield
        return
    before, end = signal.signal(signal.SIGALRM, _raise_alarm), time.monotonic() + seconds
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            with _swallowed_in_silence():
                yield
            if time.monotonic() >= end:  # the alarm came where something swallowed it
                raise _Alarm
        finally:  # within the outer block, as the alarm may come right here
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm as alarm:
        # which would keep all that the block held as long as the error is kept
        traceback.clear_frames(alarm.__traceback__)
        raise TryLaterError(
            f"deadline={seconds:g} seconds passed; nothing was published. Try again, or allow more."
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_alarm(signal_number: int, frame: FrameType | None) -> None:
    if _is_importing(frame):
        signal.setitimer(signal.ITIMER_REAL, _IMPORTED)
        return
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    interrupt(_Alarm())


@contextmanager
def _swallowed_in_silence() -> Iterator[None]:
    """Python would print a traceback of each alarm that it had to swallow."""
    before = sys.unraisablehook

    def hook(ignored: "sys.UnraisableHookArgs") -> None:
        if not isinstance(ignored.exc_value, _Alarm):
            before(ignored)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
