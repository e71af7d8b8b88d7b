"""What lies beside the rain, as the commands open it: fields and the time of day; and frames of
rain that are missing.
"""

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from nowcast import __version__
from nowcast.errors import ConfigError
from nowcast.periods import Period
from nowcast.radar.grid import RATE
from nowcast.radar.series.fields import FieldFile, open_field
from nowcast.sequences.contents import contents_of
from nowcast.sequences.fields import Field, Fields, hold
from nowcast.sequences.inputs import Inputs
from nowcast.sequences.scene import Past
from nowcast.sequences.stored import StoredArray

log = logging.getLogger(__name__)

_NOTHING: Mapping[str, Any] = {"mask": False, "time_of_day": False, "fields": {}}
"""The inputs of checkpoints from before there was a choice."""


def build_inputs(config: Mapping[str, Any]) -> Inputs:
    """What the model of a configuration or checkpoint sees beside the rain."""
    inputs = config.get("inputs", _NOTHING)
    scalings = tuple(
        (float(about["offset"]), float(about["scale"])) for _, about in _fields_of(inputs)
    )
    return Inputs(inputs["mask"], inputs["time_of_day"], scalings)


def open_fields(
    config: Mapping[str, Any],
    grid: xr.Dataset,
    period: Period,
    cache: str | None,
    paths: Mapping[str, str] | None = None,
) -> Fields | None:
    """What lies beside the rain of `grid` in a period, by a configuration or checkpoint; None where
    nothing is asked for.

    Large fields are unpacked into `cache`; without one all are held in memory. `paths`: where
    fields lie now, by name, if not where they lay in training.
    Errors: ConfigError for a path of no field, or a vector that would be mirrored or turned with
    the rain; as open_field.
    """
    inputs = config.get("inputs", _NOTHING)
    named = _fields_of(inputs)
    _refuse_strangers(paths or {}, [name for name, _ in named])
    times = grid["time"].values
    times = times[(times >= period.start) & (times <= period.end)]
    fields = []
    for name, about in named:
        path = (paths or {}).get(name, about["path"])
        with closing(open_field(path, about["variable"], grid)) as file:
            if file.is_vector:
                _refuse_turning(name, file.name, config.get("sampling", {}))
            part = file.between(period.start, period.end)
            frames = (
                part.read(0, part.shape[0])
                if cache is None
                else _held(part, cache, f"{about['variable']} {period}")
            )
        fields.append(
            Field(frames, part.times, np.timedelta64(round(about["max_age_minutes"] * 60e9), "ns"))
        )
        _say_missing(name, path, fields[-1], times)
    return Fields(inputs["time_of_day"], tuple(fields)) if fields or inputs["time_of_day"] else None


def raw_frames(
    past: Past, config: Mapping[str, Any], input_paths: Mapping[str, str], inputs: Inputs
) -> Tensor:
    """The past, and what lies beside its rain by the configuration of a checkpoint, (1, t, 1 +
    k, h, w); its missing frames as the model is to see them, which is said.
    """
    raw = past.rain[RATE].values[:, np.newaxis]
    fields = open_fields(
        config, past.rain, Period(past.times[0], past.times[-1]), None, input_paths
    )
    if fields is not None:
        height, width = raw.shape[2:]
        raw = np.concatenate(
            [raw, fields.read(past.times, slice(0, height), slice(0, width))], axis=1
        )
    tensor = torch.from_numpy(raw)[None]
    if not past.missing.any():
        return tensor
    instead = (
        "masked for the model"
        if inputs.mask
        else "the model has no mask and sees the frame before, or after, once more"
    )
    log.warning(
        "no frame at %s UTC: %s",
        ", ".join(f"{time:.16}" for time in past.times[past.missing]),
        instead,
    )
    return inputs.without(tensor, torch.from_numpy(past.missing)[None])


def _held(file: FieldFile, cache: str, what: str) -> NDArray[np.float32] | StoredArray:
    """All frames of a field, of which a large one is unpacked once: the file is known by what
    it holds.
    """
    return hold(
        file.read,
        file.shape,
        cache,
        json.dumps([contents_of([file.path], cache), what, __version__]),
    )


def _fields_of(inputs: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The fields by name, in the order of their channels, which is that of the alphabet,
    however they were written down.
    """
    return sorted(inputs["fields"].items())


def _refuse_strangers(paths: Mapping[str, str], known: list[str]) -> None:
    strangers = sorted(set(paths) - set(known))
    if strangers:
        raise ConfigError(
            f"input_paths: the model has no field {', '.join(strangers)}; its fields are"
            f" {', '.join(known) or 'none'}."
        )


def _refuse_turning(name: str, variable: str, sampling: Mapping[str, Any]) -> None:
    for key in ("flip", "rotate"):
        if sampling.get(key):
            raise ConfigError(
                f"sampling.{key}: would mirror or turn inputs.fields.{name} ({variable}) with the"
                f" rain, but not the way that it points; set sampling.{key}=false, or leave out"
                " this field."
            )


def _say_missing(name: str, path: str, field: Field, times: NDArray[np.datetime64]) -> None:
    without = times[field.latest(times) < 0]
    if without.size:
        minutes = field.max_age / np.timedelta64(1, "m")
        log.warning(
            "%s: holds nothing for %d of %d frames within %g minutes before, the first of %s UTC;"
            " inputs.fields.%s is missing there",
            path,
            without.size,
            times.size,
            minutes,
            f"{without[0]:.16}",
            name,
        )
