"""Scores of forecasts in memory, compared with the observed grid."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nowcast.api.settings import configured
from nowcast.config.evaluate import EvaluateConfig
from nowcast.errors import DataError, MissingInputError
from nowcast.evaluation.file_ladders import (
    Ladder,
    differences,
    ladder_of,
    members_in,
    name_of,
    probabilities_at,
)
from nowcast.evaluation.forecast_grid import onto_grid
from nowcast.forecast.dataset import LEAD_TIME, REFERENCE_TIME, check_forecast
from nowcast.forecast.file_members import REALIZATION, members_of
from nowcast.probability.ladder import Probabilities
from nowcast.radar.grid import RATE, check_grid, frames_at
from nowcast.radar.times import Times, show
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.remarks import WITH_MEMBERS
from nowcast.verification.tally import Tally

log = logging.getLogger(__name__)


class ScoreSettings(TypedDict, total=False):
    """Keys of `nowcast evaluate` that change scores; configs/evaluate.yaml explains each."""

    thresholds: list[float]
    fss_scales: list[int]
    interval_blocks: str
    event_min_wet_share: float
    event_gap_hours: int
    resamples: int
    seed: int


def score(
    forecasts: xr.Dataset | Sequence[xr.Dataset],
    grid: xr.Dataset,
    **settings: Unpack[ScoreSettings],
) -> xr.Dataset:
    """Score forecasts against observations, as `nowcast evaluate` does.

    Args:
        forecasts: one, or several with different reference times, as `RadarForecaster.forecast`
            makes them and `open_forecast` reads them. Forecasts by several methods are scored
            together as `chain`; probabilities are scored in the forecasts that have them.
        grid: a canonical grid over all valid times, as `open_grid` opens it: `precipitation_rate`
            (time, y, x) in mm/h, NaN = not covered. A missing frame counts as a frame without a
            measured pixel.
        settings: keys of `nowcast evaluate`, such as `thresholds=[0.5, 1, 2]` in mm/h;
            configs/evaluate.yaml has their defaults.

    Returns:
        Every score X as (part, forecast, lead_time, …), `X_pooled` and `X_mean` without lead_time;
        NaN is undefined. `scores_dataset` says more.

    Raises:
        ConfigError: if a setting is unknown or beyond its limits.
        DataError: if grids, lead times or members differ, if a reference time occurs twice, or if
            no pixel can be scored.
        MissingInputError: if a forecast reaches beyond the grid.

    Example:
        >>> from nowcast import load_forecaster, open_grid
        >>> grid = open_grid("archive/*.nc")
        >>> forecast = load_forecaster("runs/mine/best.pt").forecast(grid, at="2018-05-18T15:00")
        >>> scores = score(forecast, grid, thresholds=[0.5, 1, 2])
        >>> scores["csi"].dims
        ('part', 'forecast', 'lead_time', 'threshold')
    """
    given: Any = forecasts
    cases: list[xr.Dataset] = [*given] if isinstance(given, list | tuple) else [given]
    for one in cases:
        check_forecast(one)
    check_grid(grid)
    config = configured(
        "evaluate", EvaluateConfig, ScoreSettings.__optional_keys__, settings, "the grid",
        forecasts="the forecasts", baseline=None,
    )  # fmt: skip
    if not cases:
        raise DataError("there is no forecast to score; give one or several.")
    name, ladder = name_of(cases), ladder_of(cases)
    leads = cases[0][LEAD_TIME].values
    tally = Tally(config.thresholds, [float(one) for one in leads], scales=config.fss_scales)
    drawn = members_in(cases) > 0
    remarks = dict.fromkeys(_add(tally, name, ladder, one, cases[0], grid, drawn) for one in cases)
    for remark in filter(None, [*remarks, *differences(cases), *tally.remarks]):
        log.warning("%s", remark)
    counts = tally.dataset()
    if not counts["joint"].values.any():
        raise DataError("no pixel is covered by both forecasts and grid; give another grid.")
    return scores_by(config, counts)


def scores_by(config: EvaluateConfig, counts: xr.Dataset) -> xr.Dataset:
    """Return the scores of counts, with the events and intervals of a configuration."""
    return scores_dataset(
        counts,
        event_min_wet_share=config.event_min_wet_share,
        event_gap_hours=config.event_gap_hours,
        interval_blocks=config.interval_blocks,
        resamples=config.resamples,
        seed=config.seed,
    )


def _add(
    tally: Tally,
    name: str,
    ladder: Ladder,
    forecast: xr.Dataset,
    first: xr.Dataset,
    grid: xr.Dataset,
    with_members: bool,
) -> str:
    """Count one forecast. → a remark on its grid, or an empty string. Errors: as `score`."""
    where = f"the forecast from {show(forecast[REFERENCE_TIME].values)} UTC"
    members = [one[RATE].sizes.get(REALIZATION, 1) for one in (forecast, first)]
    if members[0] != members[1] or not np.array_equal(forecast[LEAD_TIME], first[LEAD_TIME]):
        raise DataError(f"{where}: other lead times or members than the first; score them apart.")
    forecast, remark = onto_grid(Path(where), forecast, grid)
    rates = torch.from_numpy(np.ascontiguousarray(forecast[RATE].values))
    fields = {name: rates if rates.ndim == 4 else rates[:, None]}
    if with_members:
        fields[name + WITH_MEMBERS] = torch.from_numpy(np.ascontiguousarray(members_of(forecast)))
    tally.add(
        forecast[REFERENCE_TIME].values[np.newaxis],
        _observed(grid, forecast["time"].values, where)[None],
        {key: field[None] for key, field in fields.items()},
        {name: Probabilities(ladder, probabilities_at(ladder, forecast)[None])} if ladder else {},
    )
    return remark


def _observed(grid: xr.Dataset, times: Times, where: str) -> Tensor:
    """Return the frames at the valid times, (lead, y, x); a missing frame is NaN."""
    held = grid["time"].values
    if not held.size or times[0] < held[0] or times[-1] > held[-1]:
        span = f"holds {show(held[0])} to {show(held[-1])}" if held.size else "is empty"
        raise MissingInputError(
            f"{where}: reaches to {show(times[-1])}, and the grid {span}; open the files of these"
            " times too."
        )
    unknown = np.full(grid[RATE].shape[1:], np.nan, np.float32)
    frames = [unknown if frame is None else frame for frame in frames_at(grid, times)]
    return torch.from_numpy(np.stack(frames))
