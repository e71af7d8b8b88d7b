"""`nowcast predict`: checkpoint or baseline + radar files → forecast files: of the newest
frame, of a time, of a period, or of each frame that lands.
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
_WAIT = 30.0  # seconds after which a watching process tries again to write what it could not


def predict(config: PredictConfig) -> None:
    """Run the cycles that the configuration asks for.

    Errors: of the first that fails, once all others of a period are done.
    """
    refuse_collisions(config)  # first, for a journal writes the status
    with open_journal(config) as journal:
        questions = read_questions(config)
        for checkpoint in config.checkpoints:
            if not Path(checkpoint).is_file():
                raise MissingInputError(
                    f"{checkpoint}: no such checkpoint; give one that 'nowcast train' wrote, as"
                    " checkpoint=runs/…/best.pt."
                )
        if config.format == GEOTIFF:  # now, rather than once the forecast is made
            require_rasterio()
        cycles = Cycles(config, journal, questions)
        while True:
            with only_writer(output_folder(config.output), wait=config.lock_wait):
                if config.watch:
                    cycles.watch()
                    continue  # the folder was removed, and the lock with it
                if config.period is not None:
                    cycles.fill(config.period)
                else:
                    cycles.run(parse_time("at", config.at) if config.at else None)
                return


def now() -> np.datetime64:
    """By the wall clock, in UTC."""
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "ns")


def refuse_collisions(config: PredictConfig) -> None:
    """Errors: ConfigError where two keys name one file."""
    given: list[tuple[str, str | None]] = []
    with suppress(MissingInputError):  # which is said once there is a journal
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
        beside = mine.is_relative_to(output_folder(config.output).resolve())
        if beside and mine.name.endswith(suffix):
            raise ConfigError(
                f"{key}: {mine} may be written as the answers of a forecast; give it another name"
                " or folder."
            )
    for (one, path), (other, another) in combinations(named, 2):
        if path == another and one != other:  # two checkpoints may be links to one
            raise ConfigError(f"{one}, {other}: both are {path}; give each a file of its own.")


class Cycles:
    """Cycles of one configuration; what was opened for one serves those after it."""

    def __init__(self, config: PredictConfig, journal: Journal, questions: Questions) -> None:
        self.config, self.journal, self.questions = config, journal, questions
        self.source = FrameSource(config)
        self.model_cache = ModelCache(config)
        self.newest: np.datetime64 | None = None

    def run(self, at: np.datetime64 | None) -> Report:
        """One cycle, from `at` or from the newest frame, and its report, which is written.

        Errors: as `run_cycle`.
        """
        report, failure = Report(), None
        try:
            run_cycle(self.config, self.source, self.model_cache, report, at, now(), self.questions)
        except Exception as error:
            report.fail(error)
            failure = error
        self.newest = report.reference_time or self.newest
        report.remarks += self.source.take_remarks()
        self.journal.write(report)
        if failure is not None:
            raise failure
        return report

    def fill(self, first_and_last: list[str]) -> None:
        """A cycle for each time of a period.

        Errors: of the first that failed, once all are done.
        """
        times = self.source.reference_times(parse_period("period", first_and_last))
        if len({forecast_path(self.config.output, at) for at in times}) < len(times):
            raise ConfigError(
                f"output: {self.config.output!r} gives one name to several of these times; add %H"
                " and %M."
            )
        failures, warned = list[Exception](), list[WarnedError]()
        for at in times:
            try:
                self.run(at)
            except WarnedError as warning:
                warned.append(warning)
            except Exception as error:
                failures.append(error)
        if failures:
            message, code = explain(failures[0])
            failed = NowcastError(
                f"{len(failures)} of {len(times)} forecasts failed, the first so: {message}"
            )
            failed.exit_code = code
            raise failed from failures[0]
        if warned:
            raise warned[0]

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
        """Another one whenever a file lands, the checkpoint changes, a frame is no longer ahead
        of the clock, or the folder cannot be listed any more.
        """
        try:
            checkpoints = {one: version_of(Path(one)) for one in self.config.checkpoints}
            return self.source.landed(now()), tuple(checkpoints.items())
        except (MissingInputError, OSError) as error:
            return str(error)

    def _is_stale(self) -> bool:
        """Whether the newest frame that was forecast from is older than `max_age`."""
        return self.newest is not None and self.source.is_too_old(self.newest, now())

    def _run_on(self, is_first: bool) -> Exception | None:
        """A cycle that is not the last, and what failed in it, which its report has.

        Errors: ConfigError of the first.
        """
        try:
            self.run(None)
        except Exception as error:
            if is_first and isinstance(error, ConfigError):
                raise
            # which hold the frames and tensors of the cycle
            traceback.clear_frames(error.__traceback__)
            if not isinstance(error, WarnedError):  # that cycle went well
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
    """Errors: Interrupted where a signal was heard at a moment when Python drops what its
    handler raises, as in a finaliser.
    """
    heard = getattr(signal.getsignal(signal.SIGTERM), "heard", None)
    if heard is not None:
        raise Interrupted(heard)
