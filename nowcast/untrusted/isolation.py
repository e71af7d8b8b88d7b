"""Work on files that may crash the library that reads them: it is done in a process of its own.

HDF5, netCDF, ecCodes and GDAL can end their process by a signal, compute for hours or ask for all
memory, because of one wrong byte. `isolated` calls a function in one process that is forked at the
first call and serves all calls after it. It has limits of memory and of computing. If it dies, the
caller gets a DataError that names the file, and the next call forks another one.

Large arrays come back through shared memory. What the function logs, and what Python warns of
there, is logged and warned of here.
"""

import atexit
import contextlib
import faulthandler
import gc
import io
import logging
import math
import os
import pickle
import resource
import signal
import stat
import sys
import threading
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from nowcast.errors import DataError, DeviceError, InternalError
from nowcast.startup import reuse_memory

COMPUTING = 20
"""Seconds of computing that one call may take."""
WAITING = 300.0
"""Seconds that one call may take by the clock."""
MEMORY = 1536 * 2**20
"""Bytes that the process may allocate beyond what it has when it is forked."""

# bytes it may hold after a call; beyond it the next call gets a fresh process
_RENEWED = MEMORY // 2
_LARGE = 2**16  # bytes from which an array travels in shared memory
_SPARE = 2**26  # bytes of shared memory that stay for the next call
_KEPT = 4  # large arrays that are remembered, because the next file is likely to hold the same
_HELD_BACK = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM}
_WAITED_FOR = {stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR}
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux

Result = TypeVar("Result")


def isolated(
    path: str | Path,
    function: Callable[..., Result],
    *args: Any,
    repeats: bool = False,
    waiting: float | None = None,
) -> Result:
    """function(*args), called in the process that may die; `path` is the file that a failure is
    told of.

    function: of a module, as are its arguments and result that can be pickled.
    repeats: whether the large arrays of the result are likely to equal those of the call before;
    such are sent once.
    waiting: seconds that it may take by the clock; None: WAITING.
    Errors: those of the function; DataError if it crashes, takes too long or asks for too much
    memory; DeviceError if the process is killed from outside.
    """
    if _state.is_inside:
        return function(*args)
    with _state.lock:
        if _state.worker is not None and not _state.worker.is_usable():
            _state.drop()
        if _state.worker is None:
            _state.worker = _Worker()
        worker, answer = _state.worker, None
        try:
            answer = worker.ask(path, (function, args, repeats, _folder()), waiting or WAITING)
        finally:
            if answer is None:  # dead, or still busy because a signal ended the wait
                _state.drop()
    try:
        result: Result = answer.result_here()
    except MemoryError as error:
        raise DataError(
            f"{path}: asks for more memory than is given to one file; it is damaged, or too large:"
            " look at where it comes from."
        ) from error
    return result


def if_running(function: Callable[..., None], *args: Any) -> None:
    """function(*args) in the process, if there is one."""
    if _state.is_inside:
        function(*args)
    elif _state.worker is not None and _state.worker.is_usable():
        isolated("", function, *args)


class _State:
    """What this process knows: its worker, or that it is one."""

    def __init__(self, is_inside: bool = False) -> None:
        self.worker: _Worker | None = None
        self.is_inside = is_inside
        self.lock = threading.RLock()

    def drop(self) -> None:
        if self.worker is not None:
            worker, self.worker = self.worker, None
            worker.end()


class _Answer:
    """What a call came to."""

    def __init__(
        self,
        result: Any,
        failure: Exception | None,
        records: list[Any],
        warned: list[Any],
        is_full: bool,
    ) -> None:
        self.result, self.failure, self.records, self.warned, self.is_full = (
            result,
            failure,
            records,
            warned,
            is_full,
        )

    def result_here(self) -> Any:
        """The result. Errors: the failure. What was logged and warned of is so here."""
        for name, level, message in self.records:
            logging.getLogger(name).log(level, "%s", message)
        for category, message, file, line in self.warned:
            warnings.warn_explicit(message, category, file, line, registry=_warned)
        if self.failure is not None:
            raise self.failure
        return self.result


_state = _State()
_warned: dict[Any, Any] = {}


class _Worker:
    """The process, seen from its parent."""

    def __init__(self) -> None:
        self.memory = _shared_file()
        self.kept: OrderedDict[int, np.ndarray[Any, Any]] = OrderedDict()
        self.is_full = False
        self.code: int | None = None
        self.connection, theirs = Pipe()
        # no handler of ours runs in the child
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else None
        try:
            with (
                warnings.catch_warnings()
                # of threads: the child needs none, and waits for a lock of theirs no longer than
                # WAITING
            ):
                warnings.simplefilter("ignore", DeprecationWarning)
                self.pid = _fork()
            if self.pid == 0:
                try:
                    self.connection.close()
                    _let_go_of_what_others_wait_for({theirs.fileno(), self.memory})
                    _serve(theirs, self.memory, parent)
                finally:
                    os._exit(1)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def is_usable(self) -> bool:
        return not self.is_full and self._status(os.WNOHANG) is None

    def ask(self, path: str | Path, question: Any, waiting: float) -> _Answer:
        """Errors: DataError, DeviceError if it dies at it."""
        try:
            self.connection.send_bytes(pickle.dumps(question))
            if not self.connection.poll(waiting):
                raise DataError(
                    f"{path}: reading it took longer than {waiting:g} seconds, so it was given up;"
                    " look into the file and the disk."
                )
            answer: _Answer = _Unpacker(self.connection.recv_bytes(), self.memory, self.kept).load()
        except (EOFError, ConnectionError) as error:
            raise _death(path, self._status(0)) from error
        if os.fstat(self.memory).st_size > _SPARE:
            os.ftruncate(self.memory, 0)
        self.is_full = answer.is_full
        return answer

    def end(self) -> None:
        if self._status(os.WNOHANG) is None:
            os.kill(self.pid, signal.SIGKILL)
            self._status(0)
        self.forget()

    def forget(self) -> None:
        """Let go of what this process holds of it."""
        self.connection.close()
        os.close(self.memory)

    def _status(self, options: int) -> int | None:
        """The exit code, negative for a signal; None while it lives."""
        if self.code is None:
            try:
                pid, status = os.waitpid(self.pid, options)
                self.code = os.waitstatus_to_exitcode(status) if pid else None
            except ChildProcessError:  # somebody else asked before
                self.code = 0
        return self.code


def _fork() -> int:
    """Errors: DeviceError if the system gives no further process."""
    try:
        return os.fork()
    except OSError as error:
        raise DeviceError(
            f"cannot start the process that reads files ({error.strerror}); free some memory, or"
            " end others."
        ) from error


def _death(path: str | Path, code: int | None) -> DataError | DeviceError:
    """Why the process died, for people."""
    if code == -signal.SIGXCPU:
        return DataError(
            f"{path}: reading it took more than {COMPUTING} seconds of computing; it is damaged, or"
            " made to be slow."
        )
    if code == -signal.SIGKILL:
        return DeviceError(
            f"{path}: the process that reads it was killed, perhaps for want of memory; free some"
            " and try again."
        )
    how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    return DataError(
        f"{path}: the library of its format crashed on it ({how}); the file is damaged, or of a"
        " kind that crashes it."
    )


def _shared_file() -> int:
    """A file in memory for large arrays; on the disk where a system has none."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("nowcast")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _folder() -> str | None:
    """The working folder, to which paths may be relative; None if it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _forked() -> None:
    """In a forked process, which must not speak with the worker of its parent."""
    global _state
    worker, _state = _state.worker, _State()
    if worker is not None:
        worker.forget()


os.register_at_fork(after_in_child=_forked)
atexit.register(lambda: _state.drop())


# Within the process that may die.


def _serve(connection: Connection, memory: int, parent: int | None) -> NoReturn:
    """Answer until the parent is gone."""
    global _state
    _state = _State(is_inside=True)
    _settle(parent)
    records: list[tuple[str, int, str]] = []
    logging.root.handlers[:] = [_Collector(records)]
    sent: OrderedDict[int, np.ndarray[Any, Any]] = OrderedDict()
    least = _allocated()
    while True:
        try:
            question = connection.recv_bytes()
        except (EOFError, ConnectionError):
            os._exit(0)
        _limit(resource.RLIMIT_CPU, math.ceil(_time_used()) + COMPUTING)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result, failure, repeats = _answered(question)
        warned = [(one.category, str(one.message), one.filename, one.lineno) for one in caught]
        answer = _Answer(result, failure, records[:], warned, _allocated() - least > _RENEWED)
        del result, failure
        packed = _packed(answer, memory, sent if repeats else None)
        records.clear()
        del answer
        connection.send_bytes(packed)


def _answered(question: bytes) -> tuple[Any, Exception | None, bool]:
    """The result, or the failure; and whether large arrays are likely to come again."""
    try:
        function, args, repeats, folder = pickle.loads(question)
        _go_to(folder)
        return function(*args), None, repeats
    except Exception as error:
        if os.environ.get("NOWCAST_DEBUG"):
            error.add_note("".join(traceback.format_exception(error)))
        return None, _alone(error), False


def _alone(error: Exception) -> Exception:
    """The error, without what it was raised from; another one if it cannot be pickled."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        is_whole = isinstance(pickle.loads(pickle.dumps(error)), type(error))
    except Exception:
        is_whole = False
    return error if is_whole else InternalError(f"{type(error).__name__}: {error}")


def _let_go_of_what_others_wait_for(kept: set[int]) -> None:
    """Close the pipes, sockets and folders of the parent: whoever reads from one waits until
    nobody holds it, and folders are locked. Files stay, for the HDF5 library may share one that
    its parent has open.
    """
    for number in map(int, os.listdir("/dev/fd")):
        with contextlib.suppress(OSError):
            if (
                number > 2
                and number not in kept
                and stat.S_IFMT(os.fstat(number).st_mode) in _WAITED_FOR
            ):
                os.close(number)


def _settle(parent: int | None) -> None:
    """Be quiet, die with the parent, leave signals of the terminal to it, and leave no picture of
    memory on the disk.

    parent: None if another thread than its first one forked, for Linux takes the end of that thread
    for the end of the parent.
    """
    for number in _HELD_BACK - {signal.SIGALRM}:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    if sys.platform == "linux":
        _settle_on_linux(parent)
    gc.freeze()  # what is old stays in memory that is shared with the parent
    faulthandler.disable()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1) if os.environ.get("NOWCAST_DEBUG") else (0, 1, 2):
        os.dup2(nothing, stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115, to the end
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        _limit(resource.RLIMIT_DATA, _allocated() + MEMORY)


def _settle_on_linux(parent: int | None) -> None:
    import ctypes

    library = ctypes.CDLL(None)
    if parent is not None:
        library.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    # memory of one frame serves the next, which saves a fifth of the time
    reuse_memory(largest=2**25, kept=2**26)


def _limit(what: int, soft: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _allocated() -> int:
    """Bytes that RLIMIT_DATA counts; 0 where the system does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        return next((int(line.split()[1]) * 1024 for line in file if line.startswith("VmData:")), 0)
    return 0


def _time_used() -> float:
    """Seconds that this process has computed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _go_to(folder: str | None) -> None:
    with contextlib.suppress(OSError):
        if folder is not None and folder != _folder():
            os.chdir(folder)


class _Collector(logging.Handler):
    def __init__(self, records: list[tuple[str, int, str]]) -> None:
        super().__init__()
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.name, record.levelno, record.getMessage()))


# How answers travel: a pickle, in which a large array is a place in shared memory, or the number of
# one that was sent before.


def _packed(
    answer: _Answer, memory: int, sent: OrderedDict[int, np.ndarray[Any, Any]] | None
) -> bytes:
    stream = io.BytesIO()
    packer = _Packer(stream, memory, sent)
    packer.dump(answer)
    return stream.getvalue()


class _Packer(pickle.Pickler):
    def __init__(
        self, stream: io.BytesIO, memory: int, sent: OrderedDict[int, np.ndarray[Any, Any]] | None
    ) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self.memory, self.sent, self.end = memory, sent, 0

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) is not np.ndarray or obj.nbytes < _LARGE or obj.dtype.hasobject:
            return None
        if self.sent is not None:
            for number, other in self.sent.items():
                if _same(obj, other):
                    return number, None, None, None
        start = self.end
        self.end += _write(self.memory, np.ascontiguousarray(obj), start)
        kept: int | None = None
        if self.sent is not None:
            kept = next(reversed(self.sent), 0) + 1
            self.sent[kept] = obj
            if len(self.sent) > _KEPT:
                self.sent.popitem(last=False)
        return kept, start, obj.dtype.str, obj.shape


class _Unpacker(pickle.Unpickler):
    """kept: what was sent before, by the same rule as the sender forgets it."""

    def __init__(
        self, content: bytes, memory: int, kept: OrderedDict[int, np.ndarray[Any, Any]]
    ) -> None:
        super().__init__(io.BytesIO(content))
        self.memory, self.kept = memory, kept

    def persistent_load(self, pid: Any) -> Any:
        number, start, dtype, shape = pid
        if start is None:
            return self.kept[number]
        array = np.empty(shape, dtype)
        _read(self.memory, array, start)
        if number is not None:
            self.kept[number] = array
            if len(self.kept) > _KEPT:
                self.kept.popitem(last=False)
        return array


def _write(memory: int, array: np.ndarray[Any, Any], start: int) -> int:
    """The bytes of an array, which is contiguous → how many they are."""
    content, done = _bytes_of(array), 0
    while done < len(content):
        done += os.pwrite(memory, content[done:], start + done)
    return done


def _read(memory: int, array: np.ndarray[Any, Any], start: int) -> None:
    content, done = _bytes_of(array), 0
    while done < len(content):
        done += os.preadv(memory, [content[done:]], start + done)


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays are the same, bit by bit."""
    if (
        a.dtype != b.dtype
        or a.shape != b.shape
        or not (a.flags.c_contiguous and b.flags.c_contiguous)
    ):
        return False
    size = a.dtype.itemsize
    plain = np.dtype(f"u{size}") if size in (1, 2, 4, 8) else a.dtype
    return bool(np.array_equal(a.view(plain), b.view(plain)))
