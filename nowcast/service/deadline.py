"""A time limit for a block."""

import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nowcast.errors import TryLaterError
from nowcast.signals import interrupt

# seconds to the next alarm if one was swallowed: a finalizer cannot raise
_AGAIN = 1.0
_IMPORTED = 0.02  # the same if one came during an import


class _Alarm(BaseException):
    """Not an Exception, so that no handler in between swallows it."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Stop the block after this many seconds, or refuse it if it ends later; None: no limit.

    Main thread only, one at a time. A running import is finished first, because a half imported
    module cannot be imported again.

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
            if time.monotonic() >= end:  # something swallowed the alarm
                raise _Alarm
        finally:  # inside the outer block, because the alarm may come right here
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm as alarm:
        # the frames would otherwise live as long as the error, with all that the block held
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
    """Suppress the traceback that Python would print of each alarm that it had to swallow."""
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
