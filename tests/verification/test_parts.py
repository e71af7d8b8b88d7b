"""Parts of a verification and the sums over them, by hand."""

import numpy as np
import pytest
from counts_by_hand import by_hand, tallied

from nowcast.errors import InternalError
from nowcast.verification.parts import events_of, observed_wet_share, parts_of, weigh, weighted_sum

HOURS = ["2018-05-17T22", "2018-05-17T23", "2018-05-18T00", "2018-05-18T22"]


def counts_of(hours: list[str], wet: list[int] | None = None, covered: list[int] | None = None):  # type: ignore[no-untyped-def]
    """One hit in the first hour, two in the second, and so on."""
    return by_hand(
        hours,
        {"model": [[[number + 1, 0, 0, 5]] for number in range(len(hours))]},
        wet=wet,
        covered=covered,
    )


def test_parts_are_all_days_hours_events_and_wet_shares_with_their_hours() -> None:
    labels, kinds, weights = parts_of(counts_of(HOURS, wet=[100, 10, 0, 1000]), 0.05, 6)
    hours_of = {
        label: np.flatnonzero(row).tolist() for label, row in zip(labels, weights, strict=True)
    }
    assert hours_of == {
        "all": [0, 1, 2, 3],
        "day 2018-05-17": [0, 1],
        "day 2018-05-18": [2, 3],
        "hour 00": [2],
        "hour 22": [0, 3],
        "hour 23": [1],
        "event 2018-05-17T22 to 2018-05-17T22": [0],
        "event 2018-05-18T22 to 2018-05-18T22": [3],
        "wet share 0 to 1 %": [2],
        "wet share 1 to 5 %": [1],
        "wet share 10 to 20 %": [0],
        "wet share 40 to 100 %": [3],
    }
    assert kinds == [
        "all",
        "day",
        "day",
        "hour",
        "hour",
        "hour",
        "event",
        "event",
        *["wet_share"] * 4,
    ]
    assert weights.dtype == np.int64


def test_days_hours_and_wet_shares_each_hold_every_hour_once() -> None:
    hours = [f"2018-05-{day}T{hour:02d}" for day in (17, 18, 20) for hour in range(0, 24, 5)]
    wet = np.random.default_rng(0).integers(0, 1001, len(hours)).tolist()
    _, kinds, weights = parts_of(counts_of(hours, wet=wet), 0.05, 6)
    for kind in ("day", "hour", "wet_share"):
        assert (weights[[one == kind for one in kinds]].sum(axis=0) == 1).all()


def test_a_wet_share_at_a_bound_is_in_the_class_above_and_all_wet_in_the_last() -> None:
    counts = counts_of(HOURS, wet=[9, 10, 400, 1000], covered=[1000] * 4)
    labels, _, weights = parts_of(counts, 2.0, 6)
    hours_of = {
        label: np.flatnonzero(row).tolist()
        for label, row in zip(labels, weights, strict=True)
        if "wet" in label
    }
    assert hours_of == {
        "wet share 0 to 1 %": [0],
        "wet share 1 to 5 %": [1],
        "wet share 40 to 100 %": [2, 3],
    }


def test_an_hour_of_which_nothing_was_observed_has_no_wet_share_and_is_dry() -> None:
    counts = counts_of(HOURS, wet=[0, 500, 0, 0], covered=[0, 1000, 1000, 0])
    np.testing.assert_array_equal(observed_wet_share(counts), [np.nan, 0.5, 0.0, np.nan])
    labels, _, weights = parts_of(counts, 0.0, 6)
    shares = weights[[label.startswith("wet share") for label in labels]]
    assert shares.sum(axis=0).tolist() == [0, 1, 1, 0]


def test_an_event_ends_after_so_many_hours_without_a_wet_one() -> None:
    hours = [f"2018-05-17T{hour:02d}" for hour in range(24)]
    wet = {2, 3, 6, 10, 11}  # between them 2 dry hours, then 3
    counts = counts_of(hours, wet=[50 if hour in wet else 49 for hour in range(24)])

    def hours_of_events(gap: int) -> list[tuple[int, int]]:
        return [
            (int(str(first)[11:13]), int(str(last)[11:13]))
            for first, last in events_of(counts, 0.05, gap)
        ]

    assert hours_of_events(4) == [(2, 11)]
    assert hours_of_events(3) == [(2, 6), (10, 11)]
    assert hours_of_events(2) == [(2, 3), (6, 6), (10, 11)]
    labels, _, weights = parts_of(counts, 0.05, 3)
    event = weights[labels.index("event 2018-05-17T02 to 2018-05-17T06")]
    assert np.flatnonzero(event).tolist() == [2, 3, 4, 5, 6]  # the drier hours within belong to it


def test_hours_without_cases_count_as_dry() -> None:
    counts = counts_of(["2018-05-17T22", "2018-05-18T02", "2018-05-18T03"])
    assert len(events_of(counts, 0.05, 3)) == 2 and len(events_of(counts, 0.05, 4)) == 1
    assert events_of(counts_of(HOURS, wet=[0] * 4), 0.05, 3) == []


def test_cases_without_times_have_no_part_but_all() -> None:
    counts = counts_of(HOURS)
    counts.attrs["timed"] = 0
    labels, kinds, weights = parts_of(counts, 0.05, 6)
    assert labels == kinds == ["all"] and weights.tolist() == [[1, 1, 1, 1]]


def test_sums_of_parts_by_hand() -> None:
    weighed = weigh(counts_of(HOURS), np.array([[1, 1, 1, 1], [0, 2, 0, 1]]))
    assert weighed["joint"].dims == (
        "part",
        "forecast",
        "lead_time",
        "forecast_class",
        "observed_class",
    )
    assert weighed["joint"].values[:, 0, 0, 1, 1].tolist() == [1 + 2 + 3 + 4, 2 * 2 + 4]
    assert weighed["cases"].values.tolist() == [4, 3] and weighed["joint"].dtype == np.int64
    assert (
        weighed["members"].values.tolist() == [1] and weighed["squared_error"].dtype == np.float64
    )
    assert "minutes" not in weighed and "block" not in weighed.variables


def test_sums_of_counts_are_exact_where_floating_point_is_not() -> None:
    large = np.array([[2**60 + 1], [2**60 + 2], [-3]])
    assert weighted_sum(np.array([[1, 1, 1], [2, 0, 1]]), large).tolist() == [[2**61], [2**61 - 1]]
    assert weighted_sum(np.array([[0.5, 0.0, 1.0]]), large).dtype == np.float64
    assert weighted_sum(np.array([[2, 0, 1]]), large * 0.5).tolist() == [[2.0**60]]


def test_sums_of_many_columns_in_pieces_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tallied(HOURS, members=3)
    weights = np.array([[1, 0, 2, 1], [0, 1, 1, 0]])
    at_once = weigh(counts, weights)
    monkeypatch.setattr("nowcast.verification.parts._NUMBERS_AT_ONCE", 7)
    assert weigh(counts, weights).identical(at_once)
    for name in ("joint", "fss_difference", "rank", "forecast_power"):
        of_blocks = np.moveaxis(counts[name].values, counts[name].dims.index("block"), 0)
        np.testing.assert_allclose(
            at_once[name].values, np.tensordot(weights, of_blocks, 1), rtol=1e-12
        )
        np.testing.assert_allclose(
            weigh(counts, weights.astype(float))[name].values, at_once[name].values, rtol=1e-12
        )


def test_weights_that_do_not_fit_the_blocks_are_refused() -> None:
    with pytest.raises(InternalError, match="4 blocks"):
        weigh(counts_of(HOURS), np.ones((2, 3), dtype=np.int64))
