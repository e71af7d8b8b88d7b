"""How much memory a forecast may take, and how much is free."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DEFAULT_BYTES = 2 * 10**9
"""What a forecast may take where neither the system nor a limit says how much is free."""


def memory_allowed(max_memory_gb: float | None, device: "torch.device | None" = None) -> int:
    """Bytes that a forecast may take on the device, None being the CPU: as many GB (10⁹ bytes)
    as said, else half of what is free there.
    """
    if max_memory_gb is not None:
        return round(max_memory_gb * 1e9)
    free = free_memory(device)
    return DEFAULT_BYTES if free is None else free // 2


def free_memory(device: "torch.device | None" = None) -> int | None:
    """Bytes that are free on a GPU, or to this process on a CPU, control groups (containers,
    jobs) included; None if unknown.
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
    """MemAvailable of /proc/meminfo, where there is one."""
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _left_in_groups(path: Path, root: Path) -> Iterator[int]:
    """What each limit of memory on this process's control groups leaves; pages that only cache
    files count as free.

    path: /proc/self/cgroup. root: where control groups are mounted, of version 2, or of version 1
    with memory under `memory`.
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
        # in a container it may not exist, and its limit is at the root
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
    """The number behind `key` in memory.stat, 0 where there is none."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(line.removeprefix(key)) for line in lines if line.startswith(key)), 0)
