"""`nowcast prepare`: raw radar files → one store that training reads fast."""

from nowcast.config import PrepareConfig


def prepare(config: PrepareConfig) -> None:
    """Write the days of the store that are not there yet."""
