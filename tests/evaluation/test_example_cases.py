"""Which cases a report shows."""

import numpy as np
import torch

from nowcast.evaluation.example_cases import APART, case_csi, choose
from nowcast.verification.counts import Counts, joint_histogram


def hours(*numbers: float) -> np.ndarray:
    return np.datetime64("2020-01-01", "ns") + np.array(
        [round(60 * number) for number in numbers]
    ) * np.timedelta64(1, "m")


def test_best_median_and_worst_are_chosen_and_none_twice() -> None:
    quality = np.array([0.1, 0.9, 0.5, np.nan, 0.4, 0.8, 0.2, 0.65, 0.3, 0.7])
    chosen = choose(quality, hours(*range(0, 40, 4)), each=2)
    assert chosen == {"best": [1, 5], "median": [2, 4], "worst": [0, 6]}


def test_cases_of_one_event_do_not_stand_for_all() -> None:
    quality = np.array([0.9, 0.89, 0.88, 0.5, 0.4, 0.3, 0.3, 0.2, 0.1])
    times = hours(0, 0.25, 10, 20, 24, 28, 32, 36, 40)
    assert np.timedelta64(3, "h") == APART
    assert choose(quality, times, each=2)["best"] == [0, 2]
    # where there is but one event
    assert choose(quality, hours(*(k / 4 for k in range(9))), each=2)["best"] == [0, 1]


def test_a_case_near_the_worst_in_time_is_no_reason_to_show_a_better_one_as_worst() -> None:
    quality = np.array([0.9, 0.1, 0.5, 0.8, 0.2, 0.6, 0.7, 0.3, 0.55])
    chosen = choose(quality, hours(*(2 * k for k in range(9))))
    assert quality[chosen["worst"]].tolist() == [0.1, 0.2, 0.3]
    assert quality[chosen["best"]].tolist() == [0.9, 0.8, 0.7]


def test_there_may_be_fewer_cases_than_places() -> None:
    assert choose(np.array([0.3, np.nan]), hours(0, 9)) == {"best": [0]}
    assert choose(np.array([0.3, 0.4]), hours(0, 9)) == {"best": [1], "worst": [0]}
    assert choose(np.array([0.3, 0.35, 0.2, 0.1, 0.5]), hours(0, 1, 2, 3, 4), 2) == {
        "best": [4],
        "median": [0, 1],
        "worst": [3],
    }
    assert choose(np.array([np.nan]), hours(0)) == {}


def test_a_case_is_judged_by_its_csi_near_1_mm_h_unless_it_is_almost_dry() -> None:
    forecast, observed = torch.zeros(2, 1, 10, 100), torch.zeros(2, 1, 10, 100)
    forecast[0, 0, 0, :6], observed[0, 0, 0, 2:10] = 1.5, 1.5  # 4 hits, 2 false alarms, 4 misses
    observed[1, 0, 0, :4] = 5.0  # 0.4 % of the pixels
    thresholds = (0.1, 1.2, 5.0)
    counts = Counts(thresholds, joint_histogram(forecast, observed, thresholds))
    np.testing.assert_array_equal(case_csi(counts), [0.4, np.nan])
