"""Read files in a separate process, because a damaged file may crash the library that reads it.

One wrong byte can make HDF5, netCDF, ecCodes or GDAL crash, compute for hours or ask for all
memory. `isolated` calls a function in a process that is forked at the first call and serves all
later calls. The process has limits of memory and computing time. If it dies, the caller gets a
DataError that names the file, and the next call forks a new process.

Large arrays are returned through shared memory. Log records and warnings of the function are
repeated here.
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
"""Most seconds of computing time for one call."""
WAITING = 300.0
"""Most seconds of wall-clock time for one call."""
MEMORY = 1536 * 2**20
"""Most bytes that the process may allocate in addition to those at the fork."""

# most bytes the process may keep after a call; beyond it the next call gets a new process
_RENEWED = MEMORY // 2
_LARGE = 2**16  # bytes from which an array is returned in shared memory
_SPARE = 2**26  # bytes of shared memory that are kept for the next call
_KEPT = 4  # large arrays that are remembered, because the next file often has the same ones
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
    """Return function(*args), called in the separate process; errors name the file `path`.

    function: a module-level function; its arguments and result must be picklable.
    repeats: whether large arrays in the result are likely to equal those of the previous call;
    equal arrays are sent only once.
    waiting: most seconds of wall-clock time; None: WAITING.
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
            f"{path}: needs more memory than one file may use; it is damaged or too large: check"
            " its origin."
        ) from error
    return result


def if_running(function: Callable[..., None], *args: Any) -> None:
    """Call function(*args) in the separate process, if it is running."""
    if _state.is_inside:
        function(*args)
    elif _state.worker is not None and _state.worker.is_usable():
        isolated("", function, *args)


class _State:
    """State of this process: its worker, or that it is the worker."""

    def __init__(self, is_inside: bool = False) -> None:
        self.worker: _Worker | None = None
        self.is_inside = is_inside
        self.lock = threading.RLock()

    def drop(self) -> None:
        if self.worker is not None:
            worker, self.worker = self.worker, None
            worker.end()


class _Answer:
    """The outcome of a call."""

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
        """Repeat log records and warnings here, and return the result. Errors: the failure."""
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
    """The separate process, as seen by its parent."""

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
                # about threads: the child needs none, and waits for their locks no longer than
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
        """Send a question and return the answer. Errors: DataError, DeviceError if it dies."""
        try:
            self.connection.send_bytes(pickle.dumps(question))
            if not self.connection.poll(waiting):
                raise DataError(
                    f"{path}: reading took longer than {waiting:g} seconds and was stopped; check"
                    " the file and the disk."
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
        """Close the parent's connection and shared memory."""
        self.connection.close()
        os.close(self.memory)

    def _status(self, options: int) -> int | None:
        """Return the exit code, negative for a signal; None while the process lives."""
        if self.code is None:
            try:
                pid, status = os.waitpid(self.pid, options)
                self.code = os.waitstatus_to_exitcode(status) if pid else None
            except ChildProcessError:  # already collected elsewhere
                self.code = 0
        return self.code


def _fork() -> int:
    """Fork. Errors: DeviceError if the system allows no further process."""
    try:
        return os.fork()
    except OSError as error:
        raise DeviceError(
            f"cannot start the process that reads files ({error.strerror}); free some memory, or"
            " end other processes."
        ) from error


def _death(path: str | Path, code: int | None) -> DataError | DeviceError:
    """Return the error that explains why the process died."""
    if code == -signal.SIGXCPU:
        return DataError(
            f"{path}: reading took more than {COMPUTING} seconds of computing time; the file is"
            " damaged, or made to be slow."
        )
    if code == -signal.SIGKILL:
        return DeviceError(
            f"{path}: the process that reads it was killed, perhaps because memory ran out; free"
            " some and try again."
        )
    how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    return DataError(
        f"{path}: reading it crashed the library of its format ({how}); the file is damaged, or"
        " of a kind that crashes it."
    )


def _shared_file() -> int:
    """Open a file in memory for large arrays, or on the disk if the system has no such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("nowcast")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _folder() -> str | None:
    """Return the working folder, which relative paths need; None if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _forked() -> None:
    """Forget the worker of the parent in a forked process, which must not use it."""
    global _state
    worker, _state = _state.worker, _State()
    if worker is not None:
        worker.forget()


os.register_at_fork(after_in_child=_forked)
atexit.register(lambda: _state.drop())


# The functions below run in the separate process.


def _serve(connection: Connection, memory: int, parent: int | None) -> NoReturn:
    """Answer questions until the parent ends."""
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
    """Return the result, the failure, and whether large arrays are likely to repeat."""
    try:
        function, args, repeats, folder = pickle.loads(question)
        _go_to(folder)
        return function(*args), None, repeats
    except Exception as error:
        if os.environ.get("NOWCAST_DEBUG"):
            error.add_note("".join(traceback.format_exception(error)))
        return None, _alone(error), False


def _alone(error: Exception) -> Exception:
    """Return the error without its causes; an InternalError if it cannot be pickled."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        is_whole = isinstance(pickle.loads(pickle.dumps(error)), type(error))
    except Exception:
        is_whole = False
    return error if is_whole else InternalError(f"{type(error).__name__}: {error}")


def _let_go_of_what_others_wait_for(kept: set[int]) -> None:
    """Close the pipes, sockets and folders of the parent.

    A reader of a pipe waits until all processes have closed it, and open folders hold locks. Files
    stay open, because the HDF5 library may share a file that the parent has open.
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
    """Set up the process: no output, no core dumps, terminal signals ignored, end with the parent.

    parent: None if a thread other than the main thread forked, since Linux would take the end of
    that thread as the end of the parent.
    """
    for number in _HELD_BACK - {signal.SIGALRM}:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    if sys.platform == "linux":
        _settle_on_linux(parent)
    gc.freeze()  # old objects stay in memory shared with the parent
    faulthandler.disable()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1) if os.environ.get("NOWCAST_DEBUG") else (0, 1, 2):
        os.dup2(nothing, stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115, open until exit
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
    # reusing the memory of a frame for the next saves a fifth of the time
    reuse_memory(largest=2**25, kept=2**26)


def _limit(what: int, soft: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _allocated() -> int:
    """Return the bytes that RLIMIT_DATA counts; 0 if the system does not report them."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        return next((int(line.split()[1]) * 1024 for line in file if line.startswith("VmData:")), 0)
    return 0


def _time_used() -> float:
    """Return the seconds of computing time of this process."""
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


# Answers are pickled; a large array is given as its place in shared memory, or as the number of an
# equal array that was sent before.


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
    """Unpacks answers. kept: arrays that were sent before, forgotten in the sender's order."""

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
    """Write a contiguous array to shared memory and return its number of bytes."""
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
    """Return whether two arrays are identical, bit by bit."""
    if (
        a.dtype != b.dtype
        or a.shape != b.shape
        or not (a.flags.c_contiguous and b.flags.c_contiguous)
    ):
        return False
    size = a.dtype.itemsize
    plain = np.dtype(f"u{size}") if size in (1, 2, 4, 8) else a.dtype
    return bool(np.array_equal(a.view(plain), b.view(plain)))
