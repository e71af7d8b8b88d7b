"""The metrics of a chain of forecasts, for the textfile collector of Prometheus' node exporter."""

import logging
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nowcast.files import written_whole

log = logging.getLogger(__name__)

_FORECAST_REFERENCE, _LAST_SUCCESS = (
    "nowcast_forecast_reference_timestamp_seconds",
    "nowcast_last_success_timestamp_seconds",
)
_CYCLES, _PART, _INFO = (
    "nowcast_cycles_total",
    "nowcast_cycle_part_duration_seconds",
    "nowcast_forecast_info",
)
_CHECKPOINT, _BUILD = "nowcast_checkpoint_info", "nowcast_build_info"
_SHORT = 12  # digits of a checksum that tell checkpoints apart
_ABOUT = {
    _LAST_SUCCESS: ("gauge", "When the last forecast was published."),
    _FORECAST_REFERENCE: ("gauge", "Time of the newest frame that it was made from."),
    "nowcast_fallback": (
        "gauge",
        "1 where it was made by another method than the model that was asked for, else 0.",
    ),
    _INFO: ("gauge", "Always 1; its label is the method that it was made by."),
    _CHECKPOINT: ("gauge", "Always 1; its label is the start of the SHA-256 of the checkpoint."),
    _BUILD: ("gauge", "Always 1; its label is the version of nowcast that made it."),
    "nowcast_wet_share": (
        "gauge",
        "Share of its pixels at or above 0.1 mm/h, all lead times, 0 to 1.",
    ),
    "nowcast_input_wet_share": ("gauge", "The same of the newest frame that it was made from."),
    "nowcast_last_cycle_timestamp_seconds": (
        "gauge",
        "When the last cycle ended, whatever became of it.",
    ),
    "nowcast_last_exit_code": ("gauge", "Exit code of that cycle; 0: all is well."),
    "nowcast_forecast_age_seconds": (
        "gauge",
        "Age of its newest frame when it began; NaN where that is not known.",
    ),
    "nowcast_cycle_duration_seconds": ("gauge", "How long it took."),
    _PART: ("gauge", "How long each part of it took."),
    _CYCLES: ("counter", "Cycles by what became of them."),
}
_OF_THE_CYCLE = (
    "nowcast_last_cycle",
    "nowcast_last_exit_code",
    "nowcast_forecast_age",
    "nowcast_cycle_",
)
_LAST_FORECAST = tuple(name for name in _ABOUT if not name.startswith((*_OF_THE_CYCLE, _CYCLES)))
_SAMPLE = re.compile(r'(?P<name>[a-z0-9_]+)(?P<labels>\{[a-z0-9]+="[^"\\\n]*"\})? (?P<value>\S+)')

Samples = dict[tuple[str, str], float]
"""Values by the name of their metric and its labels, as `{part="find"}` or nothing."""


def write_metrics(path: Path, cycle: Mapping[str, Any]) -> None:
    """Write the metrics of a cycle, as `Report.fields` has it, in Prometheus' text format, whole or
    not at all, for all to read.

    What is said of the last forecast outlives cycles that made none, and cycles are counted on:
    both are read from the file itself. One that cannot be understood is begun anew, which is
    logged. Errors: CannotCreateError, InputOutputError.
    """
    old, now = _read(path), datetime.now(UTC).timestamp()
    is_new = cycle["outcome"] in ("forecast", "fallback")
    kept = {
        key: value
        for key, value in old.items()
        if key[0] == _CYCLES or (key[0] in _LAST_FORECAST and not is_new)
    }
    outcomes = {
        (_CYCLES, f'{{outcome="{name}"}}'): (
            kept.get((_CYCLES, f'{{outcome="{name}"}}'), 0.0)
            + (name == cycle["outcome"].replace(" ", "_"))
        )
        for name in ("forecast", "fallback", "already_there", "failed")
    }
    samples = {
        **kept,
        **(_of_forecast(cycle, now) if is_new else {}),
        **_of_cycle(cycle, now),
        **outcomes,
    }
    with written_whole(path) as temporary:
        temporary.write_text(_text(samples), encoding="utf-8")
    with suppress(OSError):  # of a file system that has no permissions
        path.chmod(0o644)


def _of_forecast(cycle: Mapping[str, Any], now: float) -> Samples:
    reference_time = datetime.fromisoformat(cycle["forecast_reference_time"]).timestamp()
    checkpoint = cycle["checkpoint_sha256"]
    return {
        (_LAST_SUCCESS, ""): now,
        (_FORECAST_REFERENCE, ""): reference_time,
        ("nowcast_fallback", ""): float(cycle["outcome"] == "fallback"),
        (_INFO, f'{{method="{cycle["method"]}"}}'): 1.0,
        **({(_CHECKPOINT, f'{{sha256="{checkpoint[:_SHORT]}"}}'): 1.0} if checkpoint else {}),
        (_BUILD, f'{{version="{cycle["nowcast_version"]}"}}'): 1.0,
        ("nowcast_wet_share", ""): _number(cycle["wet_share"]),
        ("nowcast_input_wet_share", ""): _number(cycle["input_wet_share"]),
    }


def _of_cycle(cycle: Mapping[str, Any], now: float) -> Samples:
    return {
        ("nowcast_last_cycle_timestamp_seconds", ""): now,
        ("nowcast_last_exit_code", ""): float(cycle["exit_code"]),
        ("nowcast_forecast_age_seconds", ""): _number(cycle["age_seconds"]),
        ("nowcast_cycle_duration_seconds", ""): cycle["duration_seconds"],
        **{(_PART, f'{{part="{part}"}}'): seconds for part, seconds in cycle["seconds"].items()},
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _text(samples: Samples) -> str:
    """The text format, version 0.0.4: help and type once before the samples of a name."""
    lines = []
    for name, (kind, about) in _ABOUT.items():
        values = {labels: value for (one, labels), value in samples.items() if one == name}
        if values:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {_shown(value)}" for labels, value in values.items()]
    return "\n".join(lines) + "\n"


def _shown(value: float) -> str:
    return "NaN" if math.isnan(value) else repr(round(value, 6))


def _read(path: Path) -> Samples:
    """The samples of a file that was written here; none where there is none, or none that can
    be understood.
    """
    if not path.is_file():  # a device may have no end
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [_SAMPLE.fullmatch(line) for line in lines if not line.startswith("#")]
        return {(one["name"], one["labels"] or ""): float(one["value"]) for one in found}  # type: ignore[index]
    except (OSError, ValueError, TypeError) as error:
        log.warning(
            "%s: cannot be understood (%s: %s); begun anew.", path, type(error).__name__, error
        )
        return {}
