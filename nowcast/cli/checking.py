"""`--check`: check a configuration and that its input files exist, without reading or changing
anything.
"""

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nowcast.cli.arguments import split_options
from nowcast.config.named_paths import by_name
from nowcast.errors import MissingInputError
from nowcast.pretrained import checkpoint_paths

OPTION = "--check"
_SET_HERE = (
    "hydra/launcher",
    "hydra/sweeper",
    "hydra.launcher",
    "hydra.sweeper",
    "hydra.run.",
    "hydra.sweep.",
)


def words_to_check(words: Sequence[str], folder: str) -> list[str]:
    """Return the words with which Hydra composes a command, or each job of its sweep, in this
    process and with output only in `folder`.
    """
    others, options = split_options([word for word in words if word != OPTION])
    kept = [word for word in others if not word.lstrip("+~").startswith(_SET_HERE)]
    elsewhere = [
        f'hydra.run.dir="{folder}"',
        f'hydra.sweep.dir="{folder}"',
        "hydra.output_subdir=null",
    ]
    return [*kept, *elsewhere, "hydra/launcher=basic", "hydra/sweeper=basic", *options]


def check_inputs(config: Any, places: Sequence[str]) -> None:
    """Check that each file named in a command's composed configuration exists, and each path in
    `places`, those of its command line.

    Errors: MissingInputError, naming key and path; ConfigError for a path with wrong strftime
    codes.
    """
    for key, path in _named_files(config):
        if not Path(path).expanduser().exists():
            raise MissingInputError(f"{key}: {path}: no such file or folder; check the path.")
    for key in ("forecasts", "counts"):
        for several in by_name(getattr(config, key, None)).values():
            if not glob.glob(str(Path(several).expanduser())):
                raise MissingInputError(
                    f"{key}: {several}: no file there; check the path, and quote it on the command"
                    " line."
                )
    from nowcast.radar import newest_files

    if type(config).__name__ == "EvaluateConfig" and config.data is None:
        from nowcast.evaluation.trained_data import with_data  # imports PyTorch

        config = with_data(config)
    for path, form in _frames(config, places):
        newest_files(path, 1, form)


def _named_files(config: Any) -> Iterator[tuple[str, str]]:
    """Yield (key, path) of single files and stores."""
    for key in ("checkpoint", "start", "mask", "grid", "places"):
        given = getattr(config, key, None)
        for path in _checkpoints(given) if key == "checkpoint" else by_name(given).values():
            yield key, path
    for key in ("map", "page_map"):
        if getattr(config, key, "none") not in ("natural_earth", "none"):
            yield key, getattr(config, key)
    for name, path in getattr(config, "input_paths", {}).items():
        yield f"input_paths.{name}", path
    for name, field in getattr(getattr(config, "inputs", None), "fields", {}).items():
        yield f"inputs.fields.{name}.path", field.path
    for name, rule in getattr(getattr(config, "warnings", None), "rules", {}).items():
        if "area" in rule:
            yield f"warnings.rules.{name}.area", rule["area"]
    ahead = getattr(getattr(config, "inputs", None), "ahead", None)
    for name, field in getattr(ahead, "fields", {}).items():
        yield f"inputs.ahead.fields.{name}.path", field.path


def _checkpoints(given: Any) -> Iterator[str]:
    """Yield the checkpoints of a path, a glob, a list, or a mapping of names to these."""
    for one in given.values() if isinstance(given, dict) else [given]:
        yield from [] if one is None else checkpoint_paths(one)


def _frames(config: Any, places: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield (path, format) of the frames that a command reads."""
    data = getattr(config, "data", None)
    form = getattr(data, "format", "auto")
    if type(config).__name__ in ("PlotConfig", "PointConfig"):
        yield from ((place, "auto") for place in places)
        places = ()
    if places:
        yield from ((place, form) for place in places)
    elif data is not None and getattr(config, "counts", None) is None:
        yield data.path, form
