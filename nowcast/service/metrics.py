"""Metrics of a series of forecasts, for the textfile collector of Prometheus' node exporter."""

import math
import re
from collections.abc import Iterator

from nowcast.service.chain import OUTCOMES, Chain, Published

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
_FALLBACK = "nowcast_fallback"
_WARNINGS = "nowcast_warnings"
_WET, _INPUT_WET = "nowcast_wet_share", "nowcast_input_wet_share"
_SHORT = 12  # digits of a checksum that distinguish checkpoints
_ABOUT = {
    _LAST_SUCCESS: ("gauge", "When the newest forecast was published; 0 before the first."),
    _FORECAST_REFERENCE: (
        "gauge",
        "Time of the newest frame of that forecast; 0 before the first.",
    ),
    _FALLBACK: (
        "gauge",
        "1 if it was made by a fallback instead of the requested model, else 0.",
    ),
    _INFO: ("gauge", "Always 1; its label is the method of the forecast."),
    _CHECKPOINT: ("gauge", "Always 1; its label is the start of the SHA-256 of the checkpoint."),
    _BUILD: ("gauge", "Always 1; its label is the version of nowcast that made the forecast."),
    _WET: (
        "gauge",
        "Fraction of its pixels at or above 0.1 mm/h over all lead times, 0 to 1.",
    ),
    _INPUT_WET: ("gauge", "Fraction of pixels at or above 0.1 mm/h in its newest frame, 0 to 1."),
    "nowcast_last_cycle_timestamp_seconds": (
        "gauge",
        "When the last cycle ended, with any outcome.",
    ),
    "nowcast_last_exit_code": ("gauge", "Exit code of the last cycle; 0 if all is well."),
    "nowcast_forecast_age_seconds": (
        "gauge",
        "Age of its newest frame when it began; NaN if unknown.",
    ),
    "nowcast_cycle_duration_seconds": ("gauge", "Duration of the last cycle."),
    _PART: ("gauge", "Duration of each part of the last cycle."),
    _WARNINGS: (
        "gauge",
        "Number of areas in which a warning rule holds, by its name; NaN without a forecast there.",
    ),
    "nowcast_frames_left_out": (
        "gauge",
        "Number of unusable files and frames that the last cycle left out.",
    ),
    _CYCLES: ("counter", "Number of cycles by outcome."),
}
_SAMPLE = re.compile(
    r'(?P<name>[a-z0-9_]+)(?:\{[a-z0-9]+="(?P<label>[^"\\\n]*)"\})? (?P<value>\S+)'
)

Sample = tuple[str, str, float]
"""The name of a metric, its label such as `part="find"` or nothing, and its value."""


def as_metrics(chain: Chain) -> str:
    """Return the state in Prometheus' text format, version 0.0.4: help and type once before the
    samples of a name.
    """
    samples = [*_of_forecast(chain.newest), *_of_cycle(chain)]
    lines = []
    for name, (kind, about) in _ABOUT.items():
        own = [(label, value) for one, label, value in samples if one == name]
        if own:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{label and f'{{{label}}}'} {_shown(value)}" for label, value in own]
    return "\n".join(lines) + "\n"


def from_metrics(text: str) -> Chain:
    """Return the state stored in the text of `as_metrics`, apart from the last cycle.

    Errors: ValueError, TypeError and others for any other text.
    """
    found = [_SAMPLE.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
    values = {(one["name"], one["label"]): float(one["value"]) for one in found}  # type: ignore[index]
    cycles = {outcome: int(values.get((_CYCLES, _word(outcome)), 0)) for outcome in OUTCOMES}
    return Chain(since=math.nan, cycles=cycles, newest=_newest(values))


def _newest(values: dict[tuple[str, str | None], float]) -> Published | None:
    labels = {name: label for name, label in values if label is not None}
    if not values.get((_LAST_SUCCESS, None)):
        return None
    return Published(
        at=values[_LAST_SUCCESS, None],
        reference_time=values[_FORECAST_REFERENCE, None],
        method=labels[_INFO],
        is_fallback=bool(values[_FALLBACK, None]),
        checkpoint=labels.get(_CHECKPOINT, ""),
        version=labels.get(_BUILD, ""),
        wet_share=values[_WET, None],
        input_wet_share=values[_INPUT_WET, None],
    )


def _of_forecast(newest: Published | None) -> Iterator[Sample]:
    # 0 before the first, so that an alert on their age fires although nothing ever succeeded
    yield _LAST_SUCCESS, "", 0.0 if newest is None else newest.at
    yield _FORECAST_REFERENCE, "", 0.0 if newest is None else newest.reference_time
    if newest is None:
        return
    yield _FALLBACK, "", newest.is_fallback
    yield _INFO, f'method="{newest.method}"', 1.0
    if newest.checkpoint:
        yield _CHECKPOINT, f'sha256="{newest.checkpoint[:_SHORT]}"', 1.0
    if newest.version:
        yield _BUILD, f'version="{newest.version}"', 1.0
    yield _WET, "", newest.wet_share
    yield _INPUT_WET, "", newest.input_wet_share


def _of_cycle(chain: Chain) -> Iterator[Sample]:
    age = chain.cycle["age_seconds"]
    yield "nowcast_last_cycle_timestamp_seconds", "", chain.ended
    yield "nowcast_last_exit_code", "", chain.cycle["exit_code"]
    yield "nowcast_forecast_age_seconds", "", math.nan if age is None else age
    yield "nowcast_cycle_duration_seconds", "", chain.cycle["duration_seconds"]
    for part, seconds in chain.cycle["seconds"].items():
        yield _PART, f'part="{part}"', seconds
    for rule, found in chain.cycle["warnings"].items():
        yield _WARNINGS, f'rule="{rule}"', math.nan if found is None else len(found)
    yield "nowcast_frames_left_out", "", chain.cycle["frames_left_out"]
    for outcome, number in chain.cycles.items():
        yield _CYCLES, f'outcome="{_word(outcome)}"', number


def _word(outcome: str) -> str:
    return outcome.replace(" ", "_")


def _shown(value: float) -> str:
    return "NaN" if math.isnan(value) else repr(round(float(value), 6))
