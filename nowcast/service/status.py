"""The status file of a chain of forecasts: what became of the last cycle, and of those before
it.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nowcast.files import written_whole
from nowcast.service.log_lines import plain

log = logging.getLogger(__name__)

_COUNTERS = {
    "forecast": "forecasts",
    "fallback": "fallbacks",
    "already there": "already_there",
    "failed": "failures",
}


def write_status(path: Path, cycle: Mapping[str, Any]) -> None:
    """Write what became of a cycle, as `Report.fields` has it, on top of what the file held before;
    whole or not at all, as JSON:

        last_cycle             all of the cycle, and `time`, when it ended
        last_success           `at`, `forecast_reference_time`, `path` and `method` of the last
        forecast published; null: none yet counters               `forecasts` by the model, or by a
        baseline that stands alone; `fallbacks`; `already_there`;
                               `failures`; and `since`, from when on they are counted
        consecutive_failures   cycles that failed since the last that did not

    Times are in UTC, as 2026-11-21T12:06:03Z. A file that cannot be understood is begun anew, which
    is logged.
    Errors: CannotCreateError, InputOutputError.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = _read(path) or {
        "last_success": None,
        "counters": {"since": now, **dict.fromkeys(_COUNTERS.values(), 0)},
        "consecutive_failures": 0,
    }
    outcome = cycle["outcome"]
    status["counters"][_COUNTERS[outcome]] += 1
    status["consecutive_failures"] = (
        status["consecutive_failures"] + 1 if outcome == "failed" else 0
    )
    before = (status["last_success"] or {}).get("forecast_reference_time") or ""
    # a back-fill makes older ones
    if outcome in ("forecast", "fallback") and cycle["forecast_reference_time"] >= before:
        status["last_success"] = {
            "at": now,
            **{key: cycle[key] for key in ("forecast_reference_time", "path", "method")},
        }
    text = json.dumps(
        plain({"last_cycle": {"time": now, **cycle}, **status}), indent=2, allow_nan=False
    )
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any] | None:
    """What is remembered from one cycle to the next; None where there is nothing, or nothing
    that can be understood.
    """
    if not path.is_file():  # a device may have no end
        return None
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        return {
            "last_success": old["last_success"] and dict(old["last_success"]),
            "counters": {
                "since": str(old["counters"]["since"]),
                **{name: int(old["counters"][name]) for name in _COUNTERS.values()},
            },
            "consecutive_failures": int(old["consecutive_failures"]),
        }
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        log.warning(
            "%s: cannot be understood (%s: %s); begun anew.", path, type(error).__name__, error
        )
        return None
