"""From counts to files: all scores as one labelled dataset, written as NetCDF and as a plain table."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from nowcast.errors import DataError
from nowcast.files import written_whole
from nowcast.verification import scores
from nowcast.verification.counts import Counts

COUNTED = ("hits", "false_alarms", "misses", "correct_negatives", "pixels")
DIVIDED = {
    "csi": (scores.csi, "critical success index", "1"),
    "hss": (scores.hss, "Heidke skill score", "1"),
    "pod": (scores.pod, "probability of detection", "1"),
    "far": (scores.far, "false alarm ratio", "1"),
    "pofd": (scores.pofd, "probability of false detection", "1"),
    "ets": (scores.ets, "equitable threat score", "1"),
    "frequency_bias": (scores.frequency_bias, "frequency bias", "1"),
    "mse": (scores.mse, "mean squared error", "mm2 h-2"),
    "mae": (scores.mae, "mean absolute error", "mm h-1"),
    "mean_error": (scores.mean_error, "mean error, forecast minus observed", "mm h-1"),
}
AGGREGATES = {
    "pooled": "counts summed over lead times, then divided",
    "mean": "mean over lead times of the score at each, where it is defined",
}
_DIMS = ("forecast", "lead_time", "threshold")


def scores_dataset(counts: Mapping[str, Counts], lead_minutes: Sequence[float]) -> xr.Dataset:
    """All scores of all forecasts, (forecast, lead_time, threshold) or (forecast, lead_time); NaN is an undefined score.

    `counts` goes by the name of the forecast. Each score comes twice more without lead_time: `…_pooled` sums the counts over
    lead times and then divides; `…_mean` is the mean over lead times of the score at each, leaving out those where it is
    undefined, and NaN where it is undefined at all.

    Errors: DataError where the forecasts were not scored on the same pixels of the same cases.
    """
    _check_alike(counts, lead_minutes)
    first = next(iter(counts.values()))
    dataset = xr.Dataset(
        coords={
            "forecast": ("forecast", list(counts), {"long_name": "forecast that was scored"}),
            "lead_time": ("lead_time", np.asarray(lead_minutes), {"long_name": "lead time", "units": "minute"}),
            "threshold": ("threshold", list(first.thresholds), {"long_name": "an event is at or above", "units": "mm h-1"}),
        },
        attrs={"title": "Scores of precipitation nowcasts", "cases": first.cases},
    )
    for name in COUNTED:
        by_lead = np.stack([getattr(one, name).numpy() for one in counts.values()])
        dataset[name] = _variable(by_lead, name.replace("_", " "), "1")
    for name, (score, long_name, units) in DIVIDED.items():
        by_lead = np.stack([score(one) for one in counts.values()])
        pooled = np.stack([score(one.pooled()) for one in counts.values()])
        dataset[name] = _variable(by_lead, long_name, units)
        dataset[f"{name}_pooled"] = _variable(pooled, f"{long_name}: {AGGREGATES['pooled']}", units)[:, 0]
        dataset[f"{name}_mean"] = _variable(_mean_over_leads(by_lead), f"{long_name}: {AGGREGATES['mean']}", units)[:, 0]
    return dataset


def write_scores(dataset: xr.Dataset, folder: str | Path) -> tuple[Path, Path]:
    """Write `scores.nc` and `scores.csv` into the folder, each whole or not at all; give their paths.

    The table has a row for each forecast, lead time and threshold; in the column `lead_minutes` stand also 'pooled' and
    'mean'. What knows no threshold (pixels, errors) is the same at each. An undefined score is 'nan'; a mean has no counts.

    Errors: CannotCreateError, InputOutputError.
    """
    netcdf, table = Path(folder) / "scores.nc", Path(folder) / "scores.csv"
    with written_whole(netcdf) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4")
    with written_whole(table) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(_csv_rows(dataset))
    return netcdf, table


def _variable(values: npt.NDArray[np.generic], long_name: str, units: str) -> xr.DataArray:
    return xr.DataArray(values, dims=_DIMS[: values.ndim], attrs={"long_name": long_name, "units": units})


def _mean_over_leads(by_lead: scores.Scores) -> scores.Scores:
    """Mean over axis 1, kept with length 1, of what is defined; NaN where nothing is."""
    defined = (~np.isnan(by_lead)).sum(axis=1, keepdims=True)
    mean = np.full(defined.shape, np.nan)
    np.divide(np.nansum(by_lead, axis=1, keepdims=True), defined, out=mean, where=defined > 0)
    return mean


def _csv_rows(dataset: xr.Dataset) -> Iterator[list[object]]:
    names = [*COUNTED, *DIVIDED]
    yield ["forecast", "lead_minutes", "threshold", *names]
    forecasts, leads, thresholds = (dataset[dim].values.tolist() for dim in _DIMS)
    keys = product(forecasts, [*leads, *AGGREGATES], thresholds)
    columns = [_csv_column(dataset, name) for name in names]
    for key, numbers in zip(keys, zip(*columns, strict=True), strict=True):
        yield [*key, *numbers]


def _csv_column(dataset: xr.Dataset, name: str) -> list[object]:
    """One variable over forecast × (lead times, pooled, mean) × threshold, in the order of the rows."""
    by_lead = dataset[name].astype(object)
    if name in COUNTED:
        aggregates = [dataset[name].sum("lead_time").astype(object), xr.full_like(by_lead[:, 0], "", dtype=object)]
    else:
        aggregates = [dataset[f"{name}_{aggregate}"].astype(object) for aggregate in AGGREGATES]
    rows = np.stack([*np.moveaxis(by_lead.values, 1, 0), *[one.values for one in aggregates]], axis=1)
    rows = rows if rows.ndim == 3 else np.repeat(rows[:, :, None], dataset.sizes["threshold"], axis=2)
    return list(rows.ravel())


def _check_alike(counts: Mapping[str, Counts], lead_minutes: Sequence[float]) -> None:
    if not counts:
        raise DataError("there are no counts to score; count at least one forecast.")
    first_name, first = next(iter(counts.items()))
    for name, one in counts.items():
        if one.thresholds != first.thresholds or one.lead_steps != len(lead_minutes):
            raise DataError(
                f"{name}: counted at {one.thresholds} mm/h for {one.lead_steps} lead times; wanted, as in {first_name}, "
                f"{first.thresholds} mm/h, and {len(lead_minutes)} lead times as named. Count all forecasts alike."
            )
        if one.cases != first.cases or not torch.equal(one.joint.sum(1), first.joint.sum(1)):
            raise DataError(f"{name} and {first_name} were scored on different pixels; pass their fields through common_pixels.")
