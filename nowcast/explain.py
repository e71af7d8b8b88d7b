"""Turn any exception into one line that users can act on, and an exit code."""

import difflib
import os
import re
import sys
import traceback
from contextlib import suppress
from typing import Any

from nowcast.console import printable
from nowcast.errors import (
    ConfigError,
    DeviceError,
    InputOutputError,
    InternalError,
    Interrupted,
    LostProcessError,
    NowcastError,
    UsageError,
)
from nowcast.launch import current

_NO_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "bad_alloc",
    "Failed to allocate memory",
)
"""Texts with which PyTorch on a CPU and ONNX Runtime report that memory ran out."""


def report(error: Exception, where: str = "") -> int:
    """Print an error as one line on stderr (with NOWCAST_DEBUG=1 also its traceback) and return the
    exit code.
    """
    message, code = explain(error)
    say(error, f"{where}{' '.join(message.split())}")
    return code


def say(error: BaseException, message: str) -> None:
    """Print a failure on stderr, unless it is marked as `said` because a log already has it.

    A closed or full stderr is ignored.
    """
    launch = current()
    if getattr(error, "said", False) or (launch and not launch.is_first and _is_of_all(error)):
        return
    if launch and not launch.is_first:
        message = f"process {launch.rank} of {launch.size}: {message}"
    with suppress(OSError):
        if os.environ.get("NOWCAST_DEBUG"):
            traceback.print_exception(error)
        print(f"nowcast: {printable(message)}", file=sys.stderr)


def _is_of_all(error: BaseException) -> bool:
    """Return whether all processes of a training meet this error, so only the first reports it."""
    if not isinstance(error, Exception):
        return isinstance(error, Interrupted)
    of_command_line = explain(error)[1] in (UsageError.exit_code, ConfigError.exit_code)
    return of_command_line or isinstance(error, LostProcessError)


def explain(error: Exception) -> tuple[str, int]:
    """Return the message for a failure, and its exit code."""
    if isinstance(error, NowcastError):
        return _without_traceback(str(error)), error.exit_code
    if hasattr(error, "format_message"):  # Typer's usage errors
        return f"{error.format_message()} See 'nowcast --help'.", UsageError.exit_code
    if type(error).__module__.split(".")[0] in ("hydra", "omegaconf", "yaml"):
        return _explain_config(error)
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError") or any(
        words in str(error) for words in _NO_MEMORY
    ):
        # the text before it names PyTorch's source
        reason = str(error).rpartition("DefaultCPUAllocator: ")[2]
        return (
            (
                f"out of memory ({reason}); lower training.batch_size, sampling.crop, batch_size,"
                " grid_size or max_memory_gb."
            ),
            DeviceError.exit_code,
        )
    if isinstance(error, OSError):
        return f"{error}; check the disk and the path.", InputOutputError.exit_code
    what, place = f"{type(error).__name__}: {error}", _place_in_plugin(error)
    if place:
        return f"in {place}: {what} (NOWCAST_DEBUG=1 shows the traceback)", InternalError.exit_code
    return f"{what} (a fault in nowcast; NOWCAST_DEBUG=1 shows where)", InternalError.exit_code


def _place_in_plugin(error: Exception) -> str:
    """Return where an error was raised if an installed package added that code."""
    from nowcast.plugins import place_of_fault

    return place_of_fault(error)


def _without_traceback(message: str) -> str:
    """Return the message of a failure in a loader process, without PyTorch's traceback."""
    if "\nOriginal Traceback" not in message:
        return message
    return message.rstrip().splitlines()[-1].partition(": ")[2]


def _wrong_shape(cause: Any) -> str | None:
    """Return what a key takes if it was given a list, a mapping or a single value by mistake."""
    text = str(cause)
    if "is not a ListConfig" in text or (
        "DictConfig with ListConfig" in text and cause.object_type is list
    ):
        return "a list; give it as {key}=[a,b]"
    if any(
        words in text for words in ("DictConfig with ListConfig", "to Dict[", "not a subclass of")
    ):
        return "names with values; give it as '{key}={{a: b}}'"
    if "Cannot convert 'list' to string" in text or "Cannot convert 'dict' to string" in text:
        return "one text; give it as {key}=a"
    return None


def _explain_config(error: Exception) -> tuple[str, int]:
    """Return message and exit code for an error of Hydra, OmegaConf or YAML."""
    if type(error).__name__ == "OverrideParseException":
        what = str(error).splitlines()[0]
        return (
            (
                f"{getattr(error, 'override', '') or 'overrides'}: {what}; write key=value, or"
                " 'key=\"value\"' with both quotes if the value has spaces, quotes, brackets or"
                " non-ASCII letters."
            ),
            UsageError.exit_code,
        )
    # Hydra names the file of a wrong key, but keeps the original error only as its context
    in_file = re.match(r"In '(.*)': \w+ raised while composing config:", str(error))
    if in_file and getattr(error.__context__, "full_key", None):
        message, code = _explain_config(error.__context__)  # type: ignore[arg-type]
        return f"{in_file[1]}: {message}", code
    if getattr(error, "missing_cfg_file", None) and getattr(error, "options", None):
        return _unknown_option(error), ConfigError.exit_code
    cause: Any = error if getattr(error, "full_key", None) else error.__cause__ or error
    key, kind = getattr(cause, "full_key", None), type(cause).__name__
    if key and kind in ("ConfigKeyError", "ConfigAttributeError"):
        return (
            f"{key}: no such key{_nearest(cause)}. '--cfg job' lists them all.",
            ConfigError.exit_code,
        )
    if key and kind == "MissingMandatoryValue":
        return f"{key}: needs a value; give it as {key}=….", ConfigError.exit_code
    wrong_shape = _wrong_shape(cause) if key else None
    if wrong_shape:
        return f"{key}: takes {wrong_shape.format(key=key)}.", ConfigError.exit_code
    if key and "is not Optional" in str(cause):
        return f"{key}: cannot be null; give a value.", ConfigError.exit_code
    no_number = re.match(
        r"Value '(.*)' of .* could not be converted to (Float|Integer)", str(cause)
    )
    if key and no_number:
        wanted = "a number" if no_number[2] == "Float" else "a whole number"
        return f"{key}: must be {wanted}, not {no_number[1]!r}.", ConfigError.exit_code
    if key:
        return f"{key}: {str(cause).splitlines()[0].rstrip('.')}.", ConfigError.exit_code
    if "MovingMnistConfig is not a subclass of RadarConfig" in str(error):
        return (
            "data: moving_mnist has neither times nor a place; choose data=radar or data=radolan.",
            ConfigError.exit_code,
        )
    quoted = str(error).split("'")[1] if "'" in str(error) else ""
    add = re.search(r"To append to your default list use (\+\S+)", str(error))
    if add and not _nearest_group(quoted, str(error)):
        return (
            f"{quoted}: no group of this command; for a group of your own write {add[1]}, for"
            " others see '--help'.",
            ConfigError.exit_code,
        )
    if str(error).startswith("Could not override") and not key:
        return (
            (
                f"{quoted}: no such key or group{_nearest_group(quoted, str(error))}; '--cfg job'"
                " lists the keys, '--help' the groups."
            ),
            ConfigError.exit_code,
        )
    if str(error).startswith("Ambiguous value"):
        return (
            (
                f"{quoted}: several values need -m for a sweep, brackets for a list, key=[a,b], or"
                " both quotes for one text, 'key=\"a,b\"'."
            ),
            ConfigError.exit_code,
        )
    message = f"{error} {cause if cause is not error else ''}".split("Config search path")[0]
    return message.partition("full_key:")[0].strip(), ConfigError.exit_code


def _unknown_option(error: Any) -> str:
    """Return the message for an option that its group lacks, such as model=mien."""
    group, _, name = str(error.missing_cfg_file).removesuffix(".yaml").rpartition("/")
    ours = sorted(set(error.options))
    added = [] if group != "model" else _models_of_packages(ours)
    also = f", and from installed packages {', '.join(added)}" if added else ""
    file = re.match(r"In '(\w+/\w+)'", str(error))
    where = f" (named in {file[1]}.yaml)" if file and file[1] != "hydra/config" else ""
    kind = group.rpartition("/")[2]
    return f"{group}={name}: no such {kind}{where}; there are {', '.join(ours)}{also}."


def _models_of_packages(ours: list[str]) -> list[str]:
    """Return the models that installed packages add to these."""
    from nowcast.plugins import MODELS, plugins

    try:
        return sorted(set(plugins(MODELS)) - set(ours))
    except NowcastError:  # two packages give the same name
        return []


def _nearest_group(group: str, message: str) -> str:
    """Return a hint at the group that was probably meant, of those that Hydra's message names."""
    named = re.search(r"Did you mean to override (?:one of )?(.*)\?", message)
    near = difflib.get_close_matches(group, named[1].split(", "), n=1, cutoff=0) if named else []
    return f"; the nearest is {near[0]}" if near else ""


def _nearest(cause: Any) -> str:
    """Return a hint at the key that was probably meant."""
    known = [str(key) for key in cause.parent_node or []]
    near = difflib.get_close_matches(str(cause.key), known, n=1)
    return f"; the nearest is {near[0]}" if near else ""
