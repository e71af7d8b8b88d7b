"""A time budget ends what it is around, whatever that does, and leaves no trace."""

import importlib
import os
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path

import pytest

import nowcast.service.deadline as room
from nowcast.errors import DataError, TryLaterError
from nowcast.service.deadline import deadline


def test_a_block_ends_at_its_deadline() -> None:
    start = time.monotonic()
    with (
        pytest.raises(TryLaterError, match=r"deadline=0\.2 seconds passed") as error,
        deadline(0.2),
    ):
        time.sleep(5)
    assert 0.2 <= time.monotonic() - start < 0.4
    assert error.value.exit_code == 75


def test_what_the_block_held_is_let_go_while_the_error_is_kept() -> None:
    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def work() -> None:
        large = Large()
        held.append(weakref.ref(large))
        time.sleep(5)

    with pytest.raises(TryLaterError) as error, deadline(0.1):
        work()
    assert error.value is not None and held[0]() is None


def test_a_block_in_time_is_left_alone_and_the_alarm_is_as_it_was() -> None:
    def other(number: int, frame: object) -> None:
        raise AssertionError("nobody asked for this alarm")

    before = signal.signal(signal.SIGALRM, other)
    try:
        for seconds in (None, 0.1):
            with deadline(seconds):
                pass
        with pytest.raises(DataError), deadline(0.1):
            raise DataError("of the block")
        assert signal.getsignal(signal.SIGALRM) is other
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        time.sleep(0.15)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_no_handler_of_errors_swallows_it() -> None:
    with pytest.raises(TryLaterError), deadline(0.1):
        while True:
            with suppress(Exception):
                time.sleep(5)


def test_where_it_is_swallowed_all_the_same_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_AGAIN", 0.1)
    swallowed = 0
    with pytest.raises(TryLaterError), deadline(0.05):
        while swallowed < 2:
            try:
                time.sleep(5)
            except BaseException:
                swallowed += 1
        time.sleep(5)
    assert swallowed == 2


def test_a_block_that_ends_too_late_is_told_though_its_alarm_was_lost() -> None:
    with pytest.raises(TryLaterError, match=r"deadline=0\.05 seconds passed"), deadline(0.05):
        try:
            time.sleep(1)
        except BaseException:
            time.sleep(0.01)


def test_an_alarm_that_python_itself_swallows_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow:
        def __del__(self) -> None:
            time.sleep(1)

    monkeypatch.setattr(room, "_AGAIN", 0.1)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with pytest.raises(TryLaterError), deadline(0.05):
        Slow()
        time.sleep(5)
    assert capsys.readouterr().err == ""
    assert sys.unraisablehook is sys.__unraisablehook__


def test_a_module_is_imported_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.3)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TryLaterError), deadline(0.05):
        importlib.import_module("slow_to_import")
        time.sleep(5)
    assert sys.modules.pop("slow_to_import").whole


def test_a_cycle_beyond_its_deadline_leaves_nothing(radar_file: Path, tmp_path: Path) -> None:
    words = [
        "model=persistence",
        "input_steps=3",
        "lead_steps=4",
        "data=radar",
        f"data.path={radar_file}",
    ]
    command = [
        sys.executable,
        "-m",
        "nowcast",
        "predict",
        *words,
        "deadline=0.01",
        "output=forecasts/%Y%m%dT%H%MZ.nc",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (75, "")
    assert (
        done.stderr
        == "nowcast: deadline=0.01 seconds passed; nothing was published. Try again, or allow"
        " more.\n"
    )
    assert not (tmp_path / "forecasts").exists()
