"""Imports of large libraries, a tenth faster. Nothing heavy is imported here."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Within the block Python does not look for rubbish: among the hundreds of thousands of objects of an import there is none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
