"""Scores in files: `scores.nc`, and `scores.csv` and `differences.csv` as plain tables."""

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
from nowcast.verification.scoring import TABLE, shown_in

COUNTED = (*TABLE, "pixels")
_FORMULA = ("=", "+", "-", "@")
"""How a text begins that a spreadsheet computes, after any blanks."""
_WORTH_PACKING = 1000  # numbers: packing fewer takes more room and time than it saves


def write_scores(
    dataset: xr.Dataset, folder: str | Path, amounts: Mapping[str, xr.Dataset] = NO_AMOUNTS
) -> tuple[Path, Path]:
    """Write `scores.nc` and `scores.csv` into the folder, each whole or not at all; give their
    paths.

    The table has a row for each part, forecast, lead time and threshold. A row of an aggregate has
    no `lead_minutes` but 'pooled' or 'mean' as its `aggregate`; parts other than 'all' have only
    these. What knows no threshold (pixels, errors) is the same at each. An undefined score is
    'nan'; a mean has no counts; intervals stand next to the means of 'all'. Where cuts were
    fitted, the last column says on which days. A text that a
    spreadsheet would compute begins with an apostrophe.

    amounts: the scores of sums of rain, by group. Each is a group of `scores.nc`; their rows follow
    in the table, which then has a column `group`, empty for rates, and thresholds in mm for sums.

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
    complete: dict[str, Any] = {"_FillValue": None}  # which CF allows no coordinate to have
    encoding: dict[Any, dict[str, Any]] = {
        **dict.fromkeys(large, packed),
        **dict.fromkeys(dataset.indexes, complete),
    }
    mode: Literal["a", "w"] = "a" if group else "w"
    dataset.to_netcdf(path, mode=mode, group=group, engine="netcdf4", encoding=encoding)


def _whole_table(dataset: xr.Dataset, amounts: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """The rows of rates, and after them those of sums of rain."""
    if not amounts:
        return _table(dataset)
    tables = [_table(one).assign(group=group) for group, one in {"": dataset, **amounts}.items()]
    whole = pd.concat(tables, ignore_index=True)
    for column in whole.columns.difference(tables[-1].columns):  # which sums do not have
        whole[column] = whole[column].astype(object).where(whole["group"] == "", "")
    return whole


def write_differences(dataset: xr.Dataset, folder: str | Path) -> Path:
    """Write `differences.csv` into the folder, whole or not at all; give its path.

    A row for each score, threshold and two forecasts: the mean over lead times of the one less that
    of the other, its interval, and the p value of swapping the two. What knows no threshold has
    none. An undefined number is 'nan'.

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
    """The rows of the table of differences."""
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
    """The rows of the plain table; a cell of no number is ''."""
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
    """A cell; text so that no spreadsheet computes it."""
    return _plain(cell) if isinstance(cell, str) else cell


def _plain(text: str) -> str:
    """A text without line breaks and other signs that do not print, and with an apostrophe
    before what a spreadsheet would compute.
    """
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return (
        f"'{printable}"
        if printable.lstrip().startswith(_FORMULA) or printable[:1].isspace()
        else printable
    )


def _columns(dataset: xr.Dataset) -> dict[str, NDArray[np.object_]]:
    """The columns of the table, each (part, forecast, lead times + pooled + mean, threshold)."""
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
    names = [score.name for score in shown_in("headline", of_events=True)]
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
