"""From counts to scores: one labelled dataset of all parts, lead times and thresholds, written as NetCDF and as a plain table."""

import csv
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.files import written_whole
from nowcast.verification import probabilistic
from nowcast.verification.intervals import CONFIDENCE, draws_of, groups_of, percentile_interval
from nowcast.verification.parts import parts_of, weigh
from nowcast.verification.scores import Scores
from nowcast.verification.scoring import TABLE, Shown, Sums, drawn, mean_over_leads, pooled, scores_of, sums_of
from nowcast.verification.spectra import power_ratio

COUNTED = (*TABLE, "pixels")
AGGREGATES = {
    "pooled": "counts summed over lead times, then divided",
    "mean": "mean over lead times of the score at each, where it is defined",
}
WITH_INTERVALS = ("csi", "hss")
"""The scores whose intervals stand in the plain table."""
_NUMBERS_AT_ONCE = 2**22  # of each sum that the bootstrap draws: bounds the memory
_WORTH_PACKING = 1000  # numbers: packing fewer takes more room and time than it saves
_NOT_DRAWN = ("forecast_power", "observed_power", "probability", "rank")

Variables = dict[str, xr.Variable]


def scores_dataset(
    counts: xr.Dataset,
    *,
    event_min_wet_share: float,
    event_gap_hours: int,
    interval_blocks: str,
    resamples: int,
    seed: int,
) -> xr.Dataset:
    """All scores of all forecasts in all parts of the cases; NaN is an undefined score.

    A score X is (part, forecast, lead_time, …), and comes twice more without lead_time: `X_pooled` from counts summed over lead
    times, `X_mean` as the mean over lead times of the score at each, leaving out those where it is undefined. Of the whole, part
    'all', `…_low` and `…_high` bound the 95 % interval of each, and `X_mean_difference` (forecast, other_forecast, …) is what the
    one has above the other, with an interval from the same draws. `probabilistic` explains what ensembles have more.

    Args:
        counts: as `Tally.dataset` gives them, or the sum of several.
        event_min_wet_share, event_gap_hours: what an event is, see `events_of`.
        interval_blocks: what the bootstrap draws, 'day' or 'event', see `groups_of`.
        resamples: how often; 0 leaves all intervals NaN, and so does a single day or event.
        seed: of the draws.
    """
    labels, kinds, weights = parts_of(counts, event_min_wet_share, event_gap_hours)
    groups = groups_of(counts, interval_blocks, event_min_wet_share, event_gap_hours)
    sums = sums_of(weigh(counts, weights))
    by_group = sums_of(weigh(counts.drop_vars(_NOT_DRAWN, errors="ignore"), groups))
    variables = _counted(sums)
    for name, score in scores_of(sums).items():
        variables |= _scored(name, score, sums)
    variables |= _spectra(sums)
    if "probability" in sums:
        variables |= _ensembles(sums)
    draws = draws_of(len(groups), resamples, seed)
    for name, score in scores_of(by_group).items():
        variables |= _intervals(name, score, variables[f"{name}_mean"].values[0], by_group, draws)
    about = {
        "title": "Scores of precipitation nowcasts",
        "Conventions": "CF-1.11",
        "cases": int(sums["cases"][0, 0, 0]),
        "interval_blocks": interval_blocks if counts.attrs["timed"] else "block",
        "blocks": len(groups),
        "resamples": resamples,
        "confidence": CONFIDENCE,
        "seed": seed,
    }
    return xr.Dataset(variables, _coordinates(counts, labels, kinds), {**counts.attrs, **about})


def write_scores(dataset: xr.Dataset, folder: str | Path) -> tuple[Path, Path]:
    """Write `scores.nc` and `scores.csv` into the folder, each whole or not at all; give their paths.

    The table has a row for each part, forecast, lead time and threshold. In the column `lead_minutes` stand also 'pooled' and
    'mean', and of parts other than 'all' these alone. What knows no threshold (pixels, errors) is the same at each. An undefined
    score is 'nan'; a mean has no counts; intervals stand beside the means of 'all'.

    Errors: CannotCreateError, InputOutputError.
    """
    netcdf, table = Path(folder) / "scores.nc", Path(folder) / "scores.csv"
    large = [name for name, variable in dataset.data_vars.items() if variable.size > _WORTH_PACKING]
    packed: dict[str, Any] = {"zlib": True, "complevel": 4, "shuffle": True}
    complete: dict[str, Any] = {"_FillValue": None}  # which CF allows no coordinate to have
    encoding: dict[Any, dict[str, Any]] = {**dict.fromkeys(large, packed), **dict.fromkeys(dataset.indexes, complete)}
    with written_whole(netcdf) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=encoding)
    with written_whole(table) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(_csv_rows(dataset))
    return netcdf, table


def _coordinates(counts: xr.Dataset, labels: list[str], kinds: list[str]) -> dict[str, Any]:
    taken_over = ("forecast", "lead_time", "threshold", "scale", "wavenumber")
    coordinates: dict[str, Any] = {name: counts[name].variable for name in taken_over if name in counts.coords}
    coordinates["lead_time"] = _described(coordinates["lead_time"], "lead time", "minute", standard_name="forecast_period")
    coordinates["forecast"] = _described(coordinates["forecast"], "forecast that was scored")
    coordinates["other_forecast"] = (
        "other_forecast",
        counts["forecast"].values,
        {"long_name": "forecast that it is compared with"},
    )
    coordinates["part"] = ("part", labels, {"long_name": "part of the cases"})
    coordinates["part_kind"] = (
        "part",
        kinds,
        {"long_name": "what the part is: all, day, hour (of the day), event or wet_share; UTC"},
    )
    for name, long_name in (
        ("members_above", "members at or above the threshold"),
        ("rank", "rank of the observation among the members"),
    ):
        if "members_above" in counts.dims:
            numbers = np.arange(counts.sizes["members_above"])
            coordinates[name] = (name, numbers, {"long_name": long_name, "units": "1"})
    return coordinates


def _counted(sums: Sums) -> Variables:
    counted = {name: _variable(sums[name], ("threshold",), name.replace("_", " "), "1") for name in TABLE}
    counted["pixels"] = _variable(sums["pixels"], (), "pixels scored", "1")
    counted["cases"] = xr.Variable("part", sums["cases"][:, 0, 0], {"long_name": "cases scored", "units": "1"})
    return counted


def _scored(name: str, score: Shown, sums: Sums) -> Variables:
    """A score of all parts, in three ways."""
    values = _three_ways(score, sums)
    return {f"{name}{way}": xr.Variable(("part", *_dims(score, way)), values[way], _attrs(score, way)) for way in values}


def _intervals(name: str, score: Shown, mean: Scores, by_group: Sums, draws: NDArray[Any]) -> Variables:
    """Bounds of a score of the whole, in three ways, and what each forecast has above each other one; mean: (forecast, …)."""
    samples = _samples(score, by_group, draws)
    variables: Variables = {}
    for way, values in samples.items():
        variables |= _bounds(f"{name}{way}", values, _dims(score, way), _attrs(score, way))
    dims = ("forecast", "other_forecast", *score.dims)
    attrs = {"long_name": f"{score.long_name}: the mean over lead times of the one less that of the other", "units": score.units}
    variables[f"{name}_mean_difference"] = xr.Variable(dims, mean[:, None] - mean[None, :], attrs)
    differences = samples["_mean"][:, :, None] - samples["_mean"][:, None, :]
    return variables | _bounds(f"{name}_mean_difference", differences, dims, attrs)


def _samples(score: Shown, by_group: Sums, draws: NDArray[Any]) -> dict[str, Scores]:
    """A score of every draw, (draw, forecast, …), in three ways; some draws at once, as many as memory has room for."""
    largest = max(by_group[name][0].size for name in score.needs)
    pieces = np.array_split(draws, -(-len(draws) * largest // _NUMBERS_AT_ONCE) or 1)
    parts = [_three_ways(score, drawn(by_group, piece, score.needs)) for piece in pieces]
    return {way: np.concatenate([part[way] for part in parts]) for way in parts[0]}


def _three_ways(score: Shown, sums: Sums) -> dict[str, Scores]:
    """By lead time (n, forecast, lead_time, …); pooled and as mean (n, forecast, …)."""
    by_lead = score.function(sums)
    whole = score.function(pooled({name: sums[name] for name in score.needs}))
    return {"": by_lead, "_pooled": whole[:, :, 0], "_mean": mean_over_leads(by_lead)}


def _bounds(name: str, samples: Scores, dims: tuple[str, ...], attrs: dict[str, Any]) -> Variables:
    low, high = percentile_interval(samples)
    about = {**attrs, "long_name": f"{attrs['long_name']}: {CONFIDENCE:.0%} interval"}
    return {f"{name}_low": xr.Variable(dims, low, about), f"{name}_high": xr.Variable(dims, high, about)}


def _spectra(sums: Sums) -> Variables:
    """Mean power of a frame, and what share of the observed power a forecast has."""
    cases = np.where(sums["cases"] > 0, sums["cases"], np.nan)[..., None]
    forecast, observed = sums["forecast_power"] / cases, sums["observed_power"] / cases
    of = "radially averaged power spectral density of the rain rate"
    return {
        "forecast_power": _variable(forecast, ("wavenumber",), f"{of}, forecast", "mm2 h-2"),
        "observed_power": _variable(observed, ("wavenumber",), f"{of}, observed", "mm2 h-2"),
        "power_ratio": _variable(power_ratio(forecast, observed), ("wavenumber",), f"{of}, forecast over observed", "1"),
    }


def _ensembles(sums: Sums) -> Variables:
    """What reliability diagram, ROC and rank histogram show, pooled over lead times."""
    probability, rank = sums["probability"].sum(2), sums["rank"].sum(2)
    members = sums["members"][..., 0]  # (1, forecast)
    by_count = {
        "observed_frequency": (
            probabilistic.observed_frequency,
            "share of pixels with an observed event, by members at or above",
        ),
        "probability_pixels": (probabilistic.probability_pixels, "pixels, by members at or above the threshold"),
        "roc_pod": (probabilistic.roc_pod, "probability of detection of so many members or more"),
        "roc_pofd": (probabilistic.roc_pofd, "probability of false detection of so many members or more"),
    }
    by_threshold = {
        "roc_area": (probabilistic.roc_area, "area under the ROC curve"),
        "observed_base_rate": (probabilistic.observed_base_rate, "share of pixels with an observed event"),
    }
    dims = ("part", "forecast", "threshold")
    variables = {
        name: xr.Variable((*dims, "members_above")[: function(probability).ndim], function(probability), _named(long_name))
        for name, (function, long_name) in {**by_count, **by_threshold}.items()
    }
    given = probabilistic.forecast_probability(members[0], probability.shape[-2] - 1)
    variables["forecast_probability"] = xr.Variable(
        ("forecast", "members_above"), given, _named("forecast probability of an event")
    )
    frequency = probabilistic.rank_frequency(rank, members)
    variables["rank_frequency"] = xr.Variable(("part", "forecast", "rank"), frequency, _named("share of pixels with this rank"))
    return variables


def _dims(score: Shown, way: str) -> tuple[str, ...]:
    return ("forecast", *(() if way else ("lead_time",)), *score.dims)


def _attrs(score: Shown, way: str) -> dict[str, Any]:
    long_name = f"{score.long_name}: {AGGREGATES[way[1:]]}" if way else score.long_name
    return {**_named(long_name, score.units), **({} if score.perfect is None else {"perfect": score.perfect})}


def _named(long_name: str, units: str = "1") -> dict[str, Any]:
    return {"long_name": long_name, "units": units}


def _variable(values: NDArray[Any], dims: tuple[str, ...], long_name: str, units: str) -> xr.Variable:
    return xr.Variable(("part", "forecast", "lead_time", *dims), values, _named(long_name, units))


def _described(coordinate: xr.Variable, long_name: str, units: str | None = None, **more: str) -> xr.Variable:
    attrs = {"long_name": long_name, **({} if units is None else {"units": units}), **more}
    return xr.Variable(coordinate.dims, coordinate.values, attrs)


def _csv_rows(dataset: xr.Dataset) -> Iterator[list[object]]:
    columns = _columns(dataset)
    yield ["part", "forecast", "lead_minutes", "threshold", *columns]
    parts, forecasts, leads, thresholds = (dataset[dim].values.tolist() for dim in ("part", "forecast", "lead_time", "threshold"))
    for number, part in enumerate(parts):
        shown = [*(leads if number == 0 else []), *AGGREGATES]
        cells = [values[number, :, -len(shown) :].ravel() for values in columns.values()]
        for key, numbers in zip(product([part], forecasts, shown, thresholds), zip(*cells, strict=True), strict=True):
            yield [*key, *numbers]


def _columns(dataset: xr.Dataset) -> dict[str, NDArray[np.object_]]:
    """The columns of the table, each (part, forecast, lead times + pooled + mean, threshold)."""
    columns = {name: _column(dataset, dataset[name], dataset[name].sum("lead_time"), None) for name in COUNTED}
    for name in [str(name) for name in dataset.data_vars if f"{name}_pooled" in dataset]:
        ways = [dataset[f"{name}{way}"] for way in ("", "_pooled", "_mean")]
        if "scale" not in dataset[name].dims:
            columns[name] = _column(dataset, *ways)
            continue
        for scale in dataset["scale"].values:
            columns[f"{name}_{scale}"] = _column(dataset, *[way.sel(scale=scale) for way in ways])
    for name in [f"{name}_{bound}" for name in WITH_INTERVALS for bound in ("low", "high")]:
        columns[name] = _column(dataset, None, None, None)
        columns[name][0, :, -1] = dataset[name.replace("_", "_mean_")].values
    return columns


def _column(
    dataset: xr.Dataset, by_lead: xr.DataArray | None, whole: xr.DataArray | None, mean: xr.DataArray | None
) -> NDArray[np.object_]:
    parts, forecasts, leads, thresholds = (dataset.sizes[dim] for dim in ("part", "forecast", "lead_time", "threshold"))
    cells = np.full((parts, forecasts, leads + len(AGGREGATES), thresholds), "", dtype=object)
    for place, values in ((slice(None, leads), by_lead), (-2, whole), (-1, mean)):
        if values is not None:
            cells[:, :, place] = values.values if "threshold" in values.dims else values.values[..., None]
    return cells
