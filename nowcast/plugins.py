"""Plugins: models, losses, readers, baselines and loggers from the entry points of installed
packages.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nowcast.errors import MissingLibraryError

MODELS, LOSSES, READERS, BASELINES, LOGGERS = (
    f"nowcast.{kind}" for kind in ("models", "losses", "readers", "baselines", "loggers")
)
"""The groups of entry points."""


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


def package_of(entry: EntryPoint) -> str:
    """Return name and version of the package of an entry point, such as "mine 1.0"."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "?"
