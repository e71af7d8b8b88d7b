"""`nowcast predict`: checkpoint or baseline + radar files → forecast files: of the newest frame, of a time, of a period, or of each
frame that lands."""

import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nowcast.commands.cycle import run_cycle
from nowcast.commands.frames import FrameSource
from nowcast.commands.publication import output_folder
from nowcast.commands.reports import Journal, Report
from nowcast.config_predict import PredictConfig
from nowcast.errors import MissingInputError, NowcastError
from nowcast.files import only_writer
from nowcast.periods import parse_period, parse_time

if TYPE_CHECKING:
    from nowcast.commands.methods import Methods


def predict(config: PredictConfig) -> None:
    """Run the cycles that the configuration asks for. Errors: of the first that fails, once all others of a period are done."""
    if config.checkpoint is not None and not Path(config.checkpoint).is_file():
        raise MissingInputError(
            f"{config.checkpoint}: no such checkpoint; give one that 'nowcast train' wrote, as checkpoint=runs/…/best.pt."
        )
    source, journal = FrameSource(config), Journal(config)

    @cache
    def open_methods() -> "Methods":
        from nowcast.commands.methods import Methods  # brings torch, which takes longer than to see that all is done

        return Methods(config)

    def cycle(at: np.datetime64 | None) -> NowcastError | None:
        report = Report()
        error = None
        try:
            run_cycle(config, source, open_methods, report, at, None if at is not None else now())
        except NowcastError as failure:
            error, report.reason, report.exit_code = failure, report.reason or str(failure), failure.exit_code
        journal.write(report)
        return error

    with only_writer(output_folder(config.output), wait=config.lock_wait):
        if config.watch:
            while True:
                cycle(None)
                time.sleep(config.poll)
        errors = [cycle(at) for at in reference_times(config)]
    failures = [error for error in errors if error is not None]
    if failures:
        raise failures[0]


def now() -> np.datetime64:
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "ns")


def reference_times(config: PredictConfig) -> list[np.datetime64 | None]:
    """Those that are asked for; None is that of the newest frame."""
    if config.period is not None:
        period = parse_period("period", config.period)
        return [period.start, period.end]
    return [parse_time("at", config.at) if config.at else None]
