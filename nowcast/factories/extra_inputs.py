"""Open the further inputs of a model (fields and functions of time, at each frame or for lead
times), and replace missing frames of rain.
"""

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from nowcast.errors import ConfigError
from nowcast.factories.models import log_missing
from nowcast.factories.radar import into_cache
from nowcast.forecast.any_grid import is_for_any_grid
from nowcast.periods import Period
from nowcast.radar.series.fields import FieldFile, open_field
from nowcast.radar.series.fields_ahead import FieldAheadFile, open_field_ahead
from nowcast.radar.times import Times
from nowcast.sequences.contents import contents_of
from nowcast.sequences.fields import WAVES, Ahead, Beside, Field, FieldAhead, Fields, hold
from nowcast.sequences.inputs import Channel, Inputs
from nowcast.sequences.scene import Scene
from nowcast.sequences.stored import StoredArray
from nowcast.version import __version__

log = logging.getLogger(__name__)

_NOTHING: Mapping[str, Any] = {"mask": False, "time_of_day": False, "fields": {}}
"""The inputs of exported models without this key, from earlier versions; checkpoints are migrated.
"""
_NOTHING_AHEAD: Mapping[str, Any] = {"time_of_day": False, "fields": {}}


def build_inputs(config: Mapping[str, Any]) -> Inputs:
    """Return the input channels of the model of a configuration or checkpoint."""
    inputs = config.get("inputs", _NOTHING)
    beside, ahead = _channels(inputs), _channels(inputs.get("ahead", _NOTHING_AHEAD))
    for key, channels in (("inputs", beside), ("inputs.ahead", ahead)):
        twice = {one.name for one in channels if [c.name for c in channels].count(one.name) > 1}
        if twice:
            raise ConfigError(
                f"{key}.fields: {', '.join(sorted(twice))} is also the name of another channel;"
                " give the field another name."
            )
    return Inputs(inputs["mask"], beside, ahead, speed=is_for_any_grid(config))


def open_fields(
    config: Mapping[str, Any],
    grid: xr.Dataset,
    period: Period,
    cache: str | None,
    paths: Mapping[str, str] | None = None,
    references: Times | None = None,
) -> Fields | None:
    """Open the further inputs of a configuration or checkpoint for `grid` in a period; None if it
    has none.

    cache: folder into which large fields are unpacked; None holds all in memory.
    paths: new paths of fields by name, if they were moved after training.
    references: the forecast reference times; None for all times of the period.
    Errors: ConfigError for the path of an unknown field, or a vector that would be mirrored or
    rotated with the rain; as open_field.
    """
    inputs = config.get("inputs", _NOTHING)
    ahead = inputs.get("ahead", _NOTHING_AHEAD)
    named, named_ahead = _fields_of(inputs), _fields_of(ahead)
    refuse_strangers(paths or {}, field_names(config))
    sampling = config.get("sampling", {})
    beside: dict[str, Beside] = _waves(inputs)
    for name, about in named:
        path = (paths or {}).get(name, about["path"])
        beside[name] = _open_field(name, path, about, grid, period, cache, sampling)
    known: dict[str, Ahead] = _waves(ahead)
    for name, about in named_ahead:
        path = (paths or {}).get(name, about["path"])
        known[name] = _open_field_ahead(
            name, path, about, grid, period, cache, sampling, _within(grid, period, references)
        )
    return Fields(beside, known) if beside or known else None


def with_inputs(scene: Scene, config: Mapping[str, Any], input_paths: Mapping[str, str]) -> Scene:
    """Return the scene with the further inputs of a checkpoint's model."""
    lead_steps, timestep = config.get("lead_steps", 0), scene.timestep
    times = scene.reference_time + timestep * np.arange(1, lead_steps + 1)
    fields = open_fields(
        config, scene.grid, Period(scene.times[0], scene.reference_time), None, input_paths,
        scene.times[:0],  # missing lead times are logged below
    )  # fmt: skip
    if fields is None:
        return scene
    everywhere = slice(0, scene.size[0]), slice(0, scene.size[1])
    ahead = {
        name: one.at_leads(scene.reference_time, times, *everywhere)
        for name, one in fields.ahead.items()
    }
    for name, frames in ahead.items():
        without = int(np.isnan(frames).all(axis=(1, 2)).sum())
        if without:
            log.warning(
                "inputs.ahead.fields.%s: no value for %d of %d lead times after %s UTC",
                name, without, len(frames), f"{scene.reference_time:.16}",
            )  # fmt: skip
    beside = {name: one.at(scene.times, *everywhere) for name, one in fields.beside.items()}
    return replace(scene, beside=beside, ahead=ahead)


def raw_window(
    scene: Scene,
    config: Mapping[str, Any],
    input_paths: Mapping[str, str],
    inputs: Inputs,
    *,
    moving: bool = False,
) -> Tensor:
    """Return the scene as input of a checkpoint's model, (1, t, 1 + k, h, w), with its fields.

    Missing frames are replaced and logged. With a moving-frame model they stay NaN here and are
    replaced after advection.
    """
    raw = inputs.of_scene(with_inputs(scene, config, input_paths))
    if not scene.missing.any():
        return raw
    log_missing(scene, mask=inputs.mask)
    return raw if moving else inputs.without(raw, torch.from_numpy(scene.missing)[None])


def _channels(inputs: Mapping[str, Any]) -> tuple[Channel, ...]:
    """Return the channels of `inputs`, or of `inputs.ahead`: functions of time, then fields."""
    return (
        *map(Channel, _waves(inputs)),
        *(
            Channel(name, float(about["offset"]), float(about["scale"]))
            for name, about in _fields_of(inputs)
        ),
    )


def _waves(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the functions of time that are switched on, by channel name."""
    return {
        name: wave
        for key, waves in WAVES.items()
        if inputs.get(key)
        for name, wave in waves.items()
    }


def _open_field(
    name: str,
    path: str,
    about: Mapping[str, Any],
    grid: xr.Dataset,
    period: Period,
    cache: str | None,
    sampling: Mapping[str, Any],
) -> Field:
    with closing(open_field(path, about["variable"], grid)) as file:
        if file.is_vector:
            _refuse_turning(f"inputs.fields.{name}", file.name, sampling)
        part = file.between(period.start, period.end)
        frames = (
            part.read(0, part.shape[0])
            if cache is None
            else _held(part, cache, f"{about['variable']} {period}")
        )
    found = Field(frames, part.times, _minutes(about["max_age_minutes"]))
    times = grid["time"].values
    _say_missing(name, path, found, times[(times >= period.start) & (times <= period.end)])
    return found


def _open_field_ahead(
    name: str,
    path: str,
    about: Mapping[str, Any],
    grid: xr.Dataset,
    period: Period,
    cache: str | None,
    sampling: Mapping[str, Any],
    references: Times,
) -> FieldAhead:
    delay, max_age = _minutes(about["delay_minutes"]), _minutes(about["max_age_minutes"])
    with closing(open_field_ahead(path, about["variable"], grid)) as file:
        if file.is_vector:
            _refuse_turning(f"inputs.ahead.fields.{name}", file.name, sampling)
        part = file.between(period.start - delay - max_age, period.end)
        what = f"{about['variable']} ahead {period} {delay} {max_age}"
        frames = part.read(0, part.shape[0]) if cache is None else _held(part, cache, what)
    found = FieldAhead(frames, part.references, part.leads, delay, max_age)
    if isinstance(frames, np.ndarray) and frames.size and np.isnan(frames).all():
        log.warning("%s: %s has no value for %s", path, about["variable"], period)
    without = [time for time in references if found.run_at(time) < 0]
    if without:
        log.warning(
            "%s: no run is available at %d of %d reference times, the first at %s UTC;"
            " inputs.ahead.fields.%s is missing there",
            path,
            len(without),
            references.size,
            f"{without[0]:.16}",
            name,
        )
    return found


def _within(grid: xr.Dataset, period: Period, references: Times | None) -> Times:
    times: Times = grid["time"].values
    inside = (times >= period.start) & (times <= period.end)
    return times[inside] if references is None else references


def _minutes(minutes: float) -> np.timedelta64:
    return np.timedelta64(round(minutes * 60e9), "ns")


def _held(
    file: FieldFile | FieldAheadFile, cache: str, what: str
) -> NDArray[np.float32] | StoredArray:
    """Return all frames of a field; a large field is unpacked once and found again by its
    contents.
    """
    with into_cache():
        source = json.dumps([contents_of([file.path], cache), what, __version__])
        return hold(file.read, file.shape, cache, source)


def _fields_of(inputs: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the fields by name in the order of their channels, which is alphabetical."""
    return sorted(inputs["fields"].items())


def field_names(config: Mapping[str, Any]) -> list[str]:
    """Return the names of all fields that a model sees, at frames and for lead times."""
    inputs = config.get("inputs", _NOTHING)
    named = (*_fields_of(inputs), *_fields_of(inputs.get("ahead", _NOTHING_AHEAD)))
    return [name for name, _ in named]


def refuse_strangers(paths: Mapping[str, str], known: list[str]) -> None:
    """Errors: ConfigError if a path is given for a field that is not among those known."""
    strangers = sorted(set(paths) - set(known))
    if strangers:
        raise ConfigError(
            f"input_paths: the model has no field {', '.join(strangers)}; its fields are"
            f" {', '.join(known) or 'none'}."
        )


def _refuse_turning(key_of_field: str, variable: str, sampling: Mapping[str, Any]) -> None:
    for key in ("flip", "rotate"):
        if sampling.get(key):
            raise ConfigError(
                f"sampling.{key}: would mirror or rotate {key_of_field} ({variable}) with the"
                f" rain, but not the direction of its vectors; set sampling.{key}=false, or leave"
                " out this field."
            )


def _say_missing(name: str, path: str, field: Field, times: NDArray[np.datetime64]) -> None:
    without = times[field.latest(times) < 0]
    if without.size:
        minutes = field.max_age / np.timedelta64(1, "m")
        log.warning(
            "%s: has no value in the %g minutes before %d of %d frames, the first at %s UTC;"
            " inputs.fields.%s is missing there",
            path,
            minutes,
            without.size,
            times.size,
            f"{without[0]:.16}",
            name,
        )
