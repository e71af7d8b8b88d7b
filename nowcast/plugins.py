"""Plugins: models, losses, readers, baselines and loggers from the entry points of installed
packages.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from itertools import takewhile
from pathlib import Path
from traceback import walk_tb
from typing import Any

from nowcast.errors import MissingLibraryError

MODELS, LOSSES, READERS, BASELINES, LOGGERS = (
    f"nowcast.{kind}" for kind in ("models", "losses", "readers", "baselines", "loggers")
)
"""The groups of entry points."""

_GROUPS = {
    MODELS: "model", LOSSES: "loss", READERS: "reader", BASELINES: "baseline", LOGGERS: "logger",
}  # fmt: skip
OURS = "nowcast"


def plugins(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name, without importing them.

    Errors: MissingLibraryError if two packages give the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise MissingLibraryError(
                f"{entry.name}: the packages {package_of(other)} and {package_of(entry)} both add"
                f" this name to {group}; remove one of them."
            )
    return found


def load_plugin(group: str, name: str, package: str | None = None) -> Any:
    """Import and return the object that an installed package names `name` in a group.

    package: the package that gave it earlier, if known, for the message.

    Errors: MissingLibraryError if no package gives the name, or its import fails.
    """
    entry = plugins(group).get(name)
    if entry is None:
        remedy = f"install the package {package}" if package else "install the package that adds it"
        raise MissingLibraryError(f"{name}: no installed package adds this to {group}; {remedy}.")
    try:
        return entry.load()
    except Exception as error:  # importing a package may fail in any way
        raise MissingLibraryError(
            f"{name}: {entry.value} of the package {package_of(entry)} cannot be imported"
            f" ({type(error).__name__}: {error}); update the package, or remove it."
        ) from error


def place_of_fault(error: BaseException) -> str:
    """Return where an error was raised if that is in a package with entry points, such as
    "model 'mine' (my_package.py:49)"; otherwise an empty text.

    The innermost frame of the traceback counts that is not of another library.
    """
    entries = [entry for group in _GROUPS for entry in entry_points(group=group)]
    packages = {_top(entry.module) for entry in entries} - {OURS}
    frames = [
        (frame, line)
        for frame, line in walk_tb(error.__traceback__)
        if _top(str(frame.f_globals.get("__name__"))) in {OURS, *packages}
    ]
    inside = list(
        takewhile(lambda one: _top(str(one[0].f_globals.get("__name__"))) != OURS, reversed(frames))
    )
    if not inside:
        return ""
    frame, line = inside[0]
    package = _top(frame.f_globals["__name__"])
    file = Path(frame.f_code.co_filename).parts
    below = file[file.index(package) :] if package in file[:-1] else file[-1:]
    theirs = [entry for entry in entries if _top(entry.module) == package]
    called = {one.f_code.co_qualname.partition(".")[0] for one, _ in inside}
    named = [one for one in theirs if one.attr.partition(".")[0] in called] or theirs
    what = (
        f"{_GROUPS[named[0].group]} {named[0].name!r}"
        if len(named) == 1
        else f"the package {package_of(named[0])}"
    )
    return f"{what} ({'/'.join(below)}:{line})"


def _top(module: str) -> str:
    return module.partition(".")[0]


def package_of(entry: EntryPoint) -> str:
    """Return name and version of the package of an entry point, such as "mine 1.0"."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "?"
