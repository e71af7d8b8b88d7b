"""Scores in files: `scores.nc`, and the tables `scores.csv` and `differences.csv`."""

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from nowcast.files import written_whole
from nowcast.signals import uninterrupted
from nowcast.verification.counts_files import NO_AMOUNTS
from nowcast.verification.dataset import AGGREGATES
from nowcast.verification.remarks import CUTS_FITTED_ON, WITH_CUTS
from nowcast.verification.scoring import TABLE, ranked_events

COUNTED = (*TABLE, "pixels")
_FORMULA = ("=", "+", "-", "@")
"""The start of a text that a spreadsheet would compute, after any blanks."""
_WORTH_PACKING = 1000  # numbers: compressing fewer costs more space and time than it saves


def write_scores(
    dataset: xr.Dataset, folder: str | Path, amounts: Mapping[str, xr.Dataset] = NO_AMOUNTS
) -> tuple[Path, Path]:
    """Write `scores.nc` and `scores.csv` into the folder, each complete or not at all; return their
    paths.

    The table has a row for each part, forecast, lead time and threshold. The row of an aggregate
    has 'pooled' or 'mean' as its `aggregate` and no `lead_minutes`; parts other than 'all' only
    have aggregates. Values without a threshold (pixels, errors) are repeated at each. An undefined
    score is 'nan'; a mean has no counts; intervals are next to the means of 'all'. If cuts were
    fitted, the last column has the days of the fit. A text that a spreadsheet would compute begins
    with an apostrophe.

    amounts: the scores of rain sums, by group. Each is a group of `scores.nc`. Their rows follow in
    the table, which then has a column `group`, empty for rates; their thresholds are in mm.

    Errors: CannotCreateError, InputOutputError.
    """
    netcdf, table = Path(folder) / "scores.nc", Path(folder) / "scores.csv"
    with written_whole(netcdf) as temporary, uninterrupted():
        _append(dataset, temporary, None)
        for group, one in amounts.items():
            _append(one, temporary, group)
    _write_csv(_whole_table(dataset, amounts), table)
    return netcdf, table


def _append(dataset: xr.Dataset, path: Path, group: str | None) -> None:
    large = [name for name, variable in dataset.data_vars.items() if variable.size > _WORTH_PACKING]
    packed: dict[str, Any] = {"zlib": True, "complevel": 4, "shuffle": True}
    complete: dict[str, Any] = {"_FillValue": None}  # CF allows none in a coordinate
    encoding: dict[Any, dict[str, Any]] = {
        **dict.fromkeys(large, packed),
        **dict.fromkeys(dataset.indexes, complete),
    }
    mode: Literal["a", "w"] = "a" if group else "w"
    dataset.to_netcdf(path, mode=mode, group=group, engine="netcdf4", encoding=encoding)


def _whole_table(dataset: xr.Dataset, amounts: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """Return the rows of rates, followed by those of rain sums."""
    if not amounts:
        return _table(dataset)
    tables = [_table(one).assign(group=group) for group, one in {"": dataset, **amounts}.items()]
    whole = pd.concat(tables, ignore_index=True)
    for column in whole.columns.difference(tables[-1].columns):  # columns that sums do not have
        whole[column] = whole[column].astype(object).where(whole["group"] == "", "")
    return whole


def write_differences(dataset: xr.Dataset, folder: str | Path) -> Path:
    """Write `differences.csv` into the folder, complete or not at all; return its path.

    A row for each score, threshold and two forecasts: the mean over lead times of the first minus
    that of the second, its interval, and the p value of swapping the two. Scores without thresholds
    have an empty threshold. An undefined number is 'nan'.

    Errors: CannotCreateError, InputOutputError.
    """
    path = Path(folder) / "differences.csv"
    columns = ("score", "threshold", "forecast", "other_forecast", "difference", "low", "high", "p")
    _write_csv(pd.DataFrame(_differences(dataset), columns=columns, dtype=object), path)
    return path


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with written_whole(path) as temporary:
        table.map(_as_text).to_csv(
            temporary, index=False, na_rep="nan", lineterminator="\n", encoding="utf-8"
        )


def _differences(dataset: xr.Dataset) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the table of differences."""
    end = "_mean_difference"
    for name in [str(one) for one in dataset.data_vars if str(one).endswith(end)]:
        here = dataset[[name, f"{name}_low", f"{name}_high", f"{name}_p"]]
        further = [str(dim) for dim in here[name].dims[2:]]
        for labels in product(*[dataset[dim].values.tolist() for dim in further]):
            where = dict(zip(further, labels, strict=True))
            scale = f"_{where['scale']}" if "scale" in where else ""
            numbers = here.sel(where).to_array().values
            for one, other in combinations(range(dataset.sizes["forecast"]), 2):
                pair = [str(dataset["forecast"].values[place]) for place in (one, other)]
                score = name.removesuffix(end) + scale
                yield score, where.get("threshold", ""), *pair, *numbers[:, one, other]


def _table(dataset: xr.Dataset) -> pd.DataFrame:
    """Return the rows of the table; a cell without a number is ''."""
    parts, forecasts, leads, thresholds = (
        dataset[dim].values.tolist() for dim in ("part", "forecast", "lead_time", "threshold")
    )
    rows = [*((lead, "") for lead in leads), *(("", aggregate) for aggregate in AGGREGATES)]
    table = pd.DataFrame(
        [
            (part, forecast, lead, threshold, aggregate)
            for part, forecast, (lead, aggregate), threshold in product(
                parts, forecasts, rows, thresholds
            )
        ],
        columns=["part", "forecast", "lead_minutes", "threshold", "aggregate"],
        dtype=object,
    )
    numbers = {name: values.ravel() for name, values in _columns(dataset).items()}
    whole = pd.concat([table, pd.DataFrame(numbers)], axis="columns")
    if CUTS_FITTED_ON in dataset.attrs:
        has_cuts = whole["forecast"].str.endswith(WITH_CUTS)
        whole[CUTS_FITTED_ON] = np.where(has_cuts, dataset.attrs[CUTS_FITTED_ON], "")
    return whole[(whole["part"] == parts[0]) | (whole["aggregate"] != "")]


def _as_text(cell: object) -> object:
    """Return a cell; text is changed so that no spreadsheet computes it."""
    return _plain(cell) if isinstance(cell, str) else cell


def _plain(text: str) -> str:
    """Return a text without line breaks and other unprintable characters, and with an apostrophe if
    a spreadsheet would compute it.
    """
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return (
        f"'{printable}"
        if printable.lstrip().startswith(_FORMULA) or printable[:1].isspace()
        else printable
    )


def _columns(dataset: xr.Dataset) -> dict[str, NDArray[np.object_]]:
    """Return the columns of the table, (part, forecast, lead times + pooled + mean, threshold)."""
    columns = {
        name: _column(dataset, dataset[name], dataset[name].sum("lead_time"), None)
        for name in COUNTED
    }
    for name in [str(name) for name in dataset.data_vars if f"{name}_pooled" in dataset]:
        ways = [dataset[f"{name}{way}"] for way in ("", "_pooled", "_mean")]
        if "scale" not in dataset[name].dims:
            columns[name] = _column(dataset, *ways)
            continue
        for scale in dataset["scale"].values:
            columns[f"{name}_{scale}"] = _column(dataset, *[way.sel(scale=scale) for way in ways])
    names = [score.name for score in ranked_events()]
    for name, bound in product(names, ("low", "high")):
        columns[f"{name}_{bound}"] = _column(dataset, None, None, None)
        columns[f"{name}_{bound}"][0, :, -1] = dataset[f"{name}_mean_{bound}"].values
    return columns


def _column(
    dataset: xr.Dataset,
    by_lead: xr.DataArray | None,
    whole: xr.DataArray | None,
    mean: xr.DataArray | None,
) -> NDArray[np.object_]:
    parts, forecasts, leads, thresholds = (
        dataset.sizes[dim] for dim in ("part", "forecast", "lead_time", "threshold")
    )
    cells = np.full((parts, forecasts, leads + len(AGGREGATES), thresholds), "", dtype=object)
    for place, values in ((slice(None, leads), by_lead), (-2, whole), (-1, mean)):
        if values is not None:
            cells[:, :, place] = (
                values.values if "threshold" in values.dims else values.values[..., None]
            )
    return cells
