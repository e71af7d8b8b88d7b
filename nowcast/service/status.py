"""The status file of a series of forecasts: the outcome of the last cycle, and counts of earlier
ones.
"""

import json
from datetime import UTC, datetime
from typing import Any

from nowcast.service.chain import Chain, Published
from nowcast.service.log_lines import plain

_COUNTERS = {
    "forecast": "forecasts",
    "fallback": "fallbacks",
    "already there": "already_there",
    "failed": "failures",
}


def as_status(chain: Chain) -> str:
    """Return the state as JSON:

        last_cycle             all of the cycle, and `time`, when it ended
        last_success           `at`, `forecast_reference_time`, `path` and `method` of the newest
                               published forecast; null before the first
        counters               `forecasts` by the model, or by a baseline without a model;
                               `fallbacks`; `already_there`; `failures`; and `since`, the start of
                               the counting
        consecutive_failures   number of failed cycles since the last success

    Times are in UTC, as 2026-11-21T12:06:03Z.
    """
    newest = chain.newest
    status = {
        "last_cycle": {"time": _time(chain.ended), **chain.cycle},
        "last_success": newest
        and {
            "at": _time(newest.at),
            "forecast_reference_time": _time(newest.reference_time),
            "path": newest.path,
            "method": newest.method,
        },
        "counters": {
            "since": _time(chain.since),
            **{name: chain.cycles[outcome] for outcome, name in _COUNTERS.items()},
        },
        "consecutive_failures": chain.failures_in_a_row,
    }
    return json.dumps(plain(status), indent=2, allow_nan=False) + "\n"


def from_status(text: str) -> Chain:
    """Return the state stored in the JSON of `as_status`, apart from the last cycle.

    Errors: ValueError, KeyError, TypeError and others for any other text.
    """
    status = json.loads(text)
    counters, success = status["counters"], status["last_success"]
    return Chain(
        since=_seconds(counters["since"]),
        cycles={outcome: int(counters[name]) for outcome, name in _COUNTERS.items()},
        failures_in_a_row=int(status["consecutive_failures"]),
        newest=success and _newest(success),
    )


def _newest(success: dict[str, Any]) -> Published:
    at, reference_time = (_seconds(success[key]) for key in ("at", "forecast_reference_time"))
    return Published(at, reference_time, method=success["method"], path=success["path"])


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
