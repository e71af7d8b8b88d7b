"""The scores file, its table and the headline."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from nowcast.errors import DataError
from nowcast.verification import Counts, count, scores
from nowcast.verification.headline import headline_table, headline_text
from nowcast.verification.report import DIVIDED, scores_dataset, write_scores

THRESHOLDS = (0.5, 2.0, 30.0)


def two_leads(forecast: list[list[float]], observed: list[list[float]]) -> Counts:
    return count(torch.tensor(forecast)[:, None], torch.tensor(observed)[:, None], THRESHOLDS)


@pytest.fixture
def dataset() -> xr.Dataset:
    """First lead: 1 hit and 1 miss at 0.5; second: 1 hit, 2 false alarms. No 30 anywhere at the first."""
    observed = [[1.0, 3.0, 0.0, 0.0], [40.0, 0.0, 0.0, 0.0]]
    model = two_leads([[1.0, 0.0, 0.0, 0.0], [40.0, 1.0, 1.0, 0.0]], observed)
    return scores_dataset({"model": model, "persistence": two_leads([[0.0] * 4] * 2, observed)}, [6, 12])


def test_scores_per_lead_pooled_and_mean_by_hand(dataset: xr.Dataset) -> None:
    at = dataset.sel(forecast="model", threshold=0.5)
    assert at["csi"].values.tolist() == [1 / 2, 1 / 3]
    assert at["csi_pooled"] == pytest.approx(2 / 5)  # (1 + 1) hits of 2 + 3 in the running
    assert at["csi_mean"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert at["mse"].values.tolist() == [9 / 4, 2 / 4]
    assert at["mse_pooled"] == pytest.approx(11 / 8)
    assert at["mae_mean"] == pytest.approx((3 / 4 + 2 / 4) / 2)


def test_the_mean_leaves_out_lead_times_where_a_score_is_undefined(dataset: xr.Dataset) -> None:
    at = dataset.sel(forecast="model", threshold=30.0)
    np.testing.assert_array_equal(at["csi"], [np.nan, 1.0])
    assert at["csi_mean"] == 1.0
    dry = scores_dataset({"model": two_leads([[0.0]] * 2, [[0.0]] * 2)}, [6, 12])
    assert np.isnan(dry["csi_mean"]).all() and np.isnan(dry["csi_pooled"]).all()


def test_the_netcdf_comes_back_as_it_went_without_a_warning(dataset: xr.Dataset, tmp_path: Path) -> None:
    netcdf, _ = write_scores(dataset, tmp_path / "scores")
    with xr.open_dataset(netcdf, engine="netcdf4") as again:
        xr.testing.assert_identical(again.load(), dataset)
    assert again["lead_time"].dtype == np.int64 and again["lead_time"].attrs["units"] == "minute"
    assert again["hits"].dtype == np.int64 and again["mse"].attrs["units"] == "mm2 h-2"
    assert all({"long_name", "units"} <= again[name].attrs.keys() for name in again.data_vars)
    assert sorted(path.name for path in netcdf.parent.iterdir()) == ["scores.csv", "scores.nc"]
    assert "HSS" in headline_text(again) and again.attrs["cases"] == 1


def test_lead_times_of_half_minutes_survive(dataset: xr.Dataset, tmp_path: Path) -> None:
    counts = two_leads([[0.0]] * 2, [[0.0]] * 2)
    netcdf, table = write_scores(scores_dataset({"model": counts}, [2.5, 5.0]), tmp_path)
    with xr.open_dataset(netcdf, engine="netcdf4") as again:
        assert again["lead_time"].values.tolist() == [2.5, 5.0]
    assert "model,2.5,0.5," in table.read_text()


def test_the_table_has_every_lead_time_and_both_aggregates(dataset: xr.Dataset, tmp_path: Path) -> None:
    _, table = write_scores(dataset, tmp_path)
    with open(table, newline="") as file:
        rows = {(row["forecast"], row["lead_minutes"], row["threshold"]): row for row in csv.DictReader(file)}
    assert len(rows) == 2 * (2 + 2) * 3
    per_lead, pooled, mean = (rows["model", lead, "0.5"] for lead in ("12", "pooled", "mean"))
    counted = ("hits", "false_alarms", "misses", "correct_negatives", "pixels")
    assert [per_lead[name] for name in counted] == ["1", "2", "0", "1", "4"]
    assert [pooled[name] for name in counted] == ["2", "2", "1", "3", "8"]
    assert [mean[name] for name in counted] == [""] * 5
    assert [float(row["csi"]) for row in (per_lead, pooled, mean)] == pytest.approx([1 / 3, 2 / 5, 5 / 12])
    assert rows["model", "6", "30.0"]["csi"] == "nan"
    assert set(DIVIDED) < per_lead.keys()


def test_the_headline_says_which_mean_it_is_and_fits_a_log(dataset: xr.Dataset) -> None:
    text = headline_text(dataset)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "mean over lead times of the scores per lead time" in text and "Lead times: 2. Cases: 1." in text
    half = next(line for line in text.splitlines() if "≥ 0.5" in line)
    hss_mean = dataset["hss"].sel(forecast="model", threshold=0.5).values.mean()
    assert half.replace("│", "").split()[2:5] == ["0.4167", f"{hss_mean:.4f}", "0.0000"]
    assert "1.0000*" in text and "left out" in text


def test_the_headline_cuts_no_number_however_many_forecasts() -> None:
    names = ["model", "persistence", "optical flow", "blend of all", "another model with a long name"]
    counts = two_leads([[1.0, 0.0]] * 2, [[1.0, 0.0]] * 2)
    text = headline_text(scores_dataset(dict.fromkeys(names, counts), [6, 12]))
    assert "…" not in text and "another model with a long name" in text
    assert text.count("1.0000") == 2 * len(names)
    assert "–" in text  # nothing reaches 2 mm/h: undefined


def test_the_headline_is_a_rich_renderable(dataset: xr.Dataset) -> None:
    assert len(headline_table(dataset).renderables) == 3


def test_forecasts_scored_on_different_pixels_are_refused() -> None:
    observed = [[1.0, 0.0]] * 2
    model, other = two_leads(observed, observed), two_leads([[1.0, float("nan")]] * 2, observed)
    with pytest.raises(DataError, match="different pixels"):
        scores_dataset({"model": model, "persistence": other}, [6, 12])
    with pytest.raises(DataError, match="lead times"):
        scores_dataset({"model": model}, [6, 12, 18])
    with pytest.raises(DataError, match="no counts"):
        scores_dataset({}, [6, 12])


def test_scores_of_the_dataset_are_the_scores_of_the_counts(dataset: xr.Dataset) -> None:
    counts = two_leads([[1.0, 0.0, 0.0, 0.0], [40.0, 1.0, 1.0, 0.0]], [[1.0, 3.0, 0.0, 0.0], [40.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(dataset["hss"].sel(forecast="model"), scores.hss(counts))
    np.testing.assert_array_equal(dataset["hss_pooled"].sel(forecast="model"), scores.hss(counts.pooled())[0])
