"""Counts and scores of sums of rain: groups next to those of rates, in mm."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from counts_by_hand import OPTIONS

from nowcast.errors import DataError
from nowcast.report.page import render, values_of
from nowcast.verification.counts_files import (
    merge_all_counts,
    open_all_counts,
    open_counts,
    write_counts,
)
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.headline import headline_text
from nowcast.verification.remarks import AMOUNT_TITLE
from nowcast.verification.table import write_scores
from nowcast.verification.tally import Tally

GROUP = "accumulation_30min"


def tallied(cases: slice, units: str = "mm", members: int = 3) -> xr.Dataset:
    """Counts of a model and an ensemble, of some of four cases an hour apart."""
    random = torch.Generator().manual_seed(0)
    observed = torch.rand(4, 2, 8, 9, generator=random) * 4
    ensemble = observed[:, :, None] + torch.rand(4, 2, members, 8, 9, generator=random)
    times = np.datetime64("2020-01-01T00:00", "m") + np.arange(4) * np.timedelta64(60, "m")
    tally = Tally([1.0, 2.0], [30, 35], units=units)
    forecasts = {"model": ensemble[cases, :, :1], "steps": ensemble[cases]}
    tally.add(times[cases], observed[cases], forecasts)
    title = {AMOUNT_TITLE: "Sums over 30 minutes"} if units == "mm" else {}
    return tally.dataset().assign_attrs(title)


def scored(counts: xr.Dataset) -> xr.Dataset:
    return scores_dataset(counts, **{**OPTIONS, "resamples": 0})


def test_groups_of_a_file_come_back_and_add_up(tmp_path: Path) -> None:
    parts = {"a": slice(0, 1), "b": slice(1, 4)}
    for name, cases in parts.items():
        rates, sums = tallied(cases, "mm h-1"), tallied(cases)
        write_counts(rates, tmp_path / name, {GROUP: sums})
        xr.testing.assert_identical(open_counts(tmp_path / name), rates)
    read = [open_all_counts(tmp_path / name) for name in parts]
    assert [list(one) for one in read] == [["", GROUP]] * 2
    merged = merge_all_counts(read, list(parts))
    for key, units in (("", "mm h-1"), (GROUP, "mm")):
        whole = tallied(slice(0, 4), units)
        xr.testing.assert_allclose(merged[key], whole)
        assert (merged[key]["joint"].values == whole["joint"].values).all()
        assert merged[key]["threshold"].attrs["units"] == units
    with pytest.raises(
        DataError, match=r"^b: counted in another way than a \(accumulations differ\)"
    ):
        merge_all_counts([read[0], {"": read[1][""]}], list(parts))


def test_a_damaged_group_is_refused(tmp_path: Path) -> None:
    rates = tallied(slice(0, 4), "mm h-1")
    write_counts(rates, tmp_path / "a", {GROUP: tallied(slice(0, 4)).drop_vars("joint")})
    with pytest.raises(DataError, match="it lacks joint"):
        open_all_counts(tmp_path / "a")


def test_scores_of_sums_are_in_mm_and_none_has_weights_of_rates() -> None:
    rates, sums = (scored(tallied(slice(0, 4), units)) for units in ("mm h-1", "mm"))
    assert [rates[name].attrs["units"] for name in ("mse", "mae", "csi")] == [
        "mm2 h-2",
        "mm h-1",
        "1",
    ]
    assert [sums[name].attrs["units"] for name in ("mse", "mae", "csi")] == ["mm2", "mm", "1"]
    assert sums["forecast_power"].attrs["units"] == "mm2" and "b_mse" in rates
    assert not [name for name in sums.data_vars if str(name).startswith("b_m")]
    np.testing.assert_array_equal(sums["mae"], rates["mae"])
    text = headline_text(sums)
    assert "MSE, mm² " in text and "MAE, mm " in text and "mm/h" not in text
    assert "MSE, mm²/h² " in headline_text(rates)


def test_the_table_has_rows_of_sums_after_those_of_rates(tmp_path: Path) -> None:
    rates, sums = scored(tallied(slice(0, 4), "mm h-1")), scored(tallied(slice(0, 4)))
    _, table = write_scores(rates, tmp_path / "rates")
    alone = table.read_text().splitlines()
    netcdf, table = write_scores(rates, tmp_path / "both", {GROUP: sums})
    xr.testing.assert_identical(xr.load_dataset(netcdf, group=GROUP), sums)
    xr.testing.assert_identical(xr.load_dataset(netcdf), rates)
    both = table.read_text().splitlines()
    assert both[: len(alone)] == [f"{alone[0]},group", *(f"{line}," for line in alone[1:])]
    rows = list(csv.DictReader(both))[len(alone) - 1 :]
    assert {row["group"] for row in rows} == {GROUP} and {row["b_mse"] for row in rows} == {""}
    found = next(row for row in rows if row["aggregate"] == "pooled" and row["threshold"] == "2.0")
    assert float(found["csi"]) == pytest.approx(sums["csi_pooled"].values[0, 0, 1])


def test_the_report_shows_sums_with_their_own_units() -> None:
    rates, counts = tallied(slice(0, 4), "mm h-1"), tallied(slice(0, 4))
    values = values_of(scored(rates), rates, amounts=[(scored(counts), counts)])
    section = render("sections/amounts.html.jinja", values)
    assert "<h3>Sums over 30 minutes</h3>" in section and "≥ 2 mm<" in section
    assert "MAE, mm<" in section and "mm/h" not in section and "all sums" in section
    assert "<h4>Reliability</h4>" in section and "Brier score" in section
    assert "Sums of rain" in render("page.html.jinja", values | {"score_name": "", "settings": {}})
    page = render(
        "page.html.jinja", values_of(scored(rates), rates) | {"score_name": "", "settings": {}}
    )
    assert "Sums of rain" not in page
