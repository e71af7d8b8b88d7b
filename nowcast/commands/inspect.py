"""`nowcast inspect`: what radar files hold."""

from pathlib import Path

from nowcast.config import InspectConfig


def split_arguments(words: list[str]) -> tuple[list[str], list[str]]:
    """The words of the command line → (paths, overrides); a word with '=' that is no path is an override."""
    overrides = [word for word in words if word.startswith(("-", "+", "~")) or ("=" in word and not Path(word).exists())]
    return [word for word in words if word not in overrides], overrides


def inspect(config: InspectConfig, paths: list[str], as_json: bool) -> None:
    """Print what is at each path, as a table or as one JSON document."""
