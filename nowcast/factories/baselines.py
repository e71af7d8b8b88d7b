"""Build baselines from a configuration and its data."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.baselines import baseline_record
from nowcast.config.data import RadarConfig
from nowcast.errors import ConfigError, DataError
from nowcast.factories.radar import open_radar
from nowcast.factories.windows import pack_radar
from nowcast.forecast.baselines.baseline import Baseline
from nowcast.forecast.baselines.building import build_baseline
from nowcast.periods import parse_period
from nowcast.radar.grid import RATE
from nowcast.radar.placing.place import NOMINAL_KM, pixel_km
from nowcast.sequences.packed import PackedRates

_BLOCK_BYTES = 64 * 2**20


def open_baseline(
    name: str,
    grid: xr.Dataset | None,
    data: RadarConfig | None,
    *,
    input_steps: int,
    lead_steps: int,
    timestep_minutes: float,
    members: int,
    seed: int,
) -> Baseline:
    """Open the baseline of this name for the frames of `grid`, opened from `data`; for frames
    without a place both are None.

    Errors: ConfigError if climatology has no days to average; as open_radar, pack_radar and
    build_baseline.
    """
    record = baseline_record(name)
    return build_baseline(
        name,
        input_steps=input_steps,
        lead_steps=lead_steps,
        timestep_minutes=timestep_minutes,
        pixel_km=pixel_km(grid) if record.needs_spacing else NOMINAL_KM,
        members=members,
        seed=seed,
        climatology=mean_rate(grid, data) if record.needs_days else None,
    )


def mean_rate(grid: xr.Dataset | None, data: RadarConfig | None) -> NDArray[np.float64]:
    """Return the mean rate [mm/h] of each pixel (h, w) over data.train, NaN where never covered.
    Memory does not grow with the number of frames.

    Errors: ConfigError if data.train is missing; DataError if its frames have another size than
    those of `grid`.
    """
    if grid is None or data is None or data.train is None:
        raise ConfigError(
            "data.train: climatology is the mean over these days; give the first and the last, such"
            " as [2018-05-10, 2018-05-15]."
        )
    period = parse_period("data.train", data.train)
    known = open_radar(data, period, opened=grid)
    theirs, ours = known[RATE].shape[1:], grid[RATE].shape[1:]
    if theirs != ours:
        raise DataError(
            f"{data.path}: frames are {theirs} in data.train, but {ours} here; climatology needs"
            " frames of one size."
        )
    return mean_over_time(pack_radar(data, known, period))


def mean_over_time(rates: PackedRates) -> NDArray[np.float64]:
    """Return the mean (h, w) over covered frames, NaN where a pixel is never covered."""
    shape = rates.frames.shape[1:]
    total, count = np.zeros(shape), np.zeros(shape, np.int64)
    block = max(1, _BLOCK_BYTES // (4 * shape[0] * shape[1]))
    for start in range(0, len(rates.times), block):
        frames = np.asarray(rates.frames[start : start + block])
        covered = ~np.isnan(frames)
        total += np.where(covered, frames, 0).sum(axis=0, dtype=np.float64)
        count += covered.sum(axis=0)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
    return mean
