"""The methods that a forecast is made by: the model, or where frames are missing another of a declared chain."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from nowcast.commands.frames import FrameSource, MissingFramesError, Need, Past
from nowcast.commands.inputs import open_forecaster, refuse_other_size
from nowcast.commands.same_grid import refuse_other_grid
from nowcast.config_predict import MODEL, NONE, PredictConfig
from nowcast.errors import ConfigError, DataError, MissingInputError, TryLaterError
from nowcast.forecast.baselines import LEAST_STEPS
from nowcast.forecast.baselines.library import refuse_absent
from nowcast.forecast.forecaster import Forecaster
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.streaming import WarmForecaster
from nowcast.forecast.tiling import choose_tiling, forecast_in_tiles
from nowcast.periods import Period
from nowcast.radar.grid import RATE
from nowcast.sequences import Fields, Inputs
from nowcast.training import Precision, choose_precision
from nowcast.training.checkpoints import Checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """A forecast (lead, h, w), or (lead, m, h, w) of an ensemble, in mm/h; the past that it was made of, by which method, with what.

    reason: why not by the first method of the chain.
    """

    past: Past
    rates: NDArray[np.float32]
    method: str
    made_with: Mapping[str, Any]
    reason: str | None = None


@dataclass
class Methods:
    """The methods of a configuration, their model opened once."""

    config: PredictConfig
    forecaster: Forecaster | None = field(init=False, default=None)
    warm: WarmForecaster | None = field(init=False, default=None)
    checkpoint: Checkpoint = field(init=False, default_factory=dict)
    precision: Precision = field(init=False)

    def __post_init__(self) -> None:
        config = self.config
        by_model = config.baseline is None
        self.precision = choose_precision(config.device, config.precision) if by_model else choose_precision("cpu", "fp32")
        if config.checkpoint is not None:
            self.forecaster, self.checkpoint = open_forecaster(config.checkpoint, self.precision)
            refuse_too_many_missing("missing_frames", config.missing_frames, self.forecaster)
            self.warm = WarmForecaster(self.forecaster)
        for name in set(config.methods) & set(LEAST_STEPS):  # now, rather than in the night when it is needed
            refuse_absent(name)

    def prepare(self) -> None:
        """Do what of the next forecast can be done before its newest frame is there."""
        if self.warm is not None:
            with self.precision.autocast():
                self.warm.prepare()

    def forecast(self, source: FrameSource, reference_time: np.datetime64) -> Made:
        """By the first method of the chain that has the frames it needs.

        Errors: MissingInputError where none has; TryLaterError where the chain ends in `none`.
        """
        reasons: list[str] = []
        for name in self.config.methods:
            if name == NONE:
                raise TryLaterError(f"no forecast from {reference_time:.16} UTC: {'; '.join(reasons)}")
            try:
                past, rates, made_with = (
                    self._by_model(source, reference_time) if name == MODEL else self._by_baseline(name, source, reference_time)
                )
            except MissingInputError as error:
                if name == self.config.methods[-1] and not reasons:
                    raise
                what = error.what if isinstance(error, MissingFramesError) else str(error)
                reasons.append(f"{name}: {what}")
            else:
                return Made(past, rates, name, made_with, "; ".join(reasons) or None)
        raise MissingInputError(f"no forecast from {reference_time:.16} UTC: {'; '.join(reasons)}. Give the missing files.")

    def _by_model(self, source: FrameSource, at: np.datetime64) -> tuple[Past, NDArray[np.float32], Mapping[str, Any]]:
        config, forecaster, warm = self.config, self.forecaster, self.warm
        assert forecaster is not None and warm is not None and config.checkpoint is not None
        past = source.past(at, Need(forecaster.input_steps, config.missing_frames, spacing(forecaster, config.checkpoint)))
        refuse_other_size(self.checkpoint, past.grid, config.data.path)
        remark = refuse_other_grid(self.checkpoint.get("place"), past.grid, config.data.path, allowed=config.other_grid)
        fields = open_fields(
            self.checkpoint["config"], past.grid, Period(past.times[0], past.times[-1]), None, config.input_paths
        )
        raw = raw_frames(past.rain, past.missing, fields, forecaster.inputs)
        made_with = {
            "checkpoint": config.checkpoint,
            "checkpoint_versions": self.checkpoint["versions"],
            "computed_on": str(self.precision),
            **({"remarks": remark} if remark else {}),
        }
        return past, forecast_rates(raw, warm, self.precision, config.max_memory_gb), made_with

    def _by_baseline(
        self, name: str, source: FrameSource, at: np.datetime64
    ) -> tuple[Past, NDArray[np.float32], Mapping[str, Any]]:
        config, forecaster = self.config, self.forecaster
        input_steps, lead_steps = (forecaster.input_steps, forecaster.lead_steps) if forecaster else _steps(config, name)
        known = None if forecaster is None else spacing(forecaster, str(config.checkpoint))
        if config.baseline is None:  # a fallback has what frames there are
            input_steps = LEAST_STEPS.get(name, 1)
        past = source.past(at, Need(input_steps, 0 if name in LEAST_STEPS else input_steps - 1, known))
        baseline = open_baseline(
            name, past.grid, config.data, input_steps=input_steps, lead_steps=lead_steps,
            timestep_minutes=past.timestep / np.timedelta64(1, "m"), members=config.members, seed=config.seed,
        )  # fmt: skip
        rates = baseline(torch.from_numpy(past.rain[RATE].values)[None, :, None])[0].numpy()
        made_with = {
            "source": f"nowcast {__version__}: {baseline.method}",
            "references": baseline.references,
            **({"remarks": "; ".join(baseline.remarks)} if baseline.remarks else {}),
        }
        return past, rates if baseline.members > 1 else rates[:, 0], made_with


def spacing(forecaster: Forecaster, checkpoint: str) -> np.timedelta64:
    """The timestep that the model was trained on. Errors: DataError where its frames had no times."""
    if forecaster.timestep_minutes is None:
        raise DataError(f"{checkpoint}: trained on frames without times, so it cannot forecast radar; give one trained on radar.")
    return np.timedelta64(round(forecaster.timestep_minutes * 60), "s")


def _steps(config: PredictConfig, name: str) -> tuple[int, int]:
    """Errors: ConfigError where there is neither a checkpoint nor both keys."""
    for key in ("input_steps", "lead_steps"):
        if getattr(config, key) is None:
            raise ConfigError(f"{key}: {name} has no checkpoint to take this from; give both input_steps and lead_steps.")
    assert config.input_steps is not None and config.lead_steps is not None
    return config.input_steps, config.lead_steps


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


def forecast_rates(raw: Tensor, warm: WarmForecaster, precision: Precision, max_memory_gb: float | None) -> NDArray[np.float32]:
    """The past (1, t, 1 + k, h, w) → forecast rates (lead, h, w), in tiles where the whole needs more memory than allowed.

    Errors: DeviceError where tiles do, too.
    """
    tiling = choose_tiling(warm.forecaster, raw.shape, memory_allowed(max_memory_gb, precision.device))
    count = len(tiling.tiles)
    forecast = warm if count == 1 else warm.forecaster
    if count > 1:
        log.info("forecast in %s", tiling)
    whole = None if count > 1 else True  # has no bar
    with precision.autocast(), tqdm(desc="forecasting", unit="tile", leave=False, disable=whole, file=sys.stderr) as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        steps = warm.forecaster.lead_steps
        made = forecast_in_tiles(lambda part: forecast(part.to(precision.device)), raw, steps, tiling, progress)
    values: NDArray[np.float32] = made[0, :, 0].cpu().numpy()
    return values
