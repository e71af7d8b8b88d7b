"""Read from the environment variables of torchrun or Slurm's srun which process of a distributed
training this is. Nothing heavy is imported here.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_PORT, PORTS = 20_000, 10_000
"""Ports at which processes under Slurm meet: one for each job and step, modulo `PORTS`."""


@dataclass(frozen=True)
class Launch:
    """One of `size` processes that train together, counted from 0.

    launcher: 'torchrun' or 'srun'.
    local_rank: its number on its node.
    local_size: the number of processes on its node.
    address: host and port where the processes meet.
    has_store: whether the launcher serves there; else the first process does.
    attempt: how often the launcher has started them before.
    """

    launcher: str
    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    has_store: bool = False
    attempt: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0


_current: list[Launch] = []


def take_part(launch: Launch | None) -> None:
    """Set which of several processes this is; None for a training with one process."""
    _current[:] = [] if launch is None else [launch]


def current() -> Launch | None:
    """Return which of several processes this is; None for a training with one process."""
    return _current[0] if _current else None


def launch_of(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Return which of several processes this is; None for a training with one process."""
    if "TORCHELASTIC_RUN_ID" in environment:
        found = _of_torchrun(environment)
    elif "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        found = _of_srun(environment)
    else:
        return None
    return found if found.size > 1 else None


def _of_torchrun(environment: Mapping[str, str]) -> Launch:
    rank, size, local_rank, local_size = (
        int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    address = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    has_store = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    attempt = int(environment.get("TORCHELASTIC_RESTART_COUNT", "0"))
    return Launch("torchrun", rank, size, local_rank, local_size, address, has_store, attempt)


def _of_srun(environment: Mapping[str, str]) -> Launch:
    host = environment.get("MASTER_ADDR") or first_host(
        environment.get("SLURM_STEP_NODELIST", "localhost")
    )
    job, step, node = (
        int(environment.get(name, "0"))
        for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_NODEID")
    )
    port = environment.get("MASTER_PORT") or str(FIRST_PORT + (job + 101 * step) % PORTS)
    size = environment["SLURM_STEP_NUM_TASKS"]
    tasks = tasks_of_nodes(environment.get("SLURM_STEP_TASKS_PER_NODE", size))
    return Launch(
        "srun",
        int(environment["SLURM_PROCID"]),
        int(size),
        int(environment.get("SLURM_LOCALID", "0")),
        tasks[min(node, len(tasks) - 1)],
        f"{host}:{port}",
    )


def first_host(nodes: str) -> str:
    """Return the first of the nodes in Slurm's short form: 'gpu[03-05,9]-ib,cpu1' → 'gpu03-ib'."""
    ranges = re.sub(r"\[([0-9]+)[^]]*\]", r"\1", nodes)
    return ranges.partition(",")[0]


def tasks_of_nodes(tasks: str) -> list[int]:
    """Return the number of tasks on each node from Slurm's short form: '4(x2),1' → [4, 4, 1]."""
    counts = re.findall(r"([0-9]+)(?:\(x([0-9]+)\))?", tasks)
    return [int(count) for count, times in counts for _ in range(int(times or 1))]
