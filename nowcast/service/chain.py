"""The chain of cycles: what is remembered from one cycle to the next, whichever file shows it."""

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
    """The state of a chain of cycles.

    since: from when on cycles are counted [Unix seconds]. cycles: their number by outcome.
    failures_in_a_row: cycles that failed since the last that did not.
    last: the forecast published last. newest: that of the newest reference time; a back-fill
    publishes older ones.
    cycle: the last cycle, as `Report.fields` has it. ended: when it ended [Unix seconds].
    """

    since: float
    cycles: Mapping[str, int]
    failures_in_a_row: int = 0
    last: Published | None = None
    newest: Published | None = None
    cycle: Mapping[str, Any] = field(default_factory=dict)
    ended: float = math.nan

    def after(self, cycle: Mapping[str, Any], ended: float) -> "Chain":
        """Return the state after one more cycle, as `Report.fields` has it."""
        outcome, last, newest = cycle["outcome"], self.last, self.newest
        if outcome in ("forecast", "fallback"):
            last = _published(cycle, ended)
            if newest is None or last.reference_time >= newest.reference_time:
                newest = last
        return replace(
            self,
            cycles={one: self.cycles.get(one, 0) + (one == outcome) for one in OUTCOMES},
            failures_in_a_row=self.failures_in_a_row + 1 if outcome == "failed" else 0,
            last=last,
            newest=newest,
            cycle=cycle,
            ended=ended,
        )


class Form(NamedTuple):
    """How a file shows a chain, how a chain is read from its text, and whether all users may read
    the file, whatever the umask.
    """

    show: Callable[[Chain], str]
    read: Callable[[str], Chain]
    for_all: bool = False


def write_chain(path: Path, cycle: Mapping[str, Any], form: Form) -> None:
    """Add a cycle, as `Report.fields` has it, to the chain that a file shows; whole or not at all.

    Each file remembers its own chain, so it counts on without the other. One that cannot be
    understood is replaced, which is logged.
    Errors: CannotCreateError, InputOutputError.
    """
    now = datetime.now(UTC).timestamp()
    chain = (_remembered(path, form) or Chain(since=now, cycles={})).after(cycle, now)
    with written_whole(path) as temporary:
        temporary.write_text(form.show(chain), encoding="utf-8")
    if form.for_all:
        with suppress(OSError):  # of a file system that has no permissions
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
    """Return the chain that a file shows; None without a file, or if it cannot be understood."""
    if not path.is_file():  # a device may have no end
        return None
    try:
        return form.read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        log.warning(
            "%s: cannot be understood (%s: %s); begun anew.", path, type(error).__name__, error
        )
        return None
