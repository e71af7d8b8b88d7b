"""`nowcast predict`: forecast with a checkpoint or baseline from the newest frame, at a time, for a
period, or whenever a frame arrives.
"""

import logging
import math
import signal
import time
import traceback
from collections.abc import Hashable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np

from nowcast.config.predict import GEOTIFF, PredictConfig
from nowcast.errors import (
    CannotCreateError,
    ConfigError,
    InputOutputError,
    Interrupted,
    MissingInputError,
    NowcastError,
    WarnedError,
)
from nowcast.explain import explain
from nowcast.files import is_locked, only_writer
from nowcast.forecast.dataset import LATEST
from nowcast.forecast.geotiff import require_rasterio
from nowcast.periods import parse_period, parse_time
from nowcast.service.cycle import run_cycle
from nowcast.service.live_files import version_of
from nowcast.service.live_frames import FrameSource
from nowcast.service.model_cache import ModelCache
from nowcast.service.publication import PLACES_CSV, PLACES_JSON, forecast_path, output_folder
from nowcast.service.questions import STANDARD_OUTPUT, Questions, read_questions
from nowcast.service.report import Journal, Report, open_journal

log = logging.getLogger(__name__)

_FILES = ("log_file", "status", "metrics", "page", "places")
_WAIT = 30.0  # seconds until a watching process tries a failed write again


def predict(config: PredictConfig) -> None:
    """Run the forecast cycles that the configuration asks for.

    Errors: that of the first failed cycle, after all others of a period are done.
    """
    if config.period is not None:
        config = config.without_live_files()
    refuse_collisions(config)  # first, because opening the journal writes the status
    with open_journal(config) as journal:
        questions = read_questions(config)
        for checkpoint in config.checkpoints:
            if not Path(checkpoint).is_file():
                raise MissingInputError(
                    f"{checkpoint}: no such checkpoint; give a checkpoint of 'nowcast train', such"
                    " as checkpoint=runs/…/best.pt."
                )
        if config.format == GEOTIFF:  # now, rather than after the forecast is made
            require_rasterio()
        cycles = Cycles(config, journal, questions)
        while True:
            with only_writer(output_folder(config.output), wait=config.lock_wait):
                if config.watch:
                    cycles.watch()
                    continue  # the folder was removed together with the lock
                if config.period is not None:
                    cycles.fill(config.period)
                else:
                    cycles.run(parse_time("at", config.at) if config.at else None)
                return


def now() -> np.datetime64:
    """Return the current time in UTC."""
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "ns")


def refuse_collisions(config: PredictConfig) -> None:
    """Errors: ConfigError if two keys name the same file."""
    given: list[tuple[str, str | None]] = []
    with suppress(MissingInputError):  # reported later, when the journal is open
        given = [("checkpoint", one) for one in config.checkpoints]
    given += [(key, getattr(config, key)) for key in _FILES]
    named = [(key, Path(path).expanduser().resolve()) for key, path in given if path is not None]
    warnings = config.warnings.file
    if warnings is not None and warnings != STANDARD_OUTPUT and "%" not in warnings:
        named.append(("warnings.file", Path(warnings).expanduser().resolve()))
    named += (
        [("latest", (output_folder(config.output) / LATEST).resolve())]
        if config.latest == "copy"
        else []
    )
    for key, suffix in (("places", PLACES_CSV), ("status", PLACES_JSON)):
        mine = Path(getattr(config, key) or "").expanduser().resolve()
        in_output = mine.is_relative_to(output_folder(config.output).resolve())
        if in_output and mine.name.endswith(suffix):
            raise ConfigError(
                f"{key}: {mine} could be overwritten by the place file of a forecast; give it"
                " another name or folder."
            )
    for (one, path), (other, another) in combinations(named, 2):
        if path == another and one != other:  # two checkpoints may link to the same file
            raise ConfigError(f"{one}, {other}: both are {path}; give each a file of its own.")


class Cycles:
    """Forecast cycles of one configuration; later cycles reuse what earlier ones opened."""

    def __init__(self, config: PredictConfig, journal: Journal, questions: Questions) -> None:
        self.config, self.journal, self.questions = config, journal, questions
        self.source = FrameSource(config)
        self.model_cache = ModelCache(config)
        self.newest: np.datetime64 | None = None

    def run(self, at: np.datetime64 | None) -> Report:
        """Run one cycle, from `at` or from the newest frame, and write and return its report.

        Errors: as `run_cycle`.
        """
        report, failure = Report(), None
        try:
            run_cycle(self.config, self.source, self.model_cache, report, at, now(), self.questions)
        except Exception as error:
            report.fail(error)
            failure = error
        self.newest = report.reference_time or self.newest
        report.frames_left_out = self.source.frames_left_out()
        report.remarks += self.source.take_remarks()
        self.journal.write(report)
        if failure is not None:
            raise failure
        return report

    def fill(self, first_and_last: list[str]) -> None:
        """Run a cycle for each time of a period.

        Errors: that of the first failed cycle, after all are done.
        """
        times = self.source.reference_times(parse_period("period", first_and_last))
        if len({forecast_path(self.config.output, at) for at in times}) < len(times):
            raise ConfigError(
                f"output: {self.config.output!r} gives several of these times the same name; add"
                " %H and %M."
            )
        failures = list[Exception]()
        for at in times:
            try:
                self.run(at)
            except Exception as error:
                failures.append(error)
        if failures:
            message, code = explain(failures[0])
            failed = NowcastError(
                f"{len(failures)} of {len(times)} forecasts failed; the first error: {message}"
            )
            failed.exit_code = code
            raise failed from failures[0]

    def watch(self) -> None:
        """Run a cycle whenever a file arrives, the checkpoint changes or the newest frame becomes
        too old, until a signal arrives or the output folder (with its lock) is removed.

        A failed cycle does not end the loop, except if the first one refuses the configuration. A
        cycle that could not write is tried again later.
        """
        seen, again, is_first = None, math.inf, True
        while is_locked(output_folder(self.config.output)):
            landed = self._landed()
            if (self._is_stale(), landed) != seen or time.monotonic() >= again:
                failure = self._run_on(is_first)
                seen, is_first = (self._is_stale(), landed), False
                cannot_write = isinstance(failure, CannotCreateError | InputOutputError | OSError)
                again = time.monotonic() + _WAIT if cannot_write else math.inf
            _heed_a_signal()
            time.sleep(self.config.poll)

    def _landed(self) -> Hashable:
        """Return a value that changes if a file arrives, a checkpoint changes, a frame is no longer
        ahead of the clock, or the folder cannot be listed any more.
        """
        try:
            checkpoints = {one: version_of(Path(one)) for one in self.config.checkpoints}
            return self.source.landed(now()), tuple(checkpoints.items())
        except (MissingInputError, OSError) as error:
            return str(error)

    def _is_stale(self) -> bool:
        """Return whether the newest frame used in a forecast is older than `max_age`."""
        return self.newest is not None and self.source.is_too_old(self.newest, now())

    def _run_on(self, is_first: bool) -> Exception | None:
        """Run one cycle of many and return its error, which is also in its report, or None.

        Errors: ConfigError in the first cycle.
        """
        try:
            self.run(None)
        except Exception as error:
            if is_first and isinstance(error, ConfigError):
                raise
            # release the frames and tensors of the cycle
            traceback.clear_frames(error.__traceback__)
            if not isinstance(error, WarnedError):  # a warning is no failure
                return error
        if self.model_cache.opened is not None:
            try:
                self.model_cache.opened[1].prepare()
            except Exception as error:
                log.warning(
                    "the next forecast could not be prepared, and will take longer: %s",
                    explain(error)[0],
                )
        return None


def _heed_a_signal() -> None:
    """Errors: Interrupted if a signal arrived while Python dropped the exception of its handler,
    for instance in a finaliser.
    """
    heard = getattr(signal.getsignal(signal.SIGTERM), "heard", None)
    if heard is not None:
        raise Interrupted(heard)
