"""`nowcast predict`: checkpoint or baseline + radar files → forecast files: of the newest frame, of a time, of a period, or of each
frame that lands."""

import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nowcast.commands.cycle import run_cycle
from nowcast.commands.frames import FrameSource
from nowcast.commands.importing import importing
from nowcast.commands.publication import output_folder
from nowcast.commands.reports import Journal, Report, open_journal
from nowcast.config_predict import PredictConfig
from nowcast.errors import ConfigError, MissingInputError, NowcastError, TryLaterError
from nowcast.files import only_writer, sha256
from nowcast.periods import parse_period, parse_time

if TYPE_CHECKING:
    from nowcast.commands.methods import Methods

log = logging.getLogger(__name__)


def predict(config: PredictConfig) -> None:
    """Run the cycles that the configuration asks for. Errors: of the first that fails, once all others of a period are done."""
    with open_journal(config) as journal:
        if config.checkpoint is not None and not Path(config.checkpoint).is_file():
            raise MissingInputError(
                f"{config.checkpoint}: no such checkpoint; give one that 'nowcast train' wrote, as checkpoint=runs/…/best.pt."
            )
        with only_writer(output_folder(config.output), wait=config.lock_wait):
            cycles = Cycles(config, journal)
            if config.watch:
                cycles.watch()
            elif config.period is not None:
                cycles.fill(config.period)
            else:
                cycles.run(parse_time("at", config.at) if config.at else None)


def now() -> np.datetime64:
    """By the wall clock, in UTC."""
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "ns")


class Cycles:
    """Cycles of one configuration; what was opened for one serves those after it."""

    def __init__(self, config: PredictConfig, journal: Journal) -> None:
        self.config, self.journal = config, journal
        self.source = FrameSource(config)
        self.opened: tuple[str, Methods] | None = None

    def run(self, at: np.datetime64 | None) -> Report:
        """One cycle, from `at` or from the newest frame, and its report, which is written. Errors: as `run_cycle`."""
        report, failure = Report(), None
        try:
            run_cycle(self.config, self.source, self.methods, report, at, now() if at is None else None)
        except Exception as error:
            report.fail(error)
            failure = error
        report.remarks += self.source.take_remarks()
        self.journal.write(report)
        if failure is not None:
            raise failure
        return report

    def fill(self, first_and_last: list[str]) -> None:
        """A cycle for each time of a period. Errors: of the first that failed, once all are done."""
        times = self.source.reference_times(parse_period("period", first_and_last))
        failures: list[NowcastError] = []
        for at in times:
            try:
                self.run(at)
            except NowcastError as error:
                failures.append(error)
        if failures:
            raise type(failures[0])(f"{len(failures)} of {len(times)} forecasts failed, the first so: {failures[0]}")

    def watch(self) -> None:
        """A cycle whenever a file lands, until a signal ends it; one that fails ends nothing."""
        seen: object = None
        while True:
            landed = self._landed()
            if landed != seen:
                seen = landed
                self._run_on()
            time.sleep(self.config.poll)

    def _landed(self) -> object:
        """Another one whenever a file lands, a frame is no longer ahead of the clock, or the folder cannot be listed any more."""
        try:
            return self.source.landed(now())
        except MissingInputError as error:
            return str(error)

    def _run_on(self) -> None:
        """A cycle that, whatever fails in it, is not the last. Errors: ConfigError, which no new frame mends."""
        try:
            self.run(None)
            if self.opened is not None:
                self.opened[1].prepare()
        except ConfigError:
            raise
        except Exception as error:  # the report has it
            log.debug("%s", error, exc_info=True)

    def methods(self) -> "Methods":
        """Opened once, and again where the checkpoint is another by now. Errors: TryLaterError where it changes right now."""
        with importing():
            from nowcast.commands.methods import Methods  # brings torch, which takes longer than to see that all is done

        known = self._checkpoint_sum()
        if self.opened is None or self.opened[0] != known:
            self.opened = known, Methods(self.config)
            if self._checkpoint_sum() != known:
                self.opened = None
                raise TryLaterError(f"{self.config.checkpoint}: was replaced while it was read; try again.")
        return self.opened[1]

    def _checkpoint_sum(self) -> str:
        return "" if self.config.checkpoint is None else sha256(self.config.checkpoint)
