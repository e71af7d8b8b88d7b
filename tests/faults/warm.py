"""The real command in a process that is forked from one with its imports done: as a fresh process,
without seconds of imports.

As a script it is that process. It is told of a command by a connection: folder, environment and
words as JSON, with the descriptors of standard input, output and error. It answers with the number
of the process, and with its exit status once it has ended.
"""

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_IMPORTED = (
    "typer", "hydra", "omegaconf", "h5py", "netCDF4", "xarray", "torch", "tqdm", "nowcast.cli",
    "nowcast.commands.predict", "nowcast.commands.train", "nowcast.commands.evaluate",
)  # fmt: skip


class WarmProcess:
    """A command that runs: the part of subprocess.Popen that tests use."""

    def __init__(self, folder: Path, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self.returncode: int | None = None
        self.stderr, writing = _pipe()
        self._said: list[str] = []
        self._reader = threading.Thread(
            target=lambda: self._said.append(self.stderr.read()), daemon=True
        )
        self._answer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._answer.connect(_server())
        told = json.dumps([str(folder), dict(environment), list(words)]).encode()
        with open(os.devnull, "r+") as null:
            socket.send_fds(
                self._answer,
                [len(told).to_bytes(4, "little")],
                [null.fileno(), null.fileno(), writing],
            )
        os.close(writing)
        self._answer.sendall(told)
        self.pid = self._number()

    def _number(self) -> int:
        return int.from_bytes(self._answer.recv(4, socket.MSG_WAITALL), "little", signed=True)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._answer.settimeout(timeout)
            try:
                self.returncode = self._number()
            except TimeoutError as error:
                raise subprocess.TimeoutExpired("nowcast", timeout or 0.0) from error
            self._answer.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(timeout=1e-4)
        except subprocess.TimeoutExpired:
            return None

    def communicate(self, timeout: float | None = None) -> tuple[None, str]:
        if not self._said and not self._reader.is_alive():
            self._reader.start()
        until = time.monotonic() + timeout if timeout is not None else None
        self.wait(timeout)
        self._reader.join(None if until is None else max(until - time.monotonic(), 0.0))
        self.stderr.close()
        return None, self._said[0]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _pipe() -> tuple[Any, int]:
    reading, writing = os.pipe()
    return os.fdopen(reading, encoding="utf-8", errors="replace"), writing


@cache
def _server() -> str:
    """The address of the process that forks, which lives as long as this one."""
    address = str(Path(tempfile.mkdtemp(prefix="warm-")) / "socket")
    environment = {
        name: os.environ[name]
        for name in ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
        if name in os.environ
    }
    environment |= {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONFAULTHANDLER": "1",
        "LANG": "C.UTF-8",
    }
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, __file__, address], cwd=root, env=environment, stdin=subprocess.PIPE
    )
    atexit.register(process.communicate)
    while not Path(address).exists():
        assert process.poll() is None, "the process that is to fork did not start"
        time.sleep(0.02)
    return address


def serve(address: str) -> None:
    """Fork for each command, until standard input is closed, which the end of the tests does
    however it comes.
    """
    for name in _IMPORTED:
        __import__(name)
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{address}.new")
    listener.listen()
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    os.rename(f"{address}.new", address)
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as ready:
        for source in (sys.stdin, listener, woken):
            ready.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is woken:
                    woken.recv(4096)
                    _tell_ended(running)
                elif (command := _forked(listener.accept()[0], running)) is not None:
                    break
            else:
                continue
            break
        ready.close()
    for one in (listener, woken, wake):
        one.close()
    _run(command)


def _run(command: list[str]) -> None:
    """Run the command and end this process as the interpreter would, but do not take apart what
    was imported.
    """
    sys.argv = ["nowcast", *command]
    code: Any = 0
    try:
        runpy.run_module("nowcast", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _tell_ended(running: dict[int, socket.socket]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with running.pop(pid) as connection, suppress(BrokenPipeError):  # nobody waits for it
                connection.sendall(
                    os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True)
                )


def _forked(connection: socket.socket, running: dict[int, socket.socket]) -> list[str] | None:
    """In the process that serves None; in the one that was forked, once it is as a fresh one,
    the words of the command.
    """
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    told = connection.recv(int.from_bytes(size, "little"), socket.MSG_WAITALL)
    pid = os.fork()
    if pid:
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(pid.to_bytes(4, "little"))
        running[pid] = connection
        return None
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for one in (connection, *running.values()):
        one.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    folder, environment, words = json.loads(told)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = sys.__stdin__ = os.fdopen(0)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w")
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    return list(words)


if __name__ == "__main__":
    serve(sys.argv[1])
