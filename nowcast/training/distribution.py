"""Train one model in several processes, each on a part of every batch, with torch.distributed."""

import ctypes
import logging
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from nowcast.errors import ConfigError, DeviceError, LostProcessError, TryLaterError
from nowcast.launch import Launch

TIMEOUT = timedelta(hours=12)
"""How long processes wait for each other: one may unpack years of frames for all. When a process
ends, its closed connection is noticed at the next step; while a GPU waits for it, torchrun or srun
ends the other processes.
"""

MEETING = timedelta(minutes=5)
"""How long processes wait for each other at the start."""
_TRY = timedelta(seconds=5)
_PR_SET_PDEATHSIG = 1
"""Option of prctl(2): send a signal when the parent process ends."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The group of processes that train together, as seen by one of them. With a single process
    every method returns at once.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files, logs and shows progress."""
        return self.rank == 0

    def part(self, items: Sequence[T]) -> list[T]:
        """Return this process's part of a batch: parts are contiguous and differ in length by one
        item at most.
        """
        begin, end = (len(items) * k // self.size for k in (self.rank, self.rank + 1))
        return list(items[begin:end])

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def largest(self, number: int) -> int:
        """Return the largest number of all processes, without waiting for a GPU."""
        if self.size == 1:
            return number
        found = torch.tensor(number)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found)

    def wait(self) -> None:
        """Wait until all processes call this, without waiting for a GPU."""
        self.largest(0)

    def share(self, value: T) -> T:
        """Return the first process's value in all processes."""
        if self.size == 1:
            return value
        values = [value if self.is_first else None]
        distributed.broadcast_object_list(values, 0, device=torch.device("cpu"))
        return cast(T, values[0])

    def gather(self, value: T) -> list[T] | None:
        """Return the values of all processes, in order, in the first process; else None."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_first else None
        distributed.gather_object(value, values)
        return values

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Run the block in the first process, then in the others, which use its caches."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def in_parallel(self, model: nn.Module) -> nn.Module:
        """Return the model, wrapped so that back-propagation averages the gradients over all
        processes.
        """
        if self.size == 1:
            return model
        # gradients of 1 × 1 kernels have other strides than their weights in the same memory
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return DistributedDataParallel(model, gradient_as_bucket_view=True)


ALONE = Processes()


def adding_up(model: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Accumulate gradients within the block; processes only exchange them in the `last` one."""
    if last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return cast(AbstractContextManager[None], model.no_sync())


@contextmanager
def joined(launch: Launch | None) -> Iterator[Processes]:
    """Join the processes of a training within the block.

    Errors: TryLaterError if they do not meet; LostProcessError if one of them ends early.
    """
    if launch is None:
        yield ALONE
        return
    _end_with(launch)
    store = _meet(launch)
    cuda = torch.cuda.is_available() and distributed.is_nccl_available()
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=store, rank=launch.rank, world_size=launch.size, timeout=TIMEOUT,
    )  # fmt: skip
    try:
        yield Processes(launch.rank, launch.size)
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise LostProcessError(
            f"one of the {launch.size} processes of this training ended, so all end; see its own"
            " message for the reason. Start again: with resume=auto and the same output the"
            " training resumes from last.pt."
        ) from error
    distributed.destroy_process_group()


def _meet(launch: Launch) -> Store:
    """Return the store for exchanging addresses, once all processes have joined. Signals are
    handled meanwhile.

    Errors: TryLaterError if not all join within `MEETING`.
    """
    log.info("waiting for all %d processes at %s", launch.size, launch.address)
    until, store = time.monotonic() + MEETING.total_seconds(), None
    serves, reason = launch.is_first and not launch.has_store, "not all of them joined"
    while time.monotonic() < until:
        try:
            store = store or _announced(launch, serves)
            if store.check(["all"]):
                return store
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            if serves:  # the port is not free
                break
        time.sleep(0.05)
    raise TryLaterError(
        f"process {launch.rank} of {launch.size} did not meet the others at {launch.address}"
        f" ({reason}); check that all were started and that the port is free."
    )


def _announced(launch: Launch, serves: bool) -> Store:
    """Return the shared store, after announcing this process in it.

    Errors: RuntimeError if the store is not served yet or the port is not free.
    """
    host, _, port = launch.address.rpartition(":")
    store: Store = TCPStore(host, int(port), launch.size, serves, _TRY, wait_for_workers=False)
    # torchrun's own store is kept from one attempt to the next
    store = PrefixStore(f"nowcast/{launch.attempt}", store)
    if store.add("here", 1) == launch.size:
        store.set("all", "here")
    return store


def _end_with(launch: Launch) -> None:
    """Let the system stop this process when torchrun, its parent, is killed."""
    if launch.launcher == "torchrun" and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def device_of(device: str, launch: Launch | None) -> str:
    """Return the device of this process: each process of a node has its own GPU.

    Errors: DeviceError if there are fewer GPUs; ConfigError if one GPU is named for all.
    """
    if launch is not None and device.startswith("cuda:") and launch.local_size > 1:
        raise ConfigError(
            f"device: {device} is one GPU, but {launch.local_size} processes run here; set"
            " device=cuda, which gives each process its own GPU."
        )
    if launch is None or device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    count = torch.cuda.device_count()
    if launch.local_size > count:
        raise DeviceError(
            f"device: {launch.local_size} processes were started on a node where PyTorch sees"
            f" {count} GPU{'s' * (count > 1)}; start one process per GPU, or set device=cpu."
        )
    torch.cuda.set_device(launch.local_rank)
    return f"cuda:{launch.local_rank}"


def _is_lost_connection(error: RuntimeError) -> bool:
    return isinstance(error, distributed.DistError) or "gloo" in str(error)
