"""Counts datasets small enough to be scored by hand, for the tests of what is made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from nowcast.verification.scores import ERROR_SUMS
from nowcast.verification.tally import Tally

OPTIONS: dict[str, Any] = {
    "event_min_wet_share": 0.05, "event_gap_hours": 3, "interval_blocks": "day", "resamples": 200,
    "seed": 0,
}  # fmt: skip


def by_hand(
    hours: Sequence[str],
    tables: Mapping[str, Sequence[Sequence[Sequence[int]]]],
    *,
    wet: Sequence[int] | None = None,
    covered: Sequence[int] | None = None,
    lead_minutes: Sequence[float] | None = None,
    cases: Sequence[int] | None = None,
    **sums: Sequence[Sequence[Sequence[float]]],
) -> xr.Dataset:
    """Counts at 1 mm/h: by forecast, hour and lead time hits, false alarms, misses, correct
    negatives; one case an hour.

    wet, covered: observed pixels of each hour, of 1000. cases: 0 for an hour whose case has no
    scored pixel. sums: error sums (forecast, hour, lead), 0 where not given.
    """
    a, b, c, d = np.moveaxis(np.array(list(tables.values())), -1, 0)
    joint = np.stack([np.stack([d, c], -1), np.stack([b, a], -1)], -2)
    zeros = np.zeros(joint.shape[:3])
    dims = ("forecast", "block", "lead_time")
    ones = np.ones(len(hours), dtype=np.int64)
    return xr.Dataset(
        {
            "joint": ((*dims, "forecast_class", "observed_class"), joint),
            **{
                name: (dims, np.asarray(sums.get(name, zeros), dtype=np.float64))
                for name in ERROR_SUMS
            },
            **{
                name: ((*dims, "wavenumber"), np.zeros((*zeros.shape, 2)))
                for name in ("forecast_power", "observed_power")
            },
            "members": ("forecast", np.ones(len(tables), dtype=np.int64)),
            "observed_wet": ("block", np.array([500] * len(hours) if wet is None else wet)),
            "observed_covered": (
                "block",
                np.array([1000] * len(hours) if covered is None else covered),
            ),
            "minutes": ("block", ones),
            "cases": ("block", ones if cases is None else np.asarray(cases)),
            "unscored_cases": ("block", 0 * ones if cases is None else 1 - np.asarray(cases)),
            "frames": (dims, (joint.sum((-1, -2)) > 0).astype(np.int64)),
        },
        {
            "forecast": list(tables),
            "block": np.array(hours, "datetime64[ns]"),
            "lead_time": (
                [6.0 * (step + 1) for step in range(zeros.shape[2])]
                if lead_minutes is None
                else list(lead_minutes)
            ),
            "threshold": ("threshold", [1.0], {"units": "mm h-1"}),
            "wavenumber": [0.0, 0.5],
        },
        {"timed": 1, "settings": "{}"},
    )


def tallied(hours: Sequence[str], *, members: int = 1, seed: int = 0) -> xr.Dataset:
    """Counts of two cases an hour, random fields of 9 × 8 pixels with gaps, of the hour and the
    seed.
    """
    tally = Tally([0.5, 2.0], [5.0, 10.0, 15.0], scales=[3, 5])
    for hour in hours:
        generator = np.random.default_rng([seed, hours_since_1970(hour)])
        observed = generator.gamma(0.5, 2.0, (2, 3, 9, 8)).astype(np.float32)
        near = observed[:, :, None] * generator.gamma(4.0, 0.25, (2, 3, 1, 9, 8))
        some = generator.gamma(0.5, 2.0, (2, 3, members, 9, 8))
        observed[:, :, 0, 0] = np.nan
        forecasts = {
            "near": torch.from_numpy(near.astype(np.float32)),
            "chance": torch.from_numpy(some.astype(np.float32)),
        }
        times = np.datetime64(hour, "m") + np.array([0, 30], "timedelta64[m]")
        tally.add(times, torch.from_numpy(observed), forecasts)
    counts = tally.dataset()
    counts.attrs["settings"] = "{}"
    return counts


def hours_since_1970(hour: str) -> int:
    return int(np.datetime64(hour, "h").astype(int))
