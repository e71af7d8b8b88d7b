"""The start of a process: safe settings of libraries, and faster imports of large ones.

`settle` must run before anything else is imported. This module imports only modules that Python has
already loaded or that are built in: any other could come from the working folder.
"""

import gc
import os
import sys

TYPE_CHECKING = False  # typing is not loaded yet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Parameters of mallopt(3)."""

is_ours = False
"""Whether this process runs a command of nowcast, so that its settings may be changed."""


def settle() -> None:
    """Prevent this process and its children from running Python files of the working folder, and
    libraries from sending telemetry.
    """
    global is_ours
    is_ours = True
    # worker processes start with `python -c`, which would search the working folder first
    os.environ["PYTHONSAFEPATH"] = "1"
    # ONNX Runtime would store events in the home folder and send them
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # the NetCDF library would read .ncrc, .daprc and .dodsrc in the working folder
    os.environ["NCRCENV_IGNORE"] = "1"
    here, ours = _working_folder(), os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if here != ours:
        sys.path[:] = [place for place in sys.path if place and os.path.realpath(place) != here]


def _working_folder() -> str | None:
    """Return the real path of the working folder, or None if it was removed."""
    try:
        return os.path.realpath(os.getcwd())
    except OSError:
        return None


class without_garbage_collection:  # noqa: N801, used as a function
    """Pause garbage collection within the block, which imports large libraries.

    The hundreds of thousands of new objects contain no garbage. They are also excluded from later
    collections, including those at exit. In a process that did not call `settle`, such as a user's
    own, the block has no effect.
    """

    def __enter__(self) -> None:
        self.was_enabled, self.known = gc.isenabled(), len(sys.modules)
        if is_ours:
            gc.disable()

    def __exit__(self, *failure: object) -> None:
        if self.was_enabled:
            gc.enable()
        # without new modules, freezing would only keep old garbage forever
        if is_ours and len(sys.modules) > self.known:
            gc.freeze()


def reuse_memory(largest: int, kept: int) -> None:
    """Let glibc keep up to `kept` bytes of freed memory for later allocations, because new pages
    cost time.

    Blocks larger than `largest` bytes are still returned at once. With another C library this has
    no effect.
    """
    if sys.platform != "linux":
        return
    import ctypes

    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        # before version 2.35 it accepts at most 32 MiB
        library.mallopt(_MMAP_THRESHOLD, largest) or library.mallopt(_MMAP_THRESHOLD, 2**25)
        library.mallopt(_TRIM_THRESHOLD, kept)


def return_memory() -> None:
    """Give the pages that hold nothing back to the system. glibc keeps those among smaller parts
    that are in use. With another library of C this changes nothing.
    """
    if sys.platform != "linux":
        return
    import ctypes

    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def lazily(
    face: str, homes: "Mapping[str, Sequence[str]]"
) -> "tuple[Callable[[str], object], Callable[[], list[str]]]":
    """Return `__getattr__` and `__dir__` of a package that imports its names when they are first
    used (PEP 562).

    homes: the names by the module that defines them.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {face!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(f"{face}.{home_of[name]}"), name)
        setattr(sys.modules[face], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[face]), *home_of})

    return get, names
