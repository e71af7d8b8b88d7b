"""Run a task on many items in several processes, with results in order. All processes end when the
work ends or is stopped.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from nowcast.errors import InternalError

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[int], None]
"""Called with the amount of work done since the last call; raises if the work must stop."""
_POLL_SECONDS = 0.2
_worker: tuple[Any, ...] = ()  # in a worker: (task, what all items share, count done, stop)


class _StoppedError(Exception):
    """The work was stopped from outside."""


def in_processes(
    task: Callable[[Shared, Item, Advance], Result],
    shared: Shared,
    items: Sequence[Item],
    workers: int,
    advance: Advance,
) -> Iterator[Result]:
    """Yield task(shared, item, advance) for each item, in the order of `items`; one worker runs in
    this process.

    `task` is a module-level function that regularly calls `advance` with the amount of work done.
    Workers are spawned, not forked, so they inherit neither open files nor threads. They stop at
    their next `advance` if the caller is interrupted or a task fails, and immediately if the caller
    is killed.
    Errors: those of the task; InternalError if a worker was killed.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from (task(shared, item, advance) for item in items)
        return
    context = get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(workers, context, _start, (task, shared, done, stop))
    told = 0

    def tell() -> None:
        nonlocal told
        so_far = done.value
        advance(so_far - told)
        told = so_far

    try:
        futures = [pool.submit(_work, item) for item in items]
        for future in futures:
            while not wait([future], _POLL_SECONDS).done:
                tell()
            yield future.result()
        tell()
    except BrokenProcessPool as error:
        raise InternalError(
            "a worker process was killed, perhaps for lack of memory; run again with fewer workers."
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _start(*given: Any) -> None:
    global _worker
    _worker = given
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent handles them, and sets `stop`
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(item: Any) -> Any:
    task, shared, done, stop = _worker

    def advance(count: int) -> None:
        with done.get_lock():
            done.value += count
        if stop.is_set():
            raise _StoppedError

    return task(shared, item, advance)
