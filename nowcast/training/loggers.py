"""Loggers, which receive the metrics and pictures of a training.

A logger never changes a training: it is given copies, and PyTorch's random state is restored after
each call. If a logger cannot start, a new training ends before its first step. If it fails later,
it is dropped with a line in the log, and the training continues.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nowcast.errors import InputOutputError, MissingLibraryError
from nowcast.plugins import LOGGERS, load_plugin, package_of, place_of_fault, plugins
from nowcast.training.choice import EpochRow
from nowcast.training.examples import Example
from nowcast.training.validation import Skill
from nowcast.version import install_command

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]
"""(h, w, 3) in red, green and blue, the first row at the top."""
Draw = Callable[[Example], Image]


class Logger(Protocol):
    """The interface of a logger. An installed package names its class in an entry point of the
    group `nowcast.loggers`; it is created without arguments before any data are read.

    Example:
        >>> class Printing:
        ...     def start(self, folder, settings, step):
        ...         print(f"{folder}: {settings['optimizer.lr']}, from step {step} on")
        ...     def log(self, step, values, images):
        ...         print(step, values)
        ...     def finish(self):
        ...         print("finished")
    """

    def start(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        """Start, or resume.

        Args:
            folder: `output` of the training, which exists.
            settings: the settings that affect the result, plain values by dotted keys
                ("optimizer.lr").
            step: number of steps done, 0 for a new training. A resumed training continues from
                here, so values logged earlier for later steps are no longer valid.
        """

    def log(self, step: int, values: Mapping[str, float], images: Mapping[str, Image]) -> None:
        """Log values and pictures of one step; may be called several times for one step.

        Args:
            step: optimizer steps since the training began.
            values: every `training.log_every` steps "train/loss" and "train/gradient_norm" (before
                clipping) of this step, and "train/learning_rate" of the next. After each epoch
                "validation/loss", "validation/csi" (mean over lead times and thresholds),
                "validation/csi_0.5" … (mean over lead times, for each threshold in mm/h),
                "epoch/number", "epoch/train_loss" (mean over its steps), "epoch/seconds", and
                "best/epoch", "best/validation_loss" and "best/validation_csi" of the best epoch so
                far. An undefined CSI, without an observed event, is omitted.
            images: after each epoch up to 4 validation cases, "validation/case_1" …, observations
                above forecasts, each (h, w, 3) uint8. Else empty.
        """

    def finish(self) -> None:
        """Finish: the training is complete, was stopped, or failed."""


class Loggers:
    """The loggers of one training; without any it is false and does nothing.

    Args:
        loggers: by name.
        settings: for `Logger.start`.
        draw: makes the picture of a validation case.
    """

    def __init__(
        self,
        loggers: Mapping[str, Logger] | None = None,
        settings: Mapping[str, Any] | None = None,
        draw: Draw | None = None,
    ) -> None:
        self.loggers, self.settings, self.draw = dict(loggers or {}), settings or {}, draw

    def __bool__(self) -> bool:
        return bool(self.loggers)

    @contextmanager
    def running(self, folder: Path, step: int) -> Iterator[None]:
        """Start the loggers, and finish them at the end of the block, also after an error.

        Errors: InputOutputError if a logger cannot start for a new training.
        """
        try:
            self._tell("start", folder, self.settings, step)
            yield
        finally:
            self._tell("finish")

    def log(self, step: int, values: Mapping[str, float], examples: Sequence[Example] = ()) -> None:
        """Pass the finite values, and pictures of the examples, to all loggers."""
        if self.loggers:
            numbers = {name: float(value) for name, value in values.items() if math.isfinite(value)}
            self._tell("log", step, numbers, self._images(examples))

    def _tell(self, method: str, *words: Any) -> None:
        for name, logger in list(self.loggers.items()):
            try:
                with torch.random.fork_rng(devices=[]):
                    getattr(logger, method)(*words)
            except Exception as error:  # a package may fail in any way
                del self.loggers[name]
                fault = in_a_line(error)
                if method == "start" and words[-1] == 0:
                    raise InputOutputError(
                        f"loggers: {name} cannot start ({fault}); fix this, or leave it out."
                    ) from error
                log.warning(
                    "the logger %s failed to %s (%s); the training continues without it",
                    name, method, fault,
                )  # fmt: skip

    def _images(self, examples: Sequence[Example]) -> dict[str, Image]:
        if self.draw is None:
            return {}
        try:
            return {f"validation/case_{one.number}": self.draw(one) for one in examples}
        except Exception as error:  # Matplotlib's fonts may be missing, or the disk full
            self.draw = None
            log.warning(
                "validation cases cannot be drawn (%s); the training continues, and loggers get no"
                " pictures", in_a_line(error),
            )  # fmt: skip
            return {}


def validation_values(row: EpochRow, skill: Skill) -> dict[str, float]:
    """Return the values of a validation for loggers."""
    named = {"validation/loss": row["validation_loss"], "validation/csi": row["validation_csi"]}
    each = skill.csi_of_thresholds().items()
    return named | {f"validation/csi_{threshold:g}": score for threshold, score in each}


def epoch_values(row: EpochRow, best: EpochRow) -> dict[str, float]:
    """Return the further values of an epoch, and of the best epoch, for loggers."""
    return {
        "epoch/number": row["epoch"],
        "epoch/train_loss": row["train_loss"],
        "epoch/seconds": row["seconds"],
        "best/epoch": best["epoch"],
        "best/validation_loss": best["validation_loss"],
        "best/validation_csi": best["validation_csi"],
    }


def in_a_line(error: Exception) -> str:
    """Return the kind and the message of an error, and where it was raised in a package."""
    place = place_of_fault(error)
    return " ".join(f"{place and f'in {place}: '}{type(error).__name__}: {error}".split())


def build_loggers(names: Sequence[str]) -> dict[str, Logger]:
    """Return the loggers of these names: built-in ones, or those that installed packages add in
    entry points of the group `nowcast.loggers`.

    Errors: MissingLibraryError if a library is not installed, no package adds the name, or the
    added class cannot be used.
    """
    return {name: _tensorboard() if name == "tensorboard" else _added(name) for name in names}


def _tensorboard() -> Logger:
    try:
        from nowcast.training.tensorboard import TensorBoard
    except ImportError as error:
        raise MissingLibraryError(
            f"loggers: tensorboard needs {error.name}: {install_command('tensorboard')}."
        ) from error
    return TensorBoard()


def _added(name: str) -> Logger:
    kind = load_plugin(LOGGERS, name)
    try:
        logger: Logger = kind()
    except Exception as error:  # a package may fail in any way
        raise _unusable(name, f"cannot start ({in_a_line(error)})") from error
    lacking = [
        method for method in ("start", "log", "finish") if not callable(getattr(logger, method, 0))
    ]
    if lacking:
        raise _unusable(name, f"has no method {' and no '.join(lacking)}")
    return logger


def _unusable(name: str, fault: str) -> MissingLibraryError:
    return MissingLibraryError(
        f"{name}: the entry point of the package {package_of(plugins(LOGGERS)[name])} in {LOGGERS}"
        f" {fault}; update the package, or leave the logger out."
    )
