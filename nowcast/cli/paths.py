"""Quote paths on the command line: Hydra would read a comma in a path as two values, and brackets
as a list.
"""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from nowcast.cli.arguments import split_options

PATHS = {
    "data.path", "data.cache", "output", "checkpoint", "forecasts", "counts", "mask", "grid",
    "log_file", "status", "metrics", "start", "page", "page_map", "map",
    "places", "warnings.file",
}  # fmt: skip
"""Keys whose value is one path."""


def quote_paths(words: list[str]) -> list[str]:
    """Return the words with quotes around each path that Hydra would not read as one value.

    With -m a comma separates several paths.
    """
    others, options = split_options(words)
    is_sweep = "hydra.mode=MULTIRUN" in others or any(
        one == "-m" or one.startswith("--mu") for one in options
    )
    return [_quoted(word, is_sweep) for word in others] + options


def _quoted(word: str, is_sweep: bool) -> str:
    key, _, value = word.partition("=")
    if (
        key.lstrip("+") not in PATHS
        or not value
        or value[0] in "'\"[{"
        or "${" in value
        or "\\" in value
    ):
        return word
    try:
        parsed = OverridesParser.create().parse_override(word)
    except HydraException:
        pass
    else:
        if is_sweep or not parsed.is_sweep_override():
            return word
    return f'{key}="{value}"' if '"' not in value else f"{key}='{value}'"
