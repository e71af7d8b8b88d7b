"""Where tables are printed that are not to be wrapped. Nothing heavy is imported here."""

from rich.console import Console

EDGELESS = 10_000
"""Columns of a pipe or a file, which has no edge to wrap at."""


def console(*, markup: bool = True) -> Console:
    """Standard output, as wide as it is, or without an edge."""
    made = Console(highlight=False, markup=markup)
    if not made.is_terminal:
        made.width = EDGELESS
    return made
