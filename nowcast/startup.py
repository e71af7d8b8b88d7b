"""The start of a process: what it may run and tell, and quicker imports of large libraries.

`settle` comes before anything else is imported. Only modules that Python has loaded by then, or
that are part of the interpreter, are imported here: any other could still come from the working
folder.
"""

import gc
import os
import sys

TYPE_CHECKING = False  # typing is not loaded by then

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Of mallopt(3)."""

is_ours = False
"""Whether this process runs a command of nowcast, so that its settings may be changed."""


def settle() -> None:
    """Run no Python file of the working folder, here or in a process that is started later, and
    let no library tell what it does.
    """
    global is_ours
    is_ours = True
    # workers start by `python -c`, which would look into the working folder first
    os.environ["PYTHONSAFEPATH"] = "1"
    # ONNX Runtime would keep a list of events in the home folder, and send it
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # the NetCDF library would read .ncrc, .daprc and .dodsrc of the working folder
    os.environ["NCRCENV_IGNORE"] = "1"
    here, ours = _working_folder(), os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if here != ours:
        sys.path[:] = [place for place in sys.path if place and os.path.realpath(place) != here]


def _working_folder() -> str | None:
    """The real path of the working folder, or None if it was removed."""
    try:
        return os.path.realpath(os.getcwd())
    except OSError:
        return None


class without_garbage_collection:  # noqa: N801, used as a function
    """Within the block Python does not look for garbage: among the hundreds of thousands of
    objects of an import there is none. Nor does it look among them afterwards, least of all
    twice as the process ends. In a process that did not `settle`, a person's own, the block changes
    nothing.
    """

    def __enter__(self) -> None:
        self.was_enabled, self.known = gc.isenabled(), len(sys.modules)
        if is_ours:
            gc.disable()

    def __exit__(self, *failure: object) -> None:
        if self.was_enabled:
            gc.enable()
        # else there is nothing new, and garbage of before would stay for ever
        if is_ours and len(sys.modules) > self.known:
            gc.freeze()


def reuse_memory(largest: int, kept: int) -> None:
    """Let glibc hold what is freed, up to `kept` bytes, for what is allocated next: fresh pages
    cost time. Larger parts than `largest` bytes still go back at once. With another library of C it
    changes nothing.
    """
    if sys.platform != "linux":
        return
    import ctypes

    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        # before version 2.35 it takes no more than 32 MiB
        library.mallopt(_MMAP_THRESHOLD, largest) or library.mallopt(_MMAP_THRESHOLD, 2**25)
        library.mallopt(_TRIM_THRESHOLD, kept)


def lazily(
    face: str, homes: "Mapping[str, Sequence[str]]"
) -> "tuple[Callable[[str], object], Callable[[], list[str]]]":
    """Return `__getattr__` and `__dir__` of a package whose names are imported once they are used
    (PEP 562).

    homes: the names by the module of the package that has them.
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
