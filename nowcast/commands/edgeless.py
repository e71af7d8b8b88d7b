"""Where tables are printed that are not to be wrapped. Nothing heavy is imported here."""

from typing import Any

from rich.console import Console
from rich.text import Text

from nowcast.printable import printable_lines

EDGELESS = 10_000
"""Columns of a pipe or a file, which has no edge to wrap at."""


class _Console(Console):
    """What it prints may be of strangers: no control character reaches the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable_lines(text), **options)


def console(*, markup: bool = True) -> Console:
    """Standard output, as wide as it is, or without an edge."""
    made = _Console(highlight=False, markup=markup)
    if not made.is_terminal:
        made.width = EDGELESS
    return made
