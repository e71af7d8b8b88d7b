"""The scores dataset, its files, and its parts, against counts made by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from counts_by_hand import OPTIONS, by_hand, tallied

from nowcast.verification import probabilistic
from nowcast.verification.counts_files import merge_counts
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.scores import Contingency, fss
from nowcast.verification.scoring import CATEGORICAL, CONTINUOUS
from nowcast.verification.table import write_scores

HOURS = ["2018-05-17T22", "2018-05-18T10", "2018-05-18T22", "2018-05-19T01"]
NAN = float("nan")


@pytest.fixture(scope="module")
def counts() -> xr.Dataset:
    """Two hours of two days, two lead times.

    Model: at the first 1 hit, 1 miss; at the second 2 hits, 4 false alarms.
    """
    tables = {
        "model": [[[1, 0, 0, 9], [2, 0, 0, 8]], [[0, 0, 1, 9], [0, 4, 0, 6]]],
        "persistence": [[[0, 0, 1, 9], [0, 0, 2, 8]], [[0, 0, 1, 9], [0, 0, 0, 10]]],
    }
    squares = [[[5, 0], [15, 20]], [[0, 0], [0, 0]]]
    return by_hand(HOURS[:2], tables, squared_error=squares, weighted_squared_error=squares)


@pytest.fixture(scope="module")
def dataset(counts: xr.Dataset) -> xr.Dataset:
    return scores_dataset(counts, **OPTIONS)


@pytest.fixture(scope="module")
def ensembles() -> xr.Dataset:
    return tallied(HOURS, members=4)


@pytest.fixture(scope="module")
def of_ensembles(ensembles: xr.Dataset) -> xr.Dataset:
    return scores_dataset(ensembles, **OPTIONS)


def test_scores_per_lead_pooled_and_mean_by_hand(dataset: xr.Dataset) -> None:
    at = dataset.sel(part="all", forecast="model").squeeze("threshold")
    assert at["csi"].values.tolist() == [1 / 2, 2 / 6]
    assert at["csi_pooled"] == pytest.approx(3 / 8)  # 1 + 2 hits of 2 + 6 in the running
    assert at["csi_mean"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    # 10 pixels in each of two frames
    assert at["mse"].values.tolist() == [20 / 20, 20 / 20] and at["rmse_mean"] == 1
    # of a frame: two cases, two lead times
    assert at["b_mse"].values.tolist() == [20 / 2, 20 / 2] and at["b_mse_pooled"] == 10
    assert at["hits"].values.tolist() == [1, 2] and at["pixels"].values.tolist() == [20, 20]
    assert dataset["cases"].sel(part="all") == dataset.attrs["cases"] == 2


def test_a_day_has_the_scores_of_its_own_hours(dataset: xr.Dataset) -> None:
    first, second = (
        dataset.sel(part=f"day 2018-05-{day}", forecast="model").squeeze("threshold")
        for day in (17, 18)
    )
    assert first["csi"].values.tolist() == [1, 1] and second["csi"].values.tolist() == [0, 0]
    assert first["csi_pooled"] == 1 and first["cases"] == 1
    assert dataset["part_kind"].values.tolist() == [
        "all",
        "day",
        "day",
        "hour",
        "hour",
        "event",
        "event",
        "wet_share",
    ]


@pytest.mark.parametrize(
    "part", ["day 2018-05-18", "hour 22", "event 2018-05-18T22 to 2018-05-19T01"]
)
def test_a_part_is_scored_as_if_its_hours_were_all_there_are(
    part: str, ensembles: xr.Dataset, of_ensembles: xr.Dataset
) -> None:
    hours = {
        "day 2018-05-18": [1, 2],
        "hour 22": [0, 2],
        "event 2018-05-18T22 to 2018-05-19T01": [2, 3],
    }[part]
    alone = scores_dataset(ensembles.isel(block=hours), **OPTIONS).sel(part="all", drop=True)
    within = of_ensembles.sel(part=part, drop=True)
    compared = [
        name for name, variable in of_ensembles.data_vars.items() if "part" in variable.dims
    ]
    xr.testing.assert_allclose(alone[compared], within[compared], rtol=1e-9)
    assert {
        "hits",
        "csi_pooled",
        "pearson",
        "fss_mean",
        "power_ratio",
        "crps",
        "brier_resolution",
        "roc_area",
        "rank_frequency",
    } <= {*compared}


def test_scores_of_added_counts_are_those_of_the_whole(
    ensembles: xr.Dataset, of_ensembles: xr.Dataset
) -> None:
    """Two files, the later one first, with half a day in each."""
    parts = [tallied(HOURS[2:], members=4), tallied(HOURS[:2], members=4)]
    merged = scores_dataset(merge_counts(parts, ["later", "earlier"]), **OPTIONS)
    xr.testing.assert_allclose(merged, of_ensembles, rtol=1e-12)
    for name in (
        "hits",
        "correct_negatives",
        "pixels",
        "cases",
        "probability_pixels",
        "csi",
        "csi_mean_low",
        "fss",
    ):
        np.testing.assert_array_equal(merged[name], of_ensembles[name], err_msg=name)
    assert merged.attrs == of_ensembles.attrs


def test_categorical_and_continuous_scores_are_those_of_their_functions(
    ensembles: xr.Dataset, of_ensembles: xr.Dataset
) -> None:
    whole = ensembles.sum("block")
    table = Contingency(
        *[of_ensembles[name].sel(part="all").values for name in Contingency._fields]
    )
    for name, score in CATEGORICAL.items():
        np.testing.assert_array_equal(of_ensembles[name].sel(part="all"), score.function(table))
    pixels = whole["joint"].sum(("forecast_class", "observed_class"))
    sums = {"pixels": pixels, **whole}
    for name, score in CONTINUOUS.items():
        np.testing.assert_allclose(
            of_ensembles[name].sel(part="all"), score.function(sums), rtol=1e-12
        )
        pooled = score.function({**whole.sum("lead_time"), "pixels": pixels.sum("lead_time")})
        np.testing.assert_allclose(
            of_ensembles[f"{name}_pooled"].sel(part="all"), pooled, rtol=1e-12
        )


def test_neighbourhoods_spectra_and_ensembles_are_those_of_their_functions(
    ensembles: xr.Dataset, of_ensembles: xr.Dataset
) -> None:
    whole, at = ensembles.sum("block"), of_ensembles.sel(part="all")
    np.testing.assert_array_equal(at["fss"], fss(whole["fss_difference"], whole["fss_reference"]))
    np.testing.assert_array_equal(
        at["fss_pooled"],
        fss(*[whole[f"fss_{one}"].sum("lead_time") for one in ("difference", "reference")]),
    )
    np.testing.assert_allclose(at["forecast_power"], whole["forecast_power"] / 8, rtol=1e-12)
    np.testing.assert_allclose(
        at["power_ratio"], whole["forecast_power"] / whole["observed_power"], rtol=1e-12
    )
    np.testing.assert_allclose(
        at["crps"].sel(forecast="near"), at["mae"].sel(forecast="near"), rtol=1e-6
    )  # of one member: float32
    steps = at.sel(forecast="chance")
    assert (steps["crps_fair"] < steps["crps"]).all()
    np.testing.assert_allclose(
        steps["brier"],
        steps["brier_reliability"] - steps["brier_resolution"] + steps["brier_uncertainty"],
    )
    probability = whole["probability"].sum("lead_time").sel(forecast="chance").values
    for name in (
        "observed_frequency",
        "probability_pixels",
        "roc_pod",
        "roc_pofd",
        "roc_area",
        "observed_base_rate",
    ):
        np.testing.assert_array_equal(
            steps[name], getattr(probabilistic, name)(probability), err_msg=name
        )
    assert steps["forecast_probability"].values.tolist() == [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_array_equal(
        at["forecast_probability"].sel(forecast="near"), [0, 1, NAN, NAN, NAN]
    )
    np.testing.assert_allclose(steps["rank_frequency"].sum("rank"), 1)
    assert "brier_low" not in at and "crps_mean_difference_low" in at


def test_without_ensembles_neighbourhoods_or_ssim_there_is_no_word_of_them(
    dataset: xr.Dataset,
) -> None:
    assert not [
        name
        for name in dataset.variables
        if str(name).startswith(("fss", "crps", "brier", "roc", "rank", "ssim", "scale"))
    ]


def test_ssim_is_the_mean_of_frames(counts: xr.Dataset) -> None:
    digits = counts.assign(
        ssim=(
            ("forecast", "block", "lead_time"),
            [[[0.9, 0.6], [0.7, 0.0]], [[0.5, 0.5], [0.5, 0.5]]],
        )
    )
    digits.attrs["timed"] = 0
    scored = scores_dataset(digits, **OPTIONS)
    assert scored["ssim"].values[0].tolist() == [[0.8, 0.3], [0.5, 0.5]] and scored[
        "part"
    ].values.tolist() == ["all"]
    assert scored["ssim_pooled"].values[0].tolist() == pytest.approx([0.55, 0.5])


def test_the_mean_leaves_out_lead_times_where_a_score_is_undefined() -> None:
    partly = scores_dataset(
        by_hand(HOURS[:1], {"model": [[[0, 0, 0, 9], [1, 0, 0, 9]]]}), **OPTIONS
    ).sel(part="all", forecast="model")
    np.testing.assert_array_equal(partly["csi"].squeeze("threshold"), [NAN, 1.0])
    assert partly["csi_mean"] == 1.0
    dry = scores_dataset(by_hand(HOURS, {"model": [[[0, 0, 0, 9]] * 2] * 4}), **OPTIONS)
    assert (
        np.isnan(dry["csi_mean"]).all()
        and np.isnan(dry["csi_pooled"]).all()
        and np.isnan(dry["csi_mean_low"]).all()
    )


def test_differences_are_those_of_the_means_of_all(of_ensembles: xr.Dataset) -> None:
    near, chance = (
        of_ensembles["csi_mean"].sel(part="all", forecast=name).values
        for name in ("near", "chance")
    )
    pair = of_ensembles["csi_mean_difference"].sel(forecast="near", other_forecast="chance")
    np.testing.assert_array_equal(pair, near - chance)
    assert (pair > 0).all()


def test_no_resampling_leaves_all_intervals_undefined(
    counts: xr.Dataset, dataset: xr.Dataset
) -> None:
    scored = scores_dataset(counts, **{**OPTIONS, "resamples": 0})
    assert scored.attrs["resamples"] == 0 and set(scored.data_vars) == set(dataset.data_vars)
    bounds = [name for name in scored.data_vars if str(name).endswith(("_low", "_high"))]
    assert len(bounds) > 100 and all(scored[name].isnull().all() for name in bounds)
    np.testing.assert_array_equal(scored["csi_mean_difference"], dataset["csi_mean_difference"])


def test_drawing_in_pieces_gives_the_intervals_of_drawing_at_once(
    ensembles: xr.Dataset, of_ensembles: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nowcast.verification.dataset._NUMBERS_AT_ONCE", 1000)
    xr.testing.assert_allclose(scores_dataset(ensembles, **OPTIONS), of_ensembles, rtol=1e-12)


@pytest.fixture(scope="module")
def written(
    of_ensembles: xr.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    return write_scores(of_ensembles, tmp_path_factory.mktemp("scores") / "new")


def test_the_netcdf_comes_back_as_it_went_without_a_warning(
    of_ensembles: xr.Dataset, written: tuple[Path, Path]
) -> None:
    netcdf, _ = written
    with xr.open_dataset(netcdf, engine="netcdf4") as again:
        xr.testing.assert_identical(again.load(), of_ensembles)
    assert (
        again["lead_time"].attrs["units"] == "minute" and again["mse"].attrs["units"] == "mm2 h-2"
    )
    assert again["hits"].dtype == np.int64 and again["rank_frequency"].dtype == np.float64
    assert all({"long_name", "units"} <= again[name].attrs.keys() for name in again.data_vars)
    assert not [name for name in again.indexes if "_FillValue" in again[name].encoding]  # CF 2.5.1
    assert {
        "title",
        "cases",
        "interval_blocks",
        "blocks",
        "resamples",
        "confidence",
        "seed",
        "settings",
    } <= again.attrs.keys()
    assert sorted(path.name for path in netcdf.parent.iterdir()) == ["scores.csv", "scores.nc"]


def test_lead_times_of_half_minutes_survive(tmp_path: Path) -> None:
    halves = by_hand(HOURS[:1], {"model": [[[1, 0, 0, 9]] * 2]}, lead_minutes=[2.5, 5.0])
    netcdf, table = write_scores(scores_dataset(halves, **OPTIONS), tmp_path)
    with xr.open_dataset(netcdf, engine="netcdf4") as again:
        assert again["lead_time"].values.tolist() == [2.5, 5.0]
    assert "all,model,2.5,1.0,," in table.read_text()


def test_the_table_has_every_lead_time_of_all_and_both_aggregates_of_every_part(
    dataset: xr.Dataset, tmp_path: Path
) -> None:
    _, table = write_scores(dataset, tmp_path)
    with open(table, newline="") as file:
        rows = {
            (
                row["part"],
                row["forecast"],
                row["lead_minutes"] or row["aggregate"],
                row["threshold"],
            ): row
            for row in csv.DictReader(file)
        }
    kinds = {(row["lead_minutes"], row["aggregate"]) for row in rows.values()}
    assert kinds == {("6.0", ""), ("12.0", ""), ("", "pooled"), ("", "mean")}
    assert len(rows) == 2 * (2 + 2) + 7 * 2 * 2
    per_lead, pooled, mean = (
        rows["all", "model", lead, "1.0"] for lead in ("12.0", "pooled", "mean")
    )
    counted = ("hits", "false_alarms", "misses", "correct_negatives", "pixels")
    assert [per_lead[name] for name in counted] == ["2", "4", "0", "14", "20"]
    assert [pooled[name] for name in counted] == ["3", "4", "1", "32", "40"]
    assert [mean[name] for name in counted] == [""] * 5
    assert [float(row["csi"]) for row in (per_lead, pooled, mean)] == pytest.approx(
        [1 / 3, 3 / 8, 5 / 12]
    )
    assert (
        per_lead["csi_low"]
        == pooled["hss_high"]
        == rows["day 2018-05-17", "model", "mean", "1.0"]["csi_low"]
        == ""
    )
    assert rows["day 2018-05-17", "persistence", "pooled", "1.0"]["far"] == "nan"
    assert ("day 2018-05-17", "model", "12.0", "1.0") not in rows
    assert {*CATEGORICAL, *CONTINUOUS} < per_lead.keys()


def test_no_text_of_a_forecast_is_computed_by_a_spreadsheet(tmp_path: Path) -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "model", "a=b"]
    odd = by_hand(
        HOURS[:1], {name: [[[1, 0, 1, 9]]] for name in names}, error=[[[-22.0]]] * len(names)
    )
    _, table = write_scores(scores_dataset(odd, **OPTIONS), tmp_path)
    with open(table, newline="", encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["part"], row["aggregate"]) == ("all", "mean")
        ]
    assert [row["forecast"] for row in rows] == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@SUM(A1)",
        "' =1",
        "' =1",
        "model",
        "a=b",
    ]
    assert {row["mean_error"] for row in rows} == {"-2.0"}, "a number stays a number"


def test_what_has_no_scored_pixel_is_in_no_mean_and_is_counted_apart() -> None:
    """Of three cases the first lacks the first lead time; the third has no pixel at all."""
    full, none = [1, 0, 1, 8], [0, 0, 0, 0]
    sums = [[[0.0, 6.0], [4.0, 10.0], [0.0, 0.0]]]
    counts = by_hand(
        HOURS[:3],
        {"model": [[none, full], [full, full], [none, none]]},
        cases=[1, 1, 0],
        weighted_squared_error=sums,
    )
    counts["forecast_power"][0, :2] = 3.0
    counts["forecast_power"][0, 0, 0] = 0.0
    at = scores_dataset(counts, **OPTIONS).sel(forecast="model")
    assert at.attrs["cases"] == 2 and at.attrs["unscored_cases"] == 1
    assert (
        at["b_mse"].sel(part="all").values.tolist() == [4.0, 8.0]
        and at["b_mse_pooled"].sel(part="all") == 20 / 3
    )
    assert (at["forecast_power"].sel(part="all") == 3.0).all()
    first_day = at.sel(part="day 2018-05-17")
    assert np.isnan(first_day["b_mse"][0]) and np.isnan(first_day["forecast_power"][0]).all()
    assert (at["cases"].sel(part="hour 22"), at["unscored_cases"].sel(part="hour 22")) == (1, 1)


def test_the_table_has_a_column_for_each_neighbourhood(
    of_ensembles: xr.Dataset, written: tuple[Path, Path]
) -> None:
    _, table = written
    with open(table, newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["part"], row["forecast"], row["threshold"]) == ("all", "near", "2.0")
        ]
    at = of_ensembles.sel(part="all", forecast="near", threshold=2.0, scale=5)
    assert [float(row["fss_5"]) for row in rows] == [
        *at["fss"].values,
        at["fss_pooled"],
        at["fss_mean"],
    ]
    assert float(rows[0]["crps"]) == at["crps"][0] and float(rows[-1]["brier"]) == at["brier_mean"]


def test_scores_of_a_perfect_forecast_carry_what_perfect_is() -> None:
    perfect = scores_dataset(by_hand(HOURS, {"model": [[[2, 0, 0, 8]]] * 4}), **OPTIONS)
    for name in (
        "csi",
        "hss",
        "far",
        "pofd",
        "frequency_bias",
        "accuracy",
        "pss",
        "mse",
        "mean_error",
    ):
        assert (
            perfect[f"{name}_mean"].sel(part="all").item()
            == perfect[f"{name}_mean"].attrs["perfect"]
        ), name
    assert CATEGORICAL["far"].perfect == 0
