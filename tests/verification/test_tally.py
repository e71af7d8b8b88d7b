"""A tally adds up: over chunks of cases, over processes, over files; and it never counts a case
twice.
"""

import multiprocessing
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nowcast.errors import DataError, MissingInputError
from nowcast.verification.counts import common_pixels
from nowcast.verification.counts_files import merge_counts, open_counts, write_counts
from nowcast.verification.remarks import remarks_of
from nowcast.verification.tally import Tally

LEADS = (5.0, 10.0)
# two hours of one day, one of the next
TIMES = np.datetime64("2020-01-01T22:30", "ns") + np.timedelta64(15, "m") * np.arange(9)


def fields(seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Rain of nine cases in sixteenths of mm/h, whose sums are exact in any order; some of it
    missing.
    """
    generator = torch.Generator().manual_seed(seed)

    def rain(*shape: int) -> Tensor:
        rates = torch.randint(-40, 80, shape, generator=generator).clamp(min=0) / 16.0
        return rates.masked_fill(torch.rand(shape, generator=generator) < 0.05, torch.nan)

    return rain(9, 2, 8, 7), {"model": rain(9, 2, 1, 8, 7), "steps": rain(9, 2, 4, 8, 7)}


def tallied(chunks: list[slice], observed: Tensor, forecasts: Mapping[str, Tensor]) -> xr.Dataset:
    tally = Tally([0.5, 2.0], LEADS, scales=[3, 5])
    for chunk in chunks:
        tally.add(
            TIMES[chunk],
            observed[chunk],
            {name: forecast[chunk] for name, forecast in forecasts.items()},
        )
    return tally.dataset()


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        if "power" in str(name) or "crps" in str(name):  # sums of what is no sixteenth
            np.testing.assert_allclose(a[name].values, b[name].values, rtol=1e-6)
        else:
            np.testing.assert_array_equal(a[name].values, b[name].values, str(name))


@cache
def whole(seed: int) -> xr.Dataset:
    return tallied([slice(0, 9)], *fields(seed))


@settings(max_examples=15)
@given(st.sets(st.integers(1, 8)), st.integers(0, 2))
def test_chunks_add_to_the_whole(cuts: set[int], seed: int) -> None:
    observed, forecasts = fields(seed)
    bounds = [0, *sorted(cuts), 9]
    chunks = [slice(first, last) for first, last in pairwise(bounds)]
    assert_same(tallied(chunks, observed, forecasts), whole(seed))


def count_and_write(chunk: slice, path: Path) -> None:
    torch.set_num_threads(1)
    observed, forecasts = fields()
    write_counts(tallied([chunk], observed, forecasts), path)


def test_files_of_two_processes_merge_to_the_whole(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    # the second begins within an hour of the first
    parts = {tmp_path / "a.nc": slice(0, 5), tmp_path / "b.nc": slice(5, 9)}
    (here, first), (there, second) = parts.items()
    process = context.Process(target=count_and_write, args=(second, there))
    process.start()
    observed, forecasts = fields()
    write_counts(tallied([first], observed, forecasts), here)
    process.join()
    assert process.exitcode == 0
    merged = merge_counts([open_counts(path) for path in parts], [str(path) for path in parts])
    assert_same(merged, tallied([slice(0, 9)], observed, forecasts))
    assert merged.attrs == open_counts(tmp_path / "a.nc").attrs


def test_what_a_tally_copies_is_one_case_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine cases of a large grid would take gigabytes once more."""
    copied: list[int] = []

    def noting(*given: Tensor) -> list[Tensor]:
        copied.extend(len(field) for field in given)
        return common_pixels(*given)

    monkeypatch.setattr("nowcast.verification.tally.common_pixels", noting)
    tallied([slice(0, 9)], *fields())
    assert copied == [1] * 9 * 3


def test_blocks_are_the_hours_of_reference_times_and_know_their_cases() -> None:
    observed, forecasts = fields()
    counts = tallied([slice(0, 9)], observed, forecasts)
    hours = ["2020-01-01T22", "2020-01-01T23", "2020-01-02T00"]
    assert counts["block"].values.tolist() == np.array(hours, "datetime64[ns]").tolist()
    assert counts["cases"].values.tolist() == [2, 4, 3]
    assert counts["minutes"].values.tolist() == [
        2**30 + 2**45,
        1 + 2**15 + 2**30 + 2**45,
        1 + 2**15 + 2**30,
    ]
    assert counts["total"].values.tolist() == [cases * 2 * 8 * 7 for cases in (2, 4, 3)]
    assert counts["observed_covered"].sum() == (~observed.isnan()).sum()
    assert counts["observed_wet"].sum() == (observed >= 0.1).sum()


def test_a_pixel_missing_in_any_forecast_is_missing_in_all_or_not() -> None:
    observed = torch.ones(1, 2, 2, 2)
    first, second = torch.ones(1, 2, 1, 2, 2), torch.ones(1, 2, 1, 2, 2)
    first[0, 0, 0, 0, 0] = torch.nan
    for common, missing in ((True, [1, 1]), (False, [1, 0])):
        tally = Tally([0.5], LEADS, common=common)
        tally.add(TIMES[:1], observed, {"a": first, "b": second})
        counts = tally.dataset()
        assert counts["missing"].values[:, 0].tolist() == missing
        assert counts["joint"].sum(
            ("block", "lead_time", "forecast_class", "observed_class")
        ).values.tolist() == [8 - m for m in missing]


def test_only_the_pixels_of_the_region_are_counted() -> None:
    observed, forecasts = fields()
    region = torch.zeros(8, 7, dtype=torch.bool)
    region[2:5, 1:4] = True
    tally = Tally([0.5, 2.0], LEADS, scales=[3, 5], region=region)
    tally.add(TIMES, observed, forecasts)
    cropped = tallied(
        [slice(0, 9)],
        observed[..., 2:5, 1:4],
        {name: one[..., 2:5, 1:4] for name, one in forecasts.items()},
    )
    assert_same(tally.dataset(), cropped)


def test_of_a_region_that_is_no_box_its_own_pixels_alone_are_counted() -> None:
    observed, forecasts = fields()
    whole, *parts = (torch.zeros(8, 7, dtype=torch.bool) for _ in range(3))
    parts[0][2, 1] = parts[1][4, 3] = True
    whole[2, 1] = whole[4, 3] = True
    counted = []
    for region in (whole, *parts):
        tally = Tally([0.5, 2.0], LEADS, region=region)
        tally.add(TIMES, observed, forecasts)
        counted.append(tally.dataset())
    for name in (
        "joint",
        "squared_error",
        "probability",
        "rank",
        "missing",
        "total",
        "observed_wet",
    ):
        np.testing.assert_array_equal(
            counted[0][name].values, counted[1][name].values + counted[2][name].values, name
        )


def test_ensembles_are_counted_by_members_and_a_single_forecast_beside_them_too() -> None:
    observed, forecasts = fields()
    counts = tallied([slice(0, 9)], observed, forecasts)
    assert counts["members"].values.tolist() == [1, 4]
    scored = counts["joint"].sum(("forecast_class", "observed_class"))
    np.testing.assert_array_equal(
        counts["probability"].isel(threshold=0).sum(("members_above", "observed_event")), scored
    )
    np.testing.assert_array_equal(counts["rank"].sum(("members_below", "members_equal")), scored)
    assert not counts["probability"].sel(forecast="model").isel(members_above=slice(2, None)).any()
    alone = tallied([slice(0, 9)], observed, {"model": forecasts["model"]})
    assert "probability" not in alone


def test_a_case_is_never_counted_twice(tmp_path: Path) -> None:
    observed, forecasts = fields()
    with pytest.raises(DataError, match="two forecasts from 2020-01-01T23:00"):
        tallied([slice(0, 3), slice(2, 4)], observed, forecasts)
    parts = [tallied([chunk], observed, forecasts) for chunk in (slice(0, 3), slice(2, 4))]
    with pytest.raises(DataError, match="b: cases of 2020-01-01T23 h UTC are also in another"):
        merge_counts(parts, ["a", "b"])


def test_counts_made_otherwise_are_not_added() -> None:
    observed, forecasts = fields()
    whole = tallied([slice(0, 9)], observed, forecasts)
    other = Tally([0.5, 3.0], LEADS, scales=[3, 5])
    other.add(TIMES, observed, forecasts)
    with pytest.raises(DataError, match=r"b: counted in another way than a \(threshold differ\)"):
        merge_counts([whole, other.dataset()], ["a", "b"])
    regions = [torch.zeros(8, 7, dtype=torch.bool) for _ in range(2)]
    regions[0][:4], regions[1][4:] = True, True
    halves = [Tally([0.5, 2.0], LEADS, scales=[3, 5], region=region) for region in regions]
    for half in halves:
        half.add(TIMES, observed, forecasts)
    with pytest.raises(DataError, match=r"b: counted in another way than a \(region differ\)"):
        merge_counts([half.dataset() for half in halves], ["a", "b"])
    with pytest.raises(DataError, match=r"\(checkpoint_sha256 differ\)"):
        merge_counts([whole, whole.assign_attrs(checkpoint_sha256="of another model")], ["a", "b"])
    by_cuts, by_median = (whole.assign_attrs(rate=rate) for rate in ("csi", "median"))
    with pytest.raises(DataError, match=r"\(rate differ\)"):
        merge_counts([by_cuts, by_median], ["a", "b"])
    with pytest.raises(DataError, match=r"\(members, .* differ\)"):
        merge_counts(
            [
                whole,
                tallied(
                    [slice(0, 9)],
                    observed,
                    {"model": forecasts["model"], "steps": forecasts["model"]},
                ),
            ],
            ["a", "b"],
        )


def test_cases_and_frames_without_a_scored_pixel_are_counted_apart() -> None:
    observed, forecasts = fields()
    observed[0], observed[1, 0] = torch.nan, torch.nan
    counts = tallied([slice(0, 9)], observed, forecasts)
    assert (counts["cases"].values.tolist(), counts["unscored_cases"].values.tolist()) == (
        [1, 4, 3],
        [1, 0, 0],
    )
    assert counts["frames"].sel(forecast="model").values.tolist() == [[0, 1], [4, 4], [3, 3]]


def test_counts_of_an_earlier_version_are_read_where_they_tell_enough_and_else_refused(
    tmp_path: Path,
) -> None:
    observed, forecasts = fields()
    observed = observed.nan_to_num(0.0)
    observed[:2] = torch.nan
    counts = tallied([slice(0, 9)], observed, {"model": forecasts["model"].nan_to_num(0.0)})
    earlier = counts.drop_vars(["frames", "unscored_cases"]).assign(
        cases=counts["cases"] + counts["unscored_cases"]
    )
    earlier.to_netcdf(tmp_path / "earlier.nc", engine="netcdf4")
    assert_same(open_counts(tmp_path / "earlier.nc"), counts)
    half = earlier.assign(joint=earlier["joint"] // 2)
    half.to_netcdf(tmp_path / "half.nc", engine="netcdf4")
    with pytest.raises(
        DataError,
        match=r"half.nc: counts of an earlier version.* of the cases of 2020-01-01T23 h UTC",
    ):
        open_counts(tmp_path / "half.nc")


def test_remarks_are_added_up_too(tmp_path: Path) -> None:
    observed, forecasts = fields()
    parts = [tallied([chunk], observed, forecasts) for chunk in (slice(0, 4), slice(4, 9))]
    parts = [
        part.assign_attrs(remarks=remark)
        for part, remark in zip(parts, ("a, one", "b"), strict=True)
    ]
    assert (
        remarks_of(merge_counts(parts, ["a", "b"])) == ["a, one", "b"]
        and remarks_of(parts[0].drop_attrs()) == []
    )


def test_what_is_no_counts_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none.nc: no such counts file"):
        open_counts(tmp_path / "none.nc")
    (tmp_path / "bad.nc").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"bad.nc: not a whole NetCDF file"):
        open_counts(tmp_path / "bad.nc")
    xr.Dataset({"rain": ("x", [1.0])}).to_netcdf(tmp_path / "rain.nc", engine="netcdf4")
    with pytest.raises(DataError, match=r"rain.nc: not a counts file \(it lacks "):
        open_counts(tmp_path / "rain.nc")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda counts: counts.isel(threshold=[0]), "joint has 3 classes for 1 thresholds"),
        (lambda counts: counts.assign(joint=counts["joint"].astype(float)), "joint is of float64"),
        (lambda counts: counts.assign(joint=-counts["joint"]), "joint is below 0"),
        (
            lambda counts: counts.assign(error=counts["error"].sum("block")),
            "error lies over forecast, lead_time",
        ),
        (lambda counts: counts.assign(minutes=counts["minutes"].astype(str)), "minutes is of "),
        (lambda counts: counts.isel(block=[0, 0]), "its blocks are not rising hours"),
        (lambda counts: counts.drop_vars("squared_error"), "it lacks squared_error"),
    ],
)
def test_a_counts_file_that_was_changed_is_refused(
    tmp_path: Path, change: Callable[[xr.Dataset], xr.Dataset], problem: str
) -> None:
    counts = tallied([slice(0, 9)], *fields())
    assert_same(open_counts(write_counts(counts, tmp_path / "counts.nc")), counts)
    change(counts).to_netcdf(tmp_path / "changed.nc", engine="netcdf4")
    with pytest.raises(DataError, match=f"changed.nc: .*{problem}"):
        open_counts(tmp_path / "changed.nc")


def test_nothing_counted_is_refused() -> None:
    with pytest.raises(DataError, match="there is no case to score"):
        Tally([0.5], LEADS).dataset()
