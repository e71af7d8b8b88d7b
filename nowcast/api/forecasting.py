"""Forecasts by a trained model from a grid in memory."""

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import xarray as xr

from nowcast.api.settings import configured
from nowcast.config.predict import PredictConfig
from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.factories.models import steps_of
from nowcast.periods import parse_time
from nowcast.pretrained import PRETRAINED
from nowcast.radar.grid import check_grid
from nowcast.service.cycle import dataset_of, note
from nowcast.service.grid_frames import GridFrames
from nowcast.service.methods import Methods
from nowcast.service.model_cache import checksum_of
from nowcast.service.report import Report

log = logging.getLogger(__name__)


class ForecastSettings(TypedDict, total=False):
    """Keys of `nowcast predict` that change a forecast; configs/predict.yaml explains each."""

    device: str
    precision: str
    max_memory_gb: float | None
    input_paths: dict[str, str]
    missing_frames: int
    max_gap: float
    gap_filling: str
    other_grid: bool
    max_wet_ratio: float
    rate: str
    lead_steps: int | None
    ensemble: int | None
    seed: int
    institution: str | None
    licence: str | None
    contact: str | None
    accumulations: list[int]
    accumulation_thresholds: list[float]


class RadarForecaster:
    """A trained model that forecasts from radar grids; `load_forecaster` opens one.

    Attributes:
        input_steps: number of input frames.
        lead_steps: number of forecast frames.
        timestep_minutes: spacing of both, in minutes. A model for any grid also takes other
            spacings; the numbers of frames then change as in `nowcast predict`.

    Example:
        >>> from nowcast import load_forecaster
        >>> from nowcast.radar import synthetic_grid
        >>> grid = synthetic_grid(3, 16, 16, start="2020-01-01T00:00")
        >>> model = load_forecaster("runs/mine/best.pt")
        >>> model.input_steps, model.lead_steps, model.timestep_minutes
        (3, 4, 5.0)
        >>> forecast = model.forecast(grid, at="2020-01-01T00:10")
        >>> dict(forecast.sizes)
        {'time': 4, 'y': 16, 'x': 16}
    """

    def __init__(self, config: PredictConfig, checksum: str) -> None:
        self._config, self._checksum = config, checksum
        self._methods = Methods(config)

    @property
    def about(self) -> Mapping[str, Any]:
        """The checkpoint's metadata: its configuration, place and versions."""
        assert self._methods.model is not None
        return self._methods.model.about

    @property
    def input_steps(self) -> int:
        assert self._methods.model is not None
        return steps_of(self._methods.model)[0]

    @property
    def lead_steps(self) -> int:
        assert self._methods.model is not None
        return self._config.lead_steps or steps_of(self._methods.model)[1]

    @property
    def timestep_minutes(self) -> float | None:
        minutes: float | None = self.about["config"]["timestep_minutes"]
        return minutes

    def forecast(
        self,
        grid: xr.Dataset,
        at: str | date | np.datetime64 | xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Forecast from the frames of a grid up to a time, as `nowcast predict` does.

        Args:
            grid: a canonical grid, as `open_grid` opens it: `precipitation_rate` (time, y, x) in
                mm/h, NaN = not covered. Only the input frames are read.
            at: forecast reference time in UTC; None takes the newest frame.

        Returns:
            The CF forecast, as `open_forecast` reads it: `precipitation_rate` (time, y, x) in mm/h
            at each valid time, with `forecast_reference_time` and `lead_time` in minutes. A model
            with probabilities adds `probability` (time, threshold, y, x). `ensemble` adds members
            drawn from them, `member_rate` (time, realization, y, x) in mm/h; `accumulations` adds
            sums in mm, such as `accumulation_30min` (time, y, x).

        Raises:
            ConfigError: if `at` is not a time, or `ensemble` is set and the model has no
                probabilities.
            DataError: if the grid is not canonical, or differs from the grid of the training.
            MissingInputError: if more frames are missing than `missing_frames` allows.
            DeviceError: if the memory is too small.
            InternalError: if the forecast is not finite or not plausible.
        """
        check_grid(grid)
        if not grid.sizes["time"]:
            raise DataError("the grid holds no frame; open files that have some.")
        times = grid["time"].values
        moment = times[-1] if at is None else _moment(at)
        config = replace(self._config, data=replace(self._config.data, path=_name_of(grid)))
        methods = copy(self._methods)  # with the same model
        methods.config = config
        made = methods.forecast(GridFrames(grid, config), moment)
        report = Report()
        note(report, made, config)
        for remark in report.remarks:
            log.warning("%s", remark)
        return dataset_of(made, config, {"checkpoint_sha256": self._checksum})


def _moment(at: Any) -> np.datetime64:
    """Return a time in UTC, given as any usual type. Errors: ConfigError if it is not a time."""
    if isinstance(at, str):
        given: np.datetime64 = parse_time("at", at).astype("datetime64[ns]")
        return given
    if isinstance(at, datetime) and at.tzinfo is not None:
        at = at.astimezone(UTC).replace(tzinfo=None)
    value: Any = getattr(at, "values", at)
    if isinstance(value, date | np.datetime64 | np.ndarray) and getattr(value, "shape", ()) == ():
        moment: np.datetime64 = np.array([value]).astype("datetime64[ns]")[0]
        if not np.isnat(moment):
            return moment
    raise ConfigError(f"at: {at!r} is not a time; give one in UTC, as 2018-05-18T15:00.")


def load_forecaster(
    path: str | Path | Sequence[str | Path] = PRETRAINED, **settings: Unpack[ForecastSettings]
) -> RadarForecaster:
    """Open a trained model that forecasts from grids.

    Args:
        path: of a checkpoint from `nowcast train`, or of a model from `nowcast export` (.onnx); by
            default the model that comes with nowcast. A glob or a list gives several checkpoints
            that forecast as one.
        settings: keys of `nowcast predict`, such as `device="cpu"` or `missing_frames=1`;
            configs/predict.yaml has their defaults.

    Returns:
        The model on its device. It may be used from several threads.

    Raises:
        MissingInputError: if there is no such file.
        DataError: if it is damaged or not a model.
        ConfigError: if a setting is unknown or beyond its limits.
        DeviceError: if the device does not exist.

    Example:
        >>> model = load_forecaster("runs/mine/best.pt", device="cpu", precision="fp32")
        >>> model.lead_steps
        4
    """
    given = str(path) if isinstance(path, str | Path) else [str(one) for one in path]
    config = configured(
        "predict", PredictConfig, ForecastSettings.__optional_keys__, settings, "the grid",
        checkpoint=given,
    )  # fmt: skip
    checkpoints = config.checkpoints
    for one in checkpoints:
        if not Path(one).is_file():
            raise MissingInputError(
                f"{one}: no such checkpoint; give one from 'nowcast train', such as runs/…/best.pt."
            )
    return RadarForecaster(config, checksum_of(checkpoints))


def _name_of(grid: xr.Dataset) -> str:
    """Return the path of a grid's frames, for messages and the forecast's attributes."""
    series = grid.encoding.get("series")
    if series is None:
        return "the grid"
    first, last = str(series.files[0].path), series.files[-1].path
    return first if len(series.files) == 1 else f"{first} to {last.name}"
