"""nowcast in pysteps: importing this module registers our method and our forecast file.

    import nowcast.pysteps
    method = pysteps.nowcasts.get_method("nowcast")
    importer = pysteps.io.get_method("nowcast_netcdf", "importer")

Both have the call form of pysteps, so its blending takes them. Rates are in mm/h, the first row is
in the north, missing pixels are NaN, and motion is in pixels per timestep, x then y.
"""

import logging
import math
from collections.abc import Sequence
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.config.checks import device_and_precision
from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.factories.models import refuse_other_size
from nowcast.factories.windows import open_forecaster
from nowcast.files import FileVersion
from nowcast.forecast.any_grid import (
    beyond_experience,
    is_for_any_grid,
    most_lead_steps,
    on_grid,
)
from nowcast.forecast.baselines.library import require
from nowcast.forecast.for_pysteps import import_nowcast_netcdf
from nowcast.forecast.forecaster import Forecaster
from nowcast.forecast.members import with_members
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.tiling import choose_tiling, forecast_in_tiles
from nowcast.motion.grid import COARSE, coarse_size
from nowcast.pretrained import PRETRAINED, checkpoint_path
from nowcast.probability.forecast import Forecast
from nowcast.probability.options import MOST_MEMBERS
from nowcast.radar.placing.grid_match import Turn
from nowcast.training.precision import Precision, choose_precision

log = logging.getLogger(__name__)

_PIXEL_OFF = 1e-3  # relative


def forecast(
    precip: NDArray[Any],
    velocity: NDArray[Any] | None,
    timesteps: int | Sequence[int],
    *,
    checkpoint: str | Path | None = None,
    kmperpixel: float | None = None,
    timestep: float | None = None,
    n_ens_members: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    other_grid: bool = False,
) -> NDArray[Any]:
    """Forecast with a trained model, in the call form of pysteps.

    Args:
        precip: (t, y, x) in mm/h, NaN = missing, oldest first; the model takes the newest frames.
        velocity: (2, y, x) in pixels per timestep, x then y, for the forecast and its members; None
            estimates it. A model in the fixed frame does not need it.
        timesteps: number of lead times, or an increasing list of whole lead times.
        checkpoint: from `nowcast train`; None takes the model that comes with nowcast.
        kmperpixel, timestep: pixel size in km and time step in minutes of `precip`. A model for any
            grid, such as the model that comes with nowcast, needs both. For other models they are
            compared with those of the training; None skips the comparison.
        n_ens_members: number of members drawn from the model's probabilities, 2 to 100; None gives
            one forecast without members.
        seed: of the members; None is 0.
        device: as in `nowcast predict`.
        other_grid: whether `kmperpixel` may differ from that of the training.

    Returns:
        (timesteps, y, x) in mm/h, or (n_ens_members, timesteps, y, x); NaN = missing.

    Raises:
        ConfigError: if a setting does not fit the model.
        DataError: if `precip` or `velocity` cannot be used, or the time step is too long.
        MissingInputError: if there is no such checkpoint.
    """
    forecaster, about, precision = _opened(checkpoint, device)
    if is_for_any_grid(about["config"]):
        km, minutes = _spacing(kmperpixel, timestep)
        leads = _leads(timesteps, most_lead_steps(minutes))
        forecaster = on_grid(forecaster, km, minutes, leads[-1] + 1)
    else:
        _refuse_other_grid(forecaster, about, kmperpixel, timestep, other_grid)
        leads = _leads(timesteps, forecaster.lead_steps)
    _refuse_without_probabilities(forecaster, n_ens_members)
    place = about.get("place") or {}
    turn = Turn(place.get("first_row") == "south", (place.get("pixel") or [0, 1])[1] < 0)
    past = turn(_past(precip, forecaster))
    refuse_other_size(about["config"], past.shape[-2:], "precip")
    rain, given, motion = past[:, :, 0], None, None
    if forecaster.moving:
        given = None if velocity is None else _coarse(velocity, rain, turn)
        motion = forecaster.motion(past) if given is None else given
    made = _forecast(forecaster, past, motion, precision)
    if n_ens_members is not None:
        made = with_members(made, rain, n_ens_members, seed or 0, given)
    rates = made.rates if made.members is None else made.members
    values = turn(rates[0, leads]).numpy().swapaxes(0, 1)  # (m, lead, y, x)
    dtype = np.asarray(precip).dtype
    kind = dtype if dtype.kind == "f" else np.float32
    return np.array(values if n_ens_members is not None else values[0], dtype=kind)


def _opened(checkpoint: str | Path | None, device: str) -> tuple[Forecaster, Any, Precision]:
    """Open a checkpoint. Errors: ConfigError for an unknown device; MissingInputError."""
    device_and_precision(device, "auto")
    path = checkpoint_path(PRETRAINED if checkpoint is None else str(checkpoint))
    if not Path(path).is_file():
        raise MissingInputError(
            f"{path}: no such checkpoint; give one from 'nowcast train', such as"
            " checkpoint='runs/mine/best.pt'."
        )
    return _open(path, FileVersion.of(path), device)


@lru_cache(maxsize=2)
def _open(checkpoint: str, version: FileVersion, device: str) -> tuple[Forecaster, Any, Precision]:
    """Return the model of a checkpoint, its metadata, and its precision and device."""
    precision = choose_precision(device, "auto")
    forecaster, about = open_forecaster(checkpoint, precision)
    if about.get("region"):
        raise DataError(
            f"{checkpoint}: its model was trained on a region, and pysteps does not say where"
            " frames lie; forecast with 'nowcast predict', and import the file."
        )
    fields = (*forecaster.inputs.beside, *forecaster.inputs.ahead)
    if fields:
        raise DataError(
            f"{checkpoint}: its model sees {', '.join(one.name for one in fields)} next to the"
            " rain, which pysteps does not give; forecast with 'nowcast predict', and import the"
            " file."
        )
    return forecaster, about, precision


def _spacing(kmperpixel: float | None, timestep: float | None) -> tuple[float, float]:
    """Return the pixel size in km and the time step in minutes that a model for any grid needs.

    Errors: ConfigError if one is missing.
    """
    if not _is_size(kmperpixel) or not _is_size(timestep):
        raise ConfigError(
            "kmperpixel, timestep: this model is for any grid and needs both; give the pixel"
            " size in km and the time step in minutes, numbers above 0."
        )
    beyond = beyond_experience(kmperpixel, timestep)
    if beyond:
        log.warning("%s", beyond)
    return kmperpixel, timestep


def _is_size(value: float | None) -> TypeGuard[float]:
    return isinstance(value, Real) and 0 < value < math.inf


def _leads(timesteps: int | Sequence[int], most: int) -> list[int]:
    """Return the indices of the lead times. Errors: ConfigError if the model does not have them."""
    count: Any = timesteps
    listed = np.arange(1, count + 1) if np.ndim(count) == 0 else np.asarray(count)
    whole = listed.size > 0 and bool((listed == np.round(listed)).all())
    if not whole or listed[0] < 1 or listed[-1] > most or (np.diff(listed) <= 0).any():
        raise ConfigError(
            f"timesteps: the model forecasts {most} lead times; give whole numbers from 1 to"
            f" {most}, rising, not {timesteps}."
        )
    indices: list[int] = (listed.astype(int) - 1).tolist()
    return indices


def _refuse_other_grid(
    forecaster: Forecaster,
    about: Any,
    kmperpixel: float | None,
    timestep: float | None,
    other_grid: bool,
) -> None:
    """Refuse a pixel size or time step other than that of the training. Errors: ConfigError."""
    known = forecaster.timestep_minutes
    if timestep is not None and known is not None and timestep != known:
        raise ConfigError(
            f"timestep: the model was trained on frames every {known:g} minutes, not {timestep:g};"
            " give frames of that spacing."
        )
    place = about.get("place") or {}
    if kmperpixel is None or other_grid or not place.get("pixel") or place.get("unit") != "m":
        return
    if not np.allclose(np.abs(place["pixel"]), 1000 * kmperpixel, rtol=_PIXEL_OFF):
        raise ConfigError(
            f"kmperpixel: the model was trained on pixels of {abs(place['pixel'][1]) / 1000:g} km,"
            f" not {kmperpixel:g}; put the frames on such pixels, or set other_grid=True."
        )


def _refuse_without_probabilities(forecaster: Forecaster, members: int | None) -> None:
    """Refuse members that cannot be drawn. Errors: ConfigError."""
    if members is not None and not 2 <= members <= MOST_MEMBERS:
        raise ConfigError(
            f"n_ens_members: must be from 2 to {MOST_MEMBERS}, not {members}; None gives one"
            " forecast without members."
        )
    if members is not None and forecaster.calibration is None:
        raise ConfigError(
            "n_ens_members: members are drawn from probabilities, and this model has none; leave"
            " it out, or give a model with probabilities."
        )


def _past(precip: NDArray[Any], forecaster: Forecaster) -> Tensor:
    """Return the input frames of the model, (1, t, 1, y, x) in mm/h. Errors: DataError."""
    frames = np.ma.filled(precip, np.nan).astype(np.float32)
    steps = forecaster.input_steps
    if frames.ndim != 3 or len(frames) < steps:
        raise DataError(
            f"precip: has the shape {frames.shape}; give (t, y, x) of at least the {steps} frames"
            " that the model sees."
        )
    if np.isposinf(frames).any():
        raise DataError("precip: has infinite values; set what is missing to NaN.")
    if (frames < 0).any():
        raise DataError(
            "precip: has values below 0, as in dB; give rates in mm/h, as"
            " pysteps.utils.conversion.to_rainrate makes them."
        )
    past = torch.from_numpy(frames[-steps:])[None, :, None]
    missing = past.isnan().all(dim=(2, 3, 4))
    if missing[0, -1]:
        raise DataError("precip: the newest frame has no measured pixel; give a frame with data.")
    return forecaster.without(past, missing) if missing.any() else past


def _coarse(velocity: NDArray[Any], rain: Tensor, turn: Turn) -> Tensor:
    """A motion (2, y, x) → (1, 2, hc, wc) on the coarse grid of the turned rain (1, t, y, x).

    Errors: DataError.
    """
    height, width = rain.shape[-2:]
    field = torch.from_numpy(np.array(velocity, np.float32))
    if field.shape != (2, height, width) or not bool(field.isfinite().all()):
        raise DataError(
            f"velocity: has the shape {tuple(field.shape)}, or values that are not finite; give"
            f" finite motion of (2, {height}, {width}), or None."
        )
    sign = torch.tensor([-1.0 if turn.columns else 1.0, -1.0 if turn.rows else 1.0])
    rows, columns = (
        (torch.arange(count) * COARSE).clamp(max=size - 1)
        for count, size in zip(coarse_size(height, width), (height, width), strict=True)
    )
    motion: Tensor = turn(field)[:, rows][:, :, columns] * sign[:, None, None]
    return motion[None]


def _forecast(
    forecaster: Forecaster, past: Tensor, motion: Tensor | None, precision: Precision
) -> Forecast:
    """Return the forecast; the network runs on the device, in tiles if memory is short."""
    device = precision.device
    tiling = choose_tiling(forecaster, past.shape, memory_allowed(None, device))

    def part(seen: Tensor) -> Tensor:
        return forecaster.values(seen.to(device)).to(past.device)

    def network(seen: Tensor) -> Tensor:
        return forecast_in_tiles(part, seen, forecaster.lead_steps, tiling)

    with precision.autocast(), torch.inference_mode():
        return forecaster.forecast_along(past, motion, network)


def _register() -> None:
    """Register both in pysteps. Errors: MissingLibraryError without pysteps."""
    require("nowcast.pysteps", ["pysteps"])
    from pysteps import io, nowcasts
    from pysteps.decorators import postprocess_import

    read = postprocess_import()(import_nowcast_netcdf)
    nowcasts.interface._nowcast_methods["nowcast"] = forecast
    io.interface._importer_methods["nowcast_netcdf"] = read
    io.importers.import_nowcast_netcdf = read


_register()
