"""The outcome of a cycle, and where it is reported: a log line, a status file, metrics."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.config.predict import MODEL, PredictConfig
from nowcast.errors import (
    CannotCreateError,
    InputOutputError,
    Interrupted,
    NowcastError,
    TryLaterError,
    WarnedError,
)
from nowcast.explain import explain
from nowcast.files import refuse_unwritable
from nowcast.service.chain import Form, write_chain
from nowcast.service.log_lines import FIELDS, log_lines
from nowcast.service.metrics import as_metrics, from_metrics
from nowcast.service.publication import forecast_path
from nowcast.service.questions import STANDARD_OUTPUT, Warned, found_in
from nowcast.service.status import as_status, from_status
from nowcast.version import __version__

log = logging.getLogger(__name__)

FORECAST, FALLBACK, ALREADY_THERE, FAILED = "forecast", "fallback", "already there", "failed"
_FORMS = {
    "status": Form(as_status, from_status),
    "metrics": Form(as_metrics, from_metrics, for_all=True),
}
"""How the file of a key shows the state after the cycles."""


@dataclass
class Report:
    """The outcome of a cycle, filled in on the way.

    outcome: forecast or fallback once published, already there, or failed. reason: why the model
    was not used, or why there is no forecast.
    age: seconds from the forecast reference time to `now`. wet_share: wet fraction of the forecast,
    over all lead times; input_wet_share: of the newest frame.
    warnings: of each rule, as in JSON. remarks: notes on what was not as usual.
    frames_left_out: number of unusable files and frames that were left out.
    checkpoint: its SHA-256, or empty. seconds: of each part.
    started: when the cycle began, on the monotonic clock.
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
    warnings: Warned = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    frames_left_out: int = 0
    checkpoint: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    error: Exception | None = None

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the time that the block takes to `seconds[part]`."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - start

    def fail(self, error: Exception) -> None:
        """Note the exit code, and what ended the cycle, next to the reason of a published fallback.
        A warning is no reason.
        """
        message, self.exit_code = explain(error)
        self.error, message = error, " ".join(message.split())
        if isinstance(error, WarnedError):
            return
        if self.outcome != FALLBACK or self.reason is None:
            self.reason = message
        elif self.reason not in message:
            self.reason = f"{self.reason.rstrip('.')}; {message}"

    def fields(self) -> dict[str, Any]:
        """Return the report for JSON: times in UTC in ISO 8601, null for unknown values."""
        return {
            "outcome": self.outcome,
            "method": self.method,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "forecast_reference_time": (
                None if self.reference_time is None else f"{self.reference_time:.19}Z"
            ),
            "path": None if self.path is None or self.outcome == FAILED else str(self.path),
            "age_seconds": None if self.age is None else round(self.age, 1),
            "wet_share": None if self.wet_share is None else round(self.wet_share, 6),
            "input_wet_share": (
                None if self.input_wet_share is None else round(self.input_wet_share, 6)
            ),
            "warnings": self.warnings,
            "remarks": self.remarks,
            "frames_left_out": self.frames_left_out,
            "checkpoint_sha256": self.checkpoint or None,
            "nowcast_version": __version__,
            "duration_seconds": round(time.monotonic() - self.started, 3),
            "seconds": {part: round(seconds, 3) for part, seconds in self.seconds.items()},
        }

    def level(self) -> int:
        """Return the log level: WARNING also if frames were left out, or a warning rule has no
        forecast.
        """
        if self.outcome == FAILED:
            return logging.ERROR
        is_usual = self.outcome != FALLBACK and not self.frames_left_out
        return logging.INFO if is_usual and None not in self.warnings.values() else logging.WARNING

    def line(self) -> str:
        """Return the report as one line of text."""
        of = "" if self.reference_time is None else f" from {self.reference_time:.16} UTC"
        by = "" if self.method is None else f" by {self.method}"
        code = f"exit code {self.exit_code}"
        if self.outcome == FAILED:
            said, why = f"{FAILED}{of}, {code}: {self.reason}", None
        else:
            said = f"{self.outcome}{of}{by}: {self.path}"
            why = not_by_model(self.reason) if self.outcome == FALLBACK else self.reason
        warned = [str(one["words"]) for one in found_in(self.warnings)]
        notes = [
            why,
            *warned,
            code if self.exit_code and self.outcome != FAILED else None,
            *self.remarks,
        ]
        return "; ".join(
            [f"{said} ({self._details()})", *(note.rstrip(".") for note in notes if note)]
        )

    def _details(self) -> str:
        age = None if self.age is None else _age(self.age)
        wet = (
            None
            if self.wet_share is None or np.isnan(self.wet_share)
            else f"wet {100 * self.wet_share:.1f} %"
        )
        about = ", ".join(one for one in (age, wet) if one)
        parts = [f"{part} {seconds:.1f}" for part, seconds in self.seconds.items()]
        took = ", ".join([*parts, f"in all {time.monotonic() - self.started:.1f} s"])
        return f"{about}; {took}" if about else took


def not_by_model(reason: str | None) -> str:
    """Say why a forecast is not by the model; a reason begins with the method that it is of."""
    return f"not by the model: {(reason or '').removeprefix(f'{MODEL}: ')}"


class Journal:
    """Report the outcome of each cycle as configured; `open_journal` opens it."""

    def __init__(self, config: PredictConfig) -> None:
        given = {key: getattr(config, key) for key in _FORMS}
        self.files = {
            key: Path(path).expanduser() for key, path in given.items() if path is not None
        }
        self.config, self.is_stderr = config, config.log_file is None
        # the command line prints it in the same way
        self.leaves_last_words = self.is_stderr and config.log_format == "text"
        self.ends_with_it = config.period is None and not config.watch
        self.is_blank = True
        self.failure: NowcastError | None = None
        self.logged: BaseException | None = None

    def refuse_unwritable(self) -> None:
        """Check that the files can be written.

        Errors: CannotCreateError for the first file that cannot be written; files of the journal
        among them are then not written again. ConfigError for a name with an unknown time code.
        """
        refused = list[NowcastError]()
        for key, path in [*self.files.items(), *_files_of_cycles(self.config)]:
            try:
                # a full disk may have space later
                with suppress(InputOutputError), _named(key):
                    refuse_unwritable(path)
            except CannotCreateError as error:
                self.files.pop(key, None)
                refused.append(error)
        if refused:
            raise refused[0]

    def write(self, report: Report) -> None:
        """Report a cycle in the log, in the status file and in the metrics.

        A file that cannot be written is logged, and the error kept as `failure`, because the
        following cycles must go on.
        """
        fields, self.is_blank = report.fields(), False
        if not self._is_left_to_the_command_line(report):
            trace = report.error if os.environ.get("NOWCAST_DEBUG") else None
            log.log(
                report.level(),
                "%s",
                report.line(),
                extra={FIELDS: fields},
                exc_info=trace,
            )
            self.logged = report.error
            self._mark(report.error)
        for key, path in self.files.items():
            try:
                with _named(key):
                    write_chain(path, fields, _FORMS[key])
            except NowcastError as error:
                self._keep(error)

    def close(self, error: Exception | Interrupted) -> None:
        """Report an error that ended the process outside a cycle. Before the first cycle, the
        status shows it as a failed cycle; except for a lock, because then another process reports
        its own cycles.
        """
        if self.is_blank and isinstance(error, Exception) and not isinstance(error, TryLaterError):
            report = Report()
            report.fail(error)
            self.write(report)
        if not self.leaves_last_words and error is not self.logged and error is not self.failure:
            message, code = (
                ("stopped.", error.exit_code) if isinstance(error, Interrupted) else explain(error)
            )
            level = logging.INFO if isinstance(error, Interrupted) else logging.ERROR
            log.log(level, "%s", message, extra={FIELDS: {"message": message, "exit_code": code}})
            self._mark(error)

    def _is_left_to_the_command_line(self, report: Report) -> bool:
        """Whether the command line reports this failure, which ends the process, in one line on
        stderr, like those of all commands.
        """
        return report.outcome == FAILED and self.ends_with_it and self.leaves_last_words

    def _keep(self, error: NowcastError) -> None:
        log.warning("%s", error)
        self._mark(error)
        self.failure = self.failure or error

    def _mark(self, error: BaseException | None) -> None:
        """Mark an error that is already on stderr, to avoid printing it there again."""
        if error is not None and self.is_stderr:
            error.said = True  # type: ignore[attr-defined]


@contextmanager
def open_journal(config: PredictConfig) -> Iterator[Journal]:
    """Open a journal, and set up the log of the whole process by `log_format` and `log_file`.

    Errors: CannotCreateError if `log_file`, `status`, `metrics`, `page` or `warnings.file` cannot
    be written; after the block, the first error of the journal's own files.
    """
    with log_lines(config.log_format, config.log_file):
        journal = Journal(config)
        try:
            journal.refuse_unwritable()
            yield journal
            if journal.failure is not None:
                raise journal.failure
        except (Exception, Interrupted) as error:
            journal.close(error)
            raise


def _files_of_cycles(config: PredictConfig) -> Iterator[tuple[str, Path]]:
    """Yield key and path of the files that each cycle writes after its forecast."""
    if config.page is not None:
        yield "page", Path(config.page).expanduser()
    file, now = config.warnings.file, np.datetime64("now", "s")
    if file not in (None, STANDARD_OUTPUT):
        yield "warnings.file", forecast_path(str(file), now, "warnings.file")


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Name the key in errors about its file."""
    try:
        yield
    except (CannotCreateError, InputOutputError) as error:
        raise type(error)(f"{key}: {error}") from error


def _age(seconds: float) -> str:
    units = (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800), ("days", 86400, float("inf")))
    return next(
        f"{seconds / length:.0f} {unit} old" for unit, length, below in units if seconds < below
    )
