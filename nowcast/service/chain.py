"""State carried from one cycle to the next, independent of the file format that stores it."""

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from nowcast.files import written_whole

log = logging.getLogger(__name__)

OUTCOMES = ("forecast", "fallback", "already there", "failed")


@dataclass(frozen=True)
class Published:
    """A forecast that was published.

    at, reference_time: Unix seconds. checkpoint: the SHA-256 or its start; empty for a baseline.
    wet_share, input_wet_share: 0 to 1; NaN if unknown.
    """

    at: float
    reference_time: float
    method: str
    path: str | None = None
    is_fallback: bool = False
    checkpoint: str = ""
    version: str = ""
    wet_share: float = math.nan
    input_wet_share: float = math.nan


@dataclass(frozen=True)
class Chain:
    """The state after a series of cycles.

    since: start of the counting of cycles [Unix seconds]. cycles: their number by outcome.
    failures_in_a_row: number of failed cycles since the last success.
    newest: the published forecast with the newest reference time; `at` publishes older ones.
    cycle: the last cycle, as returned by `Report.fields`. ended: when it ended [Unix seconds].
    """

    since: float
    cycles: Mapping[str, int]
    failures_in_a_row: int = 0
    newest: Published | None = None
    cycle: Mapping[str, Any] = field(default_factory=dict)
    ended: float = math.nan

    def after(self, cycle: Mapping[str, Any], ended: float) -> "Chain":
        """Return the state after one more cycle, given as `Report.fields`."""
        outcome, newest = cycle["outcome"], self.newest
        if outcome in ("forecast", "fallback"):
            last = _published(cycle, ended)
            # one from the future, as after a jump of the clock, is not the newest
            if newest is None or not last.reference_time < newest.reference_time <= ended:
                newest = last
        return replace(
            self,
            cycles={one: self.cycles.get(one, 0) + (one == outcome) for one in OUTCOMES},
            failures_in_a_row=self.failures_in_a_row + 1 if outcome == "failed" else 0,
            newest=newest,
            cycle=cycle,
            ended=ended,
        )


class Form(NamedTuple):
    """How a file shows the state, how the state is read from its text, and whether all users may
    read the file, whatever the umask.
    """

    show: Callable[[Chain], str]
    read: Callable[[str], Chain]
    for_all: bool = False


def write_chain(path: Path, cycle: Mapping[str, Any], form: Form) -> None:
    """Add a cycle, given as `Report.fields`, to the state that a file stores; complete or not at
    all.

    Each file stores its own state and does not need the others. A file that cannot be parsed is
    replaced, and this is logged.
    Errors: CannotCreateError, InputOutputError.
    """
    now = datetime.now(UTC).timestamp()
    chain = (_remembered(path, form) or Chain(since=now, cycles={})).after(cycle, now)
    with written_whole(path) as temporary:
        temporary.write_text(form.show(chain), encoding="utf-8")
    if form.for_all:
        with suppress(OSError):  # file systems without permissions
            path.chmod(0o644)


def _published(cycle: Mapping[str, Any], at: float) -> Published:
    shares = {key: cycle[key] for key in ("wet_share", "input_wet_share") if cycle[key] is not None}
    return Published(
        at=at,
        reference_time=datetime.fromisoformat(cycle["forecast_reference_time"]).timestamp(),
        method=cycle["method"],
        path=cycle["path"],
        is_fallback=cycle["outcome"] == "fallback",
        checkpoint=cycle["checkpoint_sha256"] or "",
        version=cycle["nowcast_version"],
        **shares,
    )


def _remembered(path: Path, form: Form) -> Chain | None:
    """Return the state that a file stores; None if it is missing or cannot be parsed."""
    if not path.is_file():  # reading a device may never end
        return None
    try:
        return form.read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        log.warning(
            "%s: cannot be parsed (%s: %s); starting again.", path, type(error).__name__, error
        )
        return None
