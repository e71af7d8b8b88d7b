"""How much memory a forecast may take, and how much is free."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DEFAULT_BYTES = 2 * 10**9
"""What a forecast may take if neither the system nor a limit says how much is free."""


def memory_allowed(max_memory_gb: float | None, device: "torch.device | None" = None) -> int:
    """Return the bytes that a forecast may take on the device (None: the CPU): `max_memory_gb` in
    units of 10⁹ bytes if given, else half of the free memory.
    """
    if max_memory_gb is not None:
        return round(max_memory_gb * 1e9)
    free = free_memory(device)
    return DEFAULT_BYTES if free is None else free // 2


def free_memory(device: "torch.device | None" = None) -> int | None:
    """Return the free bytes of a GPU, or those this process may still use on a CPU, including
    limits of control groups (containers, jobs); None if unknown.
    """
    if device is not None and device.type == "cuda":
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device is not None and device.type == "mps":
        import torch

        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    free = [
        *_available(Path("/proc/meminfo")),
        *_left_in_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")),
    ]
    return max(0, min(free)) if free else None


def _available(path: Path) -> Iterator[int]:
    """Yield MemAvailable of /proc/meminfo, if the file exists."""
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _left_in_groups(path: Path, root: Path) -> Iterator[int]:
    """Yield what each memory limit of this process's control groups leaves; pages that only cache
    files count as free.

    path: /proc/self/cgroup. root: where control groups are mounted: version 2, or version 1 with
    memory under `memory`.
    """
    if not path.is_file():
        return
    for line in path.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            mount, limit, usage, cache = root, "memory.max", "memory.current", "inactive_file "
        elif "memory" in controllers.split(","):
            mount, limit, usage, cache = (
                root / "memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file ",
            )
        else:
            continue
        # in a container this folder may not exist, and its limit is at the root
        place = mount / group.lstrip("/")
        for folder in [place, *place.parents]:
            if (
                folder.is_relative_to(mount)
                and (folder / limit).is_file()
                and (folder / usage).is_file()
            ):
                most = (folder / limit).read_text().strip()
                if most != "max":
                    yield (
                        int(most)
                        - int((folder / usage).read_text())
                        + _cached(folder / "memory.stat", cache)
                    )


def _cached(path: Path, key: str) -> int:
    """Return the number after `key` in memory.stat, or 0 if missing."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(line.removeprefix(key)) for line in lines if line.startswith(key)), 0)
