"""What became of a cycle, and where that is said: a line of the log, a status file, metrics."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nowcast.config_predict import PredictConfig

log = logging.getLogger(__name__)

FORECAST, FALLBACK, ALREADY_THERE, FAILED = "forecast", "fallback", "already there", "failed"


@dataclass
class Report:
    """What became of a cycle, noted as it goes.

    outcome: forecast, fallback, already there, or failed. reason: why not by the model, or why not at all.
    age: seconds from the forecast reference time to `now`. wet_share: of the forecast, all lead times; input_wet_share: of the newest frame.
    seconds: of each part.
    """

    outcome: str = FAILED
    reference_time: np.datetime64 | None = None
    path: Path | None = None
    method: str | None = None
    reason: str | None = None
    exit_code: int = 0
    age: float | None = None
    wet_share: float | None = None
    input_wet_share: float | None = None
    remarks: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the time that the block takes to `seconds[part]`."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - start


class Journal:
    """Says what became of each cycle, as a configuration asks for it."""

    def __init__(self, config: PredictConfig) -> None:
        self.config = config

    def write(self, report: Report) -> None:
        """Errors: CannotCreateError, InputOutputError."""
        if report.outcome == FAILED:
            return
        log.info("%s from %s UTC by %s: %s", report.outcome, f"{report.reference_time:.16}", report.method, report.path)
        log.debug("%s", json.dumps(report.seconds))
