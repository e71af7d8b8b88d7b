"""Folders that a failure leaves empty."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def missing_folders(folder: str | Path) -> list[Path]:
    """Return `folder` and its parents that do not exist, the innermost first."""
    return [one for one in (Path(folder), *Path(folder).parents) if not one.exists()]


def remove_empty(folders: list[Path]) -> None:
    """Remove those of these folders that are empty, in this order."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def not_left_empty(folder: str | Path) -> Iterator[None]:
    """Remove `folder` and its parents after the block, if they did not exist before it and it left nothing in them."""
    missing = missing_folders(folder)
    try:
        yield
    finally:
        remove_empty(missing)
