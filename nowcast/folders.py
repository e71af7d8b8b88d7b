"""Folders that a failure leaves empty."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def not_left_empty(folder: Path) -> Iterator[None]:
    """Remove `folder` and its parents after the block, if they did not exist before it and it left nothing in them."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        yield
    finally:
        with suppress(OSError):  # something is in it
            for one in missing:
                one.rmdir()
