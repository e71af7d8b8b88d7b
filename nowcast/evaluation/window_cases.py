"""Cases that are forecast during the evaluation: windows of a series or of moving digits, forecast
by a model and by baselines.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from nowcast.baselines import RECORDS, baseline_record
from nowcast.config.data import MovingMnistConfig, RadarConfig
from nowcast.config.evaluate import EvaluateConfig
from nowcast.errors import ConfigError, DataError
from nowcast.evaluation.cases import Cases, Predictor, cases_of, left_out, made_by, may_miss
from nowcast.evaluation.known_days import remarks_on_known_days
from nowcast.factories.baselines import open_baseline
from nowcast.factories.extra_inputs import open_fields
from nowcast.factories.models import (
    refuse_other_size,
    refuse_other_timestep,
    refuse_too_many_missing,
    steps_at,
)
from nowcast.factories.radar import open_radar
from nowcast.factories.windows import moving_mnist_windows, open_forecaster, pack_radar
from nowcast.forecast.any_grid import beyond_experience, is_for_any_grid, on_grid
from nowcast.forecast.dataset import MODEL
from nowcast.forecast.forecaster import Forecaster, turned
from nowcast.forecast.members import with_members
from nowcast.forecast.memory import memory_allowed
from nowcast.forecast.pooling import Part, pooled
from nowcast.forecast.regional import forecast_within
from nowcast.forecast.tiling import Tiling, choose_tiling, tiled_forecast
from nowcast.periods import Period, parse_period
from nowcast.pretrained import checkpoint_name
from nowcast.probability.forecast import Forecast
from nowcast.radar.grid import RATE
from nowcast.radar.placing.grid_match import AS_STORED, Turn, refuse_other_grid, turn_of
from nowcast.radar.placing.place import known_pixel_km
from nowcast.radar.placing.regions import Region, find_region
from nowcast.radar.times import Times
from nowcast.sequences.clock import clock_of
from nowcast.sequences.packed import PackedRates
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick, RadarWindows, Windows
from nowcast.training.checkpoints import Checkpoint
from nowcast.training.precision import Precision

log = logging.getLogger(__name__)

_NEAR = np.timedelta64(2, "h")
"""How far from a period of one frame others are looked for, for the spacing of frames."""


class WindowCases:
    """Cases that are forecast during the evaluation: the windows `picks` of a series, forecast by
    each of `predictors`.
    """

    def __init__(
        self,
        windows: Windows,
        picks: Sequence[Pick],
        predictors: Mapping[str, Predictor],
        lead_minutes: list[float],
        grid: xr.Dataset | None,
        device: torch.device,
        drop_frames: int = 0,
        remarks: Sequence[str] = (),
        ensemble: int | None = None,
        seed: int = 0,
    ) -> None:
        self.windows, self.picks, self.predictors = windows, picks, predictors
        self.lead_minutes, self.grid, self.device, self.drop_frames = (
            lead_minutes,
            grid,
            device,
            drop_frames,
        )
        self.remarks, self.rates_by, self.fitted_on = list(remarks), list[str](), ""
        self.ensemble, self.seed = ensemble, seed
        self.times = np.array([self._time(pick) for pick in self.picks], dtype="datetime64[ns]")

    def past(self, indices: Sequence[int]) -> Tensor:
        """Return the raw frames (b, t, 1 + k, h, w) that these cases are forecast from."""
        return self._sequence(indices)[:, : self.windows.input_steps]

    def _sequence(self, indices: Sequence[int]) -> Tensor:
        picked = [self.windows[self.picks[index]] for index in indices]
        return torch.stack(picked).to(self.device)

    def read(self, indices: Sequence[int]) -> Cases:
        """Forecast these cases."""
        steps, sequence = self.windows.input_steps, self._sequence(indices)
        past, observed = sequence[:, :steps], sequence[:, steps:, 0]
        forecasts: dict[str, Tensor | Forecast] = {}
        missing = self._missing(indices, steps).to(past.device)
        for name, predictor in self.predictors.items():
            seen = past
            if isinstance(predictor, ModelPredictor):
                seen = predictor.forecaster.inputs.window(sequence, steps)
                if bool(missing.any()):
                    seen = predictor.forecaster.without(seen, missing)
            forecasts[name] = self._with_members(made_by(predictor, seen), seen)
        return cases_of(self.times[list(indices)], observed, forecasts)

    def _with_members(self, made: Tensor | Forecast, seen: Tensor) -> Tensor | Forecast:
        """Add members, if requested, to a forecast from a raw window (b, t, 1 + k, h, w)."""
        if self.ensemble is None or not isinstance(made, Forecast):
            return made
        steps = self.windows.input_steps
        return with_members(made, seen[:, :steps, 0], self.ensemble, self.seed)

    def _missing(self, indices: Sequence[int], steps: int) -> Tensor:
        """Return which input frames are missing or removed, (b, steps)."""
        missing = frames_taken_away(
            [self._seed(index) for index in indices], steps, self.drop_frames
        )
        if isinstance(self.windows, RadarWindows):
            starts = [self.picks[index].start for index in indices]
            missing |= torch.from_numpy(
                np.stack([self.windows.clock.missing[start : start + steps] for start in starts])
            )
        return missing

    def _time(self, pick: Pick) -> np.datetime64:
        if not isinstance(self.windows, RadarWindows):
            return np.datetime64(pick.start, "m")
        return self.windows.clock.times[pick.start + self.windows.input_steps - 1]  # type: ignore[no-any-return]

    def _seed(self, index: int) -> int:
        if not isinstance(self.windows, RadarWindows):
            return self.picks[index].start
        return abs(int(self.times[index].astype("datetime64[s]").astype(int)))


@dataclass
class ModelPredictor:
    """A trained model on its device, in tiles if the whole grid does not fit into memory.

    turn: turns the frames for the model, and its forecast back.
    region: the region the model was trained on; None for the whole grid.
    """

    forecaster: Forecaster
    precision: Precision
    turn: Turn = AS_STORED
    region: Region | None = None
    _tiling: Tiling | None = None

    def __call__(self, past: Tensor) -> Forecast:
        """The past (b, t, 1 + k, h, w) → its forecast, NaN outside the region of the model."""
        size = (int(past.shape[-2]), int(past.shape[-1]))
        return pooled([self.part(past)], size)

    def part(self, past: Tensor) -> Part:
        """The past (b, t, 1 + k, h, w) → the forecast of the region of the model."""
        seen, calibration = self.turn(past), self.forecaster.calibration
        if self.region is None:
            return Part(turned(self._forecast(seen), self.turn), calibration)
        region = self.region.turned(self.turn, past.shape[-2:])
        made = forecast_within(self.forecaster, region, seen, self._forecast)
        return Part(turned(made, self.turn), calibration, self.region)

    def _forecast(self, seen: Tensor) -> Forecast:
        if self._tiling is None:  # the first batch is the largest
            self._tiling = choose_tiling(
                self.forecaster, seen.shape, memory_allowed(None, self.precision.device)
            )
        with self.precision.autocast():
            return tiled_forecast(self.forecaster, seen, self._tiling, self.precision.device)


def frames_taken_away(seeds: Sequence[int], steps: int, count: int) -> Tensor:
    """Return which `count` of `steps` input frames are removed from a case, (b, steps), never the
    newest. They depend only on its seed, so they are the same in every run.
    """
    missing = torch.zeros(len(seeds), steps, dtype=torch.bool)
    for row, seed in zip(missing, seeds, strict=True):
        row[np.random.default_rng(seed).permutation(steps - 1)[:count]] = True
    return missing


def open_digit_cases(
    config: EvaluateConfig, data: MovingMnistConfig, precision: Precision, name: str = MODEL
) -> WindowCases:
    assert config.checkpoint is not None
    strangers = [name for name in config.baseline if baseline_record(name).is_for_radar]
    if strangers:
        others = [name for name, record in RECORDS.items() if not record.is_for_radar]
        raise ConfigError(
            f"baseline: {', '.join(sorted(strangers))} is for radar; with digits choose"
            f" {' or '.join(others)}."
        )
    forecaster, checkpoint = open_forecaster(config.checkpoint, precision, config.rate)
    refuse_too_many_missing("drop_frames", config.drop_frames, forecaster.input_steps)
    _refuse_other_kind(
        config.checkpoint, checkpoint["config"]["data"]["name"], data.path, on_digits=True
    )
    windows = moving_mnist_windows(data, "test", forecaster.input_steps, forecaster.lead_steps, 0)
    steps = {"input_steps": forecaster.input_steps, "lead_steps": forecaster.lead_steps}
    predictors: dict[str, Predictor] = {name: ModelPredictor(forecaster, precision)}
    for baseline in config.baseline:
        predictors[baseline] = open_baseline(
            baseline,
            None,
            None,
            **steps,
            timestep_minutes=1.0,
            members=config.members,
            seed=config.seed,
        )
    lead_minutes = list(np.arange(1.0, forecaster.lead_steps + 1))
    picks = windows.epoch(0)
    return WindowCases(
        windows, picks, predictors, lead_minutes, None, precision.device, config.drop_frames
    )


def open_radar_cases(
    config: EvaluateConfig,
    data: RadarConfig,
    precision: Precision,
    name: str = MODEL,
    times: Times | None = None,
) -> WindowCases:
    """Open the cases of a period.

    Args:
        name: of the model.
        times: the reference times to score; None for every `stride`-th.
    """
    period = scored_period(config, data)
    opened = (
        open_forecaster(config.checkpoint, precision, config.rate)
        if config.checkpoint is not None
        else None
    )
    input_steps, lead_steps = config.input_steps or 0, config.lead_steps or 0
    grid = open_radar(data, period)
    minutes = float(grid.attrs["timestep_minutes"])
    if not np.isfinite(minutes):  # a period of one frame
        near = Period(period.start - _NEAR, period.end + _NEAR)
        grid = open_radar(data, period, around=near, opened=grid)
        minutes = float(grid.attrs["timestep_minutes"])
    if not np.isfinite(minutes):
        raise DataError(
            f"{data.path}: holds a single frame from {near}, so the spacing of frames is unknown;"
            " give more files."
        )
    if opened:
        called = checkpoint_name(str(config.checkpoint))
        forecaster = set_to_grid(*opened, grid, config.lead_steps, called)
        opened = forecaster, opened[1]
        input_steps, lead_steps = forecaster.input_steps, forecaster.lead_steps
    reach = _reach(period, grid, input_steps, lead_steps)
    grid = open_radar(data, period, around=reach, opened=grid)
    predictors: dict[str, Predictor] = {}
    remarks: list[str] = []
    scaling, fields = Scaling("linear", 1.0, 1.0), None
    if opened:
        forecaster, checkpoint = opened
        for key in ("drop_frames", "missing_frames"):
            refuse_too_many_missing(key, getattr(config, key), forecaster.input_steps)
        _refuse_other_kind(
            str(config.checkpoint), checkpoint["config"]["data"]["name"], data.path, on_digits=False
        )
        seen_days = remarks_on_known_days(Period(period.start, reach.end), checkpoint, called)
        refuse_other_timestep(checkpoint["config"], minutes, data.path)
        region = _region_of(checkpoint, grid, data.path)
        seen = grid[RATE].shape[1:] if region is None else region.size
        refuse_other_size(checkpoint["config"], seen, data.path)
        turn = turn_of(checkpoint.get("place"), grid)
        any_grid = is_for_any_grid(checkpoint["config"])
        remarks += filter(
            None,
            [
                refuse_other_grid(checkpoint.get("place"), grid, data.path, allowed=True),
                turn.remark,
                beyond_experience(known_pixel_km(grid), minutes) if any_grid else "",
            ],
        )
        for remark in remarks:
            log.warning("%s: %s", data.path, remark)
        for remark in seen_days:
            log.warning("%s", remark)
        remarks += seen_days
        fields = open_fields(checkpoint["config"], grid, reach, data.cache, config.input_paths)
        predictors[name] = ModelPredictor(forecaster, precision, turn, region)
        if region is not None:
            remarks.append(f"{called} forecasts only the region it was trained on: {region}")
        scaling = forecaster.scaling
    predictors |= open_baselines(config, data, grid, input_steps, lead_steps)
    rates = pack_radar(data, grid, reach)
    starts, without_input = choose_starts(config, rates, period, input_steps, lead_steps, times)
    remarks += without_input
    windows = RadarWindows(
        rates,
        reach,
        input_steps=input_steps,
        lead_steps=lead_steps,
        scaling=scaling,
        fields=fields,
        starts=starts,
    )
    lead_minutes = [minutes * step for step in range(1, lead_steps + 1)]
    picks = windows.epoch(0)
    return WindowCases(
        windows,
        picks,
        predictors,
        lead_minutes,
        grid,
        precision.device,
        config.drop_frames,
        remarks,
        config.ensemble,
        config.seed,
    )


def _region_of(checkpoint: Checkpoint, grid: xr.Dataset, where: str) -> Region | None:
    """Return the region of a model, None for the whole grid. Errors: as `find_region`."""
    stored = checkpoint.get("region")
    return None if stored is None else find_region(stored, grid, where)


def set_to_grid(
    forecaster: Forecaster,
    checkpoint: Checkpoint,
    grid: xr.Dataset,
    lead_steps: int | None,
    name: str,
) -> Forecaster:
    """Return the forecaster of a checkpoint for a grid: a model for any grid is adapted to its
    pixel size and time step. `name` stands for the checkpoint in messages.

    Errors: ConfigError if it cannot forecast so many steps.
    """
    config, minutes = checkpoint["config"], float(grid.attrs["timestep_minutes"])
    own = forecaster.input_steps, forecaster.lead_steps
    _, steps = steps_at(config, own, name, minutes, lead_steps)
    if not is_for_any_grid(config):
        return forecaster
    return on_grid(forecaster, known_pixel_km(grid), minutes, steps)


def open_baselines(
    config: EvaluateConfig, data: RadarConfig, grid: xr.Dataset, input_steps: int, lead_steps: int
) -> dict[str, Predictor]:
    """Open the baselines of the configuration for the frames of a grid, by name."""
    return {
        name: open_baseline(
            name, grid, data,
            input_steps=input_steps, lead_steps=lead_steps,
            timestep_minutes=float(grid.attrs["timestep_minutes"]), members=config.members,
            seed=config.seed,
        )
        for name in config.baseline
    }  # fmt: skip


def _reach(period: Period, grid: xr.Dataset, input_steps: int, lead_steps: int) -> Period:
    """Return the span of the frames of all cases of a period. A case belongs to the period of its
    forecast reference time, so none is lost between two periods, and their counts add up.
    """
    timestep = np.timedelta64(round(grid.attrs["timestep_minutes"] * 60), "s")
    return Period(period.start - timestep * (input_steps - 1), period.end + timestep * lead_steps)


def choose_starts(
    config: EvaluateConfig,
    rates: PackedRates,
    period: Period,
    input_steps: int,
    lead_steps: int,
    wanted: Times | None = None,
) -> tuple[NDArray[np.int64], list[str]]:
    """Return where the cases start, and remarks. These are the cases with a reference time in the
    period, every `stride`-th timestep from its start, or the wanted ones.

    A case lies between the first and the last frame. A missing input frame excludes it unless
    `may_miss` allows that; a missing observed frame only loses its pixels. Errors: DataError
    without a case.
    """
    clock, steps, allowed = clock_of(rates), input_steps + lead_steps, may_miss(config, input_steps)
    everywhere = Period(rates.times[0], rates.times[-1]) if rates.times.size else period
    starts = clock.starts(everywhere, steps)
    times = clock.times[starts + input_steps - 1]
    chosen = (
        (times - period.start) // rates.timestep % config.stride == 0
        if wanted is None
        else np.isin(times, wanted)
    )
    starts = starts[(times >= period.start) & (times <= period.end) & chosen]
    if not starts.size:
        raise DataError(
            f"no case of {steps} frames from {period}; the data hold {everywhere}. Give another"
            " period, or fewer steps."
        )
    newest = clock.missing[starts + input_steps - 1]
    usable = ~newest & (clock.missing_in(starts, input_steps) <= allowed)
    remarks = (
        [left_out(clock.times[starts[~usable] + input_steps - 1], starts.size, allowed)]
        if not usable.all()
        else []
    )
    wet = clock.mean_of(rates.wet_share, starts, steps) >= config.min_wet_share
    if not (usable & wet).any():
        allow = (
            ", or allow missing frames with missing_frames=1"
            if config.checkpoint is not None and remarks
            else ""
        )
        why = remarks[0] if remarks and not usable.any() else "none is wet enough"
        raise DataError(f"no case from {period}: {why}; give another period{allow}.")
    for remark in remarks:
        log.warning("%s", remark)
    return starts[usable & wet], remarks


def _refuse_other_kind(checkpoint: str, trained_on: str, path: str, *, on_digits: bool) -> None:
    if (trained_on == "moving_mnist") != on_digits:
        kind, given = ("radar", "moving_mnist") if on_digits else ("moving_mnist", path)
        raise ConfigError(
            f"data: the model of {checkpoint} was trained on {kind}, but {given} is something else."
        )


def scored_period(config: EvaluateConfig, data: RadarConfig) -> Period:
    if config.period is not None:
        return parse_period("period", config.period)
    if data.test is not None:
        return parse_period("data.test", data.test)
    raise ConfigError(
        "period: give the first and the last day to score, as period=[2018-05-17,2018-05-20], or"
        " set data.test."
    )
