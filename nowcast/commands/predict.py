"""`nowcast predict`: checkpoint or baseline + radar files → one forecast file."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nowcast import __version__
from nowcast.commands.baselines import open_baseline
from nowcast.commands.beside_rain import open_fields, refuse_too_many_missing
from nowcast.commands.inputs import open_forecaster, refuse_other_size
from nowcast.commands.past import Past, open_past
from nowcast.config_forecasts import PredictConfig
from nowcast.errors import ConfigError
from nowcast.files import sha256
from nowcast.forecast import Forecaster, build_forecast, write_forecast
from nowcast.forecast.baselines import LEAST_STEPS
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.tiling import choose_tiling, forecast_in_tiles
from nowcast.radar import find_files
from nowcast.radar.grid import RATE
from nowcast.radar.times import Times
from nowcast.sequences import Fields, Inputs, Period
from nowcast.training import Precision, choose_precision

log = logging.getLogger(__name__)


def predict(config: PredictConfig) -> Path:
    """Forecast from the frames up to `at`, or up to the newest. → the path of the file written."""
    past, forecast, provenance = by_model(config) if config.baseline is None else by_baseline(config, config.baseline)
    reference_time = past.times[-1]
    provenance = {
        **provenance,
        "config": asdict(config),
        "inputs": config.data.path,
        "input_times": [f"{time:.19}Z" for time in past.times[~past.missing].astype(str)],
        "missing_input_times": [f"{time:.19}Z" for time in past.times[past.missing].astype(str)],
    }
    path = Path(reference_time.astype("datetime64[s]").item().strftime(config.output))
    refuse_overwriting(path, config, past.times)
    write_forecast(build_forecast(forecast, past.grid, reference_time, past.timestep, provenance), path)
    minutes = past.timestep / np.timedelta64(1, "m")
    log.info("forecast from %s UTC, %d steps of %g minutes: %s", f"{reference_time:.16}", len(forecast), minutes, path)
    return path


def by_model(config: PredictConfig) -> tuple[Past, NDArray[np.float32], Mapping[str, Any]]:
    """By the model of the checkpoint: the past, the forecast (lead, h, w), and what it was made with."""
    assert config.checkpoint is not None
    precision = choose_precision(config.device, config.precision)
    forecaster, checkpoint = open_forecaster(config.checkpoint, precision)
    refuse_too_many_missing("missing_frames", config.missing_frames, forecaster)
    past = open_past(config, forecaster.input_steps, config.missing_frames, forecaster)
    refuse_other_size(checkpoint, past.grid, config.data.path)
    fields = open_fields(checkpoint["config"], past.grid, Period(past.times[0], past.times[-1]), None, config.input_paths)
    raw = raw_frames(past.rain, past.missing, fields, forecaster.inputs)
    made_with = {
        "checkpoint": config.checkpoint,
        "checkpoint_sha256": sha256(config.checkpoint),
        "checkpoint_versions": checkpoint["versions"],
    }
    return past, forecast_rates(raw, forecaster, precision, config.max_memory_gb), made_with


def by_baseline(config: PredictConfig, name: str) -> tuple[Past, NDArray[np.float32], Mapping[str, Any]]:
    """By a baseline: the past, the forecast (lead, h, w), or (lead, m, h, w) of an ensemble, and what it was made with."""
    forecaster = None
    if config.checkpoint is not None:
        forecaster, _ = open_forecaster(config.checkpoint, choose_precision("cpu", "fp32"))
    input_steps, lead_steps = (forecaster.input_steps, forecaster.lead_steps) if forecaster else _steps(config, name)
    past = open_past(config, input_steps, 0 if name in LEAST_STEPS else input_steps - 1, forecaster)
    baseline = open_baseline(
        name, past.grid, config.data, input_steps=input_steps, lead_steps=lead_steps,
        timestep_minutes=past.timestep / np.timedelta64(1, "m"), members=config.members, seed=config.seed,
    )  # fmt: skip
    rates = baseline(torch.from_numpy(past.rain[RATE].values)[None, :, None])[0].numpy()
    made_with = {
        "method": name,
        "source": f"nowcast {__version__}: {baseline.method}",
        "references": baseline.references,
        **({"remarks": "; ".join(baseline.remarks)} if baseline.remarks else {}),
    }
    return past, rates if baseline.members > 1 else rates[:, 0], made_with


def _steps(config: PredictConfig, name: str) -> tuple[int, int]:
    """Errors: ConfigError where there is neither a checkpoint nor both keys."""
    for key in ("input_steps", "lead_steps"):
        if getattr(config, key) is None:
            raise ConfigError(f"{key}: {name} has no checkpoint to take this from; give both input_steps and lead_steps.")
    assert config.input_steps is not None and config.lead_steps is not None
    return config.input_steps, config.lead_steps


def refuse_overwriting(path: Path, config: PredictConfig, times: Times) -> None:
    """Errors: ConfigError where the forecast would take the place of what it is made from, files of these times among it."""
    files = find_files(config.data.path, (times[0], times[-1]), config.data.format)
    sources = [*files, *([Path(config.checkpoint)] if config.checkpoint else [])]
    if path.resolve() in [source.resolve() for source in sources]:
        raise ConfigError(f"output: {path} is an input of this forecast; choose another.")


def raw_frames(past: xr.Dataset, missing: NDArray[np.bool_], fields: Fields | None, inputs: Inputs) -> Tensor:
    """The past, and what lies beside its rain, (1, t, 1 + k, h, w), its missing frames as the model is to see them, which is said."""
    times = past["time"].values
    raw = past[RATE].values[:, np.newaxis]
    if fields is not None:
        height, width = raw.shape[2:]
        raw = np.concatenate([raw, fields.read(times, slice(0, height), slice(0, width))], axis=1)
    tensor = torch.from_numpy(raw)[None]
    if not missing.any():
        return tensor
    instead = "masked for the model" if inputs.mask else "the model has no mask and sees the frame before, or after, once more"
    log.warning("no frame at %s UTC: %s", ", ".join(f"{time:.16}" for time in times[missing]), instead)
    return inputs.without(tensor, torch.from_numpy(missing)[None])


def forecast_rates(raw: Tensor, forecaster: Forecaster, precision: Precision, max_memory_gb: float | None) -> NDArray[np.float32]:
    """The past (1, t, 1 + k, h, w) → forecast rates (lead, h, w), in tiles where the whole needs more memory than allowed.

    Errors: DeviceError where tiles do, too.
    """
    tiling = choose_tiling(forecaster, raw.shape, memory_allowed(max_memory_gb, precision.device))
    count = len(tiling.tiles)
    if count > 1:
        log.info("forecast in %s", tiling)
    whole = None if count > 1 else True  # has no bar
    with precision.autocast(), tqdm(desc="forecasting", unit="tile", leave=False, disable=whole, file=sys.stderr) as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        made = forecast_in_tiles(lambda part: forecaster(part.to(precision.device)), raw, forecaster.lead_steps, tiling, progress)
    values: NDArray[np.float32] = made[0, :, 0].cpu().numpy()
    return values
