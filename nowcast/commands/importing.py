"""Imports of large libraries, and the end of a process that has them, faster.

Nothing heavy is imported here.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Within the block Python does not look for rubbish: among the hundreds of thousands of
    objects of an import there is none. Nor does it look among them afterwards, least of all
    twice as the process ends.
    """
    was_enabled, known = gc.isenabled(), len(sys.modules)
    try:
        gc.disable()
        yield
    finally:
        if was_enabled:
            gc.enable()
        # else there is nothing new, and rubbish of before would stay for ever
        if len(sys.modules) > known:
            gc.freeze()
