"""The same numbers as pysteps and scores give, and where they differ, how. Both are optional: without them this is skipped."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from nowcast.verification import count
from nowcast.verification import scores as ours
from nowcast.verification.scores import Contingency

THRESHOLDS = (0.5, 2.0, 5.0, 10.0, 30.0)
NAN = float("nan")
IN_PYSTEPS = {"csi": "CSI", "hss": "HSS", "ets": "ETS", "pod": "POD", "far": "FAR", "pofd": "FA", "frequency_bias": "BIAS"}
IN_SCORES = {
    "csi": "critical_success_index",
    "hss": "heidke_skill_score",
    "ets": "equitable_threat_score",
    "pod": "probability_of_detection",
    "far": "false_alarm_ratio",
    "pofd": "probability_of_false_detection",
    "frequency_bias": "frequency_bias",
}


@pytest.fixture(scope="module")
def det_cat_fct() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pysteps.verification.detcatscores").det_cat_fct


@pytest.fixture(scope="module")
def categorical() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("scores.categorical")


def rain(seed: int) -> torch.Tensor:
    """(lead, h, w) mm/h, continuous: no value is at a threshold, none missing."""
    return torch.from_numpy(np.random.default_rng(seed).gamma(0.4, 15.0, (3, 40, 50)))


def basic(categorical: Any, table: Contingency) -> Any:
    a, b, c, d = (xr.DataArray(float(number)) for number in table)
    counts = {"tp_count": a, "fp_count": b, "fn_count": c, "tn_count": d, "total_count": a + b + c + d}
    return categorical.BasicContingencyManager(counts)


def test_pysteps_agrees_on_fields_without_ties_or_gaps(det_cat_fct: Any) -> None:
    forecast, observed = rain(1), rain(2)
    counts = count(forecast, observed, THRESHOLDS)
    for lead in range(3):
        for k, threshold in enumerate(THRESHOLDS):
            theirs = det_cat_fct(forecast[lead].numpy(), observed[lead].numpy(), threshold, list(IN_PYSTEPS.values()))
            for name, their_name in IN_PYSTEPS.items():
                assert getattr(ours, name)(counts)[lead, k] == pytest.approx(theirs[their_name]), (name, threshold)


def test_pysteps_wants_more_than_the_threshold_and_we_at_least_it(det_cat_fct: Any) -> None:
    forecast, observed = np.array([[2.0, 1.0]]), np.array([[2.0, 0.0]])
    assert det_cat_fct(forecast, observed, 1.0, "CSI")["CSI"] == 1
    assert ours.csi(count(torch.from_numpy(forecast)[None], torch.from_numpy(observed)[None], [1.0])).item() == 1 / 2


def test_pysteps_counts_a_missing_pixel_as_no_event_and_we_do_not_count_it(det_cat_fct: Any) -> None:
    forecast, observed = np.array([[2.0, NAN, 2.0]]), np.array([[2.0, 2.0, NAN]])
    assert det_cat_fct(forecast, observed, 1.0, "CSI")["CSI"] == pytest.approx(1 / 3)
    assert ours.csi(count(torch.from_numpy(forecast)[None], torch.from_numpy(observed)[None], [1.0])).item() == 1


def test_scores_agrees_on_fields_with_ties_and_gaps(categorical: Any) -> None:
    forecast, observed = rain(3).round(), rain(4).round()
    forecast[:, :5], observed[:, :, :7] = NAN, NAN
    counts = count(forecast, observed, THRESHOLDS)
    fields = [xr.DataArray(field.numpy(), dims=("lead", "y", "x")) for field in (forecast, observed)]
    for k, threshold in enumerate(THRESHOLDS):
        manager = categorical.ThresholdEventOperator().make_contingency_manager(*fields, event_threshold=threshold)
        theirs = manager.transform(preserve_dims=["lead"])
        for name, their_name in IN_SCORES.items():
            np.testing.assert_allclose(getattr(ours, name)(counts)[:, k], getattr(theirs, their_name)(), err_msg=name)


def test_scores_agrees_on_the_errors(categorical: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        continuous = pytest.importorskip("scores.continuous")
    forecast, observed = rain(5), rain(6)
    forecast[:, :5], observed[:, :, :7] = NAN, NAN
    counts = count(forecast, observed, THRESHOLDS)
    fields = [xr.DataArray(field.numpy(), dims=("lead", "y", "x")) for field in (forecast, observed)]
    for name, their_name in {"mse": "mse", "mae": "mae", "mean_error": "mean_error"}.items():
        np.testing.assert_allclose(getattr(ours, name)(counts), getattr(continuous, their_name)(*fields, preserve_dims=["lead"]))


def test_scores_rounds_a_table_of_hits_alone_to_full_skill_and_we_call_it_undefined(categorical: Any) -> None:
    """Chance explains all of it: 0/0. (1/49)·49·49 is a little less than 49 in floating point, and so they find skill."""
    hits_alone = Contingency(49, 0, 0, 0)
    assert basic(categorical, hits_alone).heidke_skill_score().item() == 1.0
    assert np.isnan(ours.hss(hits_alone)) and np.isnan(ours.ets(hits_alone))


def test_scores_gives_an_infinite_bias_without_observed_events_and_we_call_it_undefined(categorical: Any) -> None:
    nothing_observed = Contingency(0, 5, 0, 5)
    assert basic(categorical, nothing_observed).frequency_bias().item() == np.inf
    assert np.isnan(ours.frequency_bias(nothing_observed))
