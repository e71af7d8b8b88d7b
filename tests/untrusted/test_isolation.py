"""Work done in a process that may die: what it gives, what it says, and what becomes of the
caller when it dies.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from nowcast.errors import ConfigError, DataError, DeviceError, Interrupted
from nowcast.signals import Stop
from nowcast.untrusted import isolation as room
from nowcast.untrusted.isolation import if_running, isolated


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """A process of its own for each test, forked after what the test changes."""
    room._state.drop()
    yield
    room._state.drop()


def add(a, b):
    return a + b


def crash(number=signal.SIGSEGV):
    os.kill(os.getpid(), number)


def compute():
    while True:
        pass


def swell():
    # eight times as many bytes; what the tests before left in memory may be used again
    return np.ones(room.MEMORY).sum()


def fail():
    raise ConfigError("of the function")


def fail_strangely():
    raise type("Odd", (Exception,), {"__reduce__": lambda self: (print, ())})("cannot be sent")


def talk():
    logging.getLogger("there").warning("said of %s", "it")
    warnings.warn("old", UserWarning, stacklevel=1)
    print("nobody hears this")
    os.write(2, b"nor this")


def where():
    return os.getpid(), os.getcwd()


def same(values):
    return {"a": values.copy(), "b": np.arange(3)}


def test_results_and_errors_come_back():
    assert isolated("a.nc", add, 1, 2) == 3
    with pytest.raises(ConfigError, match="of the function"):
        isolated("a.nc", fail)
    with pytest.raises(Exception, match="cannot be sent"):
        isolated("a.nc", fail_strangely)


def test_it_is_another_process_and_the_same_for_all_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (pid, folder), (again, _) = isolated("a.nc", where), isolated("a.nc", where)
    assert pid == again != os.getpid() and folder == str(tmp_path)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")  # relative paths mean what they mean here
    assert isolated("a.nc", where) == (pid, str(tmp_path / "below"))


@pytest.mark.parametrize("dtype", ["f4", "i2", "M8[ns]", "?"])
def test_large_arrays_arrive_as_they_are(dtype):
    values = np.arange(300_000).astype(dtype).reshape(300, 1000)
    for given in (values, values.T, values[::2]):
        got = isolated("a.nc", same, given)["a"]
        assert got.dtype == values.dtype and np.array_equal(got, given)
        got[0] = got[1]  # it is the caller's own


def test_of_arrays_that_repeat_there_is_one():
    values, others = np.arange(100_000.0), [np.full(100_000, float(k)) for k in range(6)]
    one, two = (isolated("a.nc", same, values, repeats=True)["a"] for _ in range(2))
    assert one is two and np.array_equal(one, values)
    for other in others:
        assert np.array_equal(isolated("a.nc", same, other, repeats=True)["a"], other)
    assert np.array_equal(isolated("a.nc", same, values, repeats=True)["a"], values)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_is_bad_data_and_the_next_call_works(number):
    with pytest.raises(
        DataError,
        match=rf"^a\.nc: reading it crashed the library of its format \({signal.Signals(number).name}\)",
    ):
        isolated("a.nc", crash, number)
    assert isolated("b.nc", add, 1, 2) == 3


def test_who_kills_it_is_not_blamed_on_the_file():
    with pytest.raises(DeviceError, match=r"a\.nc: the process that reads it was killed"):
        isolated("a.nc", crash, signal.SIGKILL)
    pid, _ = isolated("a.nc", where)
    os.kill(pid, signal.SIGKILL)  # between two calls
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert isolated("b.nc", add, 1, 2) == 3


def test_endless_computing_is_bad_data(monkeypatch):
    monkeypatch.setattr(room, "COMPUTING", 0)
    with pytest.raises(
        DataError, match=r"a\.nc: reading took more than 0 seconds of computing time"
    ):
        isolated("a.nc", compute)
    for _ in range(3):  # the limit is that of each call
        assert isolated("b.nc", add, 1, 2) == 3


def test_endless_waiting_is_bad_data(monkeypatch):
    monkeypatch.setattr(room, "WAITING", 0.2)
    with pytest.raises(DataError, match=r"a\.nc: reading took longer than 0\.2 seconds"):
        isolated("a.nc", time.sleep, 30)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit it")
def test_memory_is_bounded(monkeypatch):
    room._state.drop()  # the process of an earlier test has its limit already
    monkeypatch.setattr(room, "MEMORY", 2**28)
    with pytest.raises(DataError, match=r"a\.nc: needs more memory"):
        isolated("a.nc", swell)
    assert isolated("b.nc", add, 1, 2) == 3


def test_what_is_said_there_is_said_here(caplog, capfd):
    with pytest.warns(UserWarning, match="old"):
        isolated("a.nc", talk)
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("there", "said of it")
    ]
    assert capfd.readouterr() == ("", "")


def test_a_signal_ends_the_wait_at_once_and_the_work():
    pid, _ = isolated("a.nc", where)
    stop, start = Stop(), time.monotonic()
    before = signal.signal(signal.SIGUSR1, stop)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        with pytest.raises(Interrupted):
            isolated("a.nc", time.sleep, 30)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - start < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert isolated("b.nc", add, 1, 2) == 3


def test_who_reads_from_a_pipe_of_the_caller_sees_its_end():
    reading, writing = os.pipe()
    assert isolated("a", add, 1, 2) == 3
    os.close(writing)
    os.set_blocking(reading, False)  # a pipe that somebody still holds raises BlockingIOError
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_threads_take_turns():
    found = {}
    threads = [
        threading.Thread(
            target=lambda k=k: found.update({k: isolated("a.nc", add, k, np.ones(10**5))[0]})
        )
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {k: k + 1 for k in range(8)}


def of_a_worker(number):
    return isolated("a.nc", where)[0]


def test_each_process_has_its_own():
    mine, _ = isolated("a.nc", where)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with get_context("fork").Pool(2) as pool:
            theirs = set(pool.map(of_a_worker, range(4), chunksize=1))
    assert mine not in theirs
    assert isolated("a.nc", where)[0] == mine


def test_nothing_is_started_to_close_files():
    if_running(crash)
    assert room._state.worker is None


@pytest.mark.skipif(
    sys.platform != "linux", reason="the process lives on until it is done elsewhere"
)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_parent_however_that_ends(how, tmp_path):
    code = (
        "import os, pathlib, time; from nowcast.untrusted.isolation import isolated\n"
        "pathlib.Path('pid').write_text(str(isolated('', os.getpid))); isolated('', time.sleep, 60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    parent.send_signal(how)
    parent.wait(10)
    for _ in range(100):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


def test_a_library_that_aborts_within_c_is_survived():
    with pytest.raises(DataError, match="crashed the library of its format"):
        isolated("a.nc", ctypes.string_at, 0)
