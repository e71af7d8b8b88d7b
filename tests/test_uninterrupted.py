"""What a signal raises waits for the end of a block that may not be broken off."""

import signal
import threading
import time

import pytest

from nowcast.errors import Interrupted
from nowcast.signals import Stop, interrupt, uninterrupted


def test_outside_of_a_block_a_handler_raises_at_once() -> None:
    with pytest.raises(Interrupted) as stopped:
        Stop()(signal.SIGTERM, None)
    assert stopped.value.exit_code == 143


def test_within_a_block_it_waits_for_the_end_of_the_outermost_and_then_is_no_more() -> None:
    done = []
    with pytest.raises(Interrupted), uninterrupted():
        with uninterrupted():
            Stop()(signal.SIGTERM, None)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    with uninterrupted():
        pass


def test_it_takes_the_place_of_what_failed_in_the_block() -> None:
    with pytest.raises(Interrupted) as stopped, uninterrupted():
        Stop()(signal.SIGTERM, None)
        raise ValueError("of the block")
    assert isinstance(stopped.value.__context__, ValueError)


def test_a_block_in_another_thread_holds_nothing_back() -> None:
    entered, leave = threading.Event(), threading.Event()

    def block() -> None:
        with uninterrupted():
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=block)
    other.start()
    try:
        assert entered.wait(10)
        with pytest.raises(KeyError):
            interrupt(KeyError())
    finally:
        leave.set()
        other.join()


def test_a_second_signal_does_not_break_off_the_tidying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stop, "PATIENCE", 0.2)
    stop = Stop()
    with pytest.raises(Interrupted):
        stop(signal.SIGTERM, None)
    stop(signal.SIGINT, None)
    assert stop.heard == signal.SIGINT
    time.sleep(0.25)
    with pytest.raises(Interrupted):
        stop(signal.SIGINT, None)


def test_of_several_the_signal_that_ends_the_process_is_raised() -> None:
    with pytest.raises(Interrupted), uninterrupted():
        interrupt(TimeoutError("a deadline"))
        Stop()(signal.SIGTERM, None)
