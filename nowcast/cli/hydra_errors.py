"""Translation of errors from Hydra and OmegaConf to messages that users can act on."""

import errno
import os
from collections.abc import Sequence
from traceback import walk_tb

from nowcast.errors import (
    CannotCreateError,
    ConfigError,
    InputOutputError,
    InternalError,
    UsageError,
)
from nowcast.explain import explain


def error_of_sweep(error: Exception) -> Exception:
    """Return the error that ends a sweep with failed jobs; each job has logged its own reason, here
    or in the log of its process.
    """
    message, code = explain(error)
    told = "; see the lines above." if error.said == os.getpid() else f": {message}"  # type: ignore[attr-defined]
    failed = InternalError(f"not every job of the sweep succeeded{told}")
    failed.exit_code = code
    return failed


def error_of_hydra(error: Exception, words: Sequence[str]) -> Exception:
    """Return an error from before the start of a job, with Hydra's plain exceptions as ours.

    words: the overrides of the command line.
    """
    if type(error).__module__.startswith("hydra"):
        return error
    if isinstance(error, ConfigError):
        return ConfigError(str(error).splitlines()[0])  # without the lines that OmegaConf adds
    if type(error).__module__.split(".")[0] in ("submitit", "joblib"):
        what = (str(error).strip() or type(error).__name__).splitlines()[0]
        return InternalError(
            f"a job of the sweep was killed, or could not start ({what}); run the same command"
            " again to go on."
        )
    if type(error).__module__.split(".")[0] in ("sqlalchemy", "optuna", "alembic"):
        return ConfigError(
            f"hydra.sweeper: Optuna could not go on ({str(error).splitlines()[0]}); check its"
            " storage and study_name."
        )
    if isinstance(error, RecursionError):
        return ConfigError(
            "configuration: its defaults lists, brackets or interpolations are circular or nested"
            " too deeply; simplify it."
        )
    if isinstance(error, OverflowError) or getattr(error, "full_key", None):
        where = getattr(error, "full_key", None) or "configuration"
        return ConfigError(f"{where}: {str(error).splitlines()[0]}; give another value.")
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return InputOutputError(
                "output: the disk is full; free some space, or choose another output."
            )
        return CannotCreateError(
            f"{error.filename or 'output'}: cannot create this folder ({error.strerror}); choose"
            " another output."
        )
    # raised by OmegaConf for a key below a null key
    if isinstance(error, AssertionError) and "NoneType" in str(error):
        return ConfigError(_below_null(error))
    if isinstance(error, ValueError):
        return (
            ConfigError(str(error))
            if str(error).startswith("Invalid defaults list")
            else UsageError(f"{error}.")
        )
    if _is_raised_by_hydra(error):
        return ConfigError(
            "configuration: cannot be composed"
            f" ({(str(error) or type(error).__name__).splitlines()[0]}); check what it sets below"
            " hydra and defaults."
        )
    return error


def _below_null(error: Exception) -> str:
    """Return what to set first for a key below a null key, such as data.path without data."""
    overrides = [frame.f_locals.get("override") for frame, _ in walk_tb(error.__traceback__)]
    keys = [str(getattr(one, "key_or_group", "")) for one in overrides if one is not None]
    key = next((one for one in reversed(keys) if "." in one), "")
    if not key:
        return "an override sets a key below a null key; set the upper key first."
    above = key.rpartition(".")[0]
    chosen = {"data": "data=radar", "other": "model@other=…"}.get(above, f"{above}=…")
    return f"{key}: {above} is not set; add {chosen}."


def _is_raised_by_hydra(error: Exception) -> bool:
    """Return whether Hydra or OmegaConf itself raised this, as for `hydra: null`."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").split(".")[0] in (
        "hydra",
        "omegaconf",
    )
