"""The same numbers as pysteps and scores give, and where they differ, how.

Both are optional: without them this is skipped.
"""

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from nowcast.verification import scores
from nowcast.verification.continuous import error_sums
from nowcast.verification.counts import common_pixels, count, joint_histogram
from nowcast.verification.scores import Contingency
from nowcast.verification.scoring import CATEGORICAL, CONTINUOUS

THRESHOLDS = (0.5, 2.0, 5.0, 10.0, 30.0)
NAN = float("nan")
IN_PYSTEPS = {
    "csi": "CSI", "hss": "HSS", "pod": "POD", "far": "FAR", "pofd": "FA", "ets": "ETS",
    "frequency_bias": "BIAS", "accuracy": "ACC", "pss": "HK", "sedi": "SEDI",
}  # fmt: skip
IN_SCORES = {
    "csi": "critical_success_index",
    "hss": "heidke_skill_score",
    "pod": "probability_of_detection",
    "far": "false_alarm_ratio",
    "pofd": "probability_of_false_detection",
    "ets": "equitable_threat_score",
    "frequency_bias": "frequency_bias",
    "accuracy": "accuracy",
    "pss": "peirce_skill_score",
    "sedi": "symmetric_extremal_dependence_index",
}
ERRORS_IN_PYSTEPS = {
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "mean_error": "ME",
    "pearson": "corr_p",
}
TABLES = Contingency(*np.array(list(itertools.product((0, 1, 2, 49), repeat=4))).T)
"""Every table of these numbers: with rows, columns and diagonals of nothing."""


def quiet(module: str) -> Any:
    """pysteps prints on import and both warn; where numbers are divided by zero they warn as
    well.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(module)


@pytest.fixture(scope="module")
def of_pysteps() -> Any:
    return quiet("pysteps.verification.detcatscores")


@pytest.fixture(scope="module")
def categorical() -> Any:
    return quiet("scores.categorical")


def rain(seed: int, ties: bool = True, gaps: bool = True) -> torch.Tensor:
    """(lead, h, w) mm/h in float64: half of them dry; every fifth value is one of the
    thresholds; a tenth is missing.
    """
    generator = np.random.default_rng(seed)
    field = generator.gamma(0.4, 15.0, (3, 40, 50)) * (generator.random((3, 40, 50)) < 0.5)
    if ties:
        field = np.where(
            generator.random(field.shape) < 0.2, generator.choice(THRESHOLDS, field.shape), field
        )
    if gaps:
        field[generator.random(field.shape) < 0.1] = NAN
    return torch.from_numpy(field)


def mean_errors(forecast: torch.Tensor, observed: torch.Tensor) -> dict[str, Any]:
    """Sums per lead time, with their pixels."""
    sums = {name: part[0] for name, part in error_sums(forecast[None], observed[None]).items()}
    return sums | {
        "pixels": joint_histogram(forecast[None], observed[None], [1.0]).sum((-2, -1))[0]
    }


# ---- pysteps


def test_pysteps_agrees_on_every_score_where_an_event_is_the_same(of_pysteps: Any) -> None:
    """It wants more than the threshold: so it is asked for more than the number just below it,
    and ties count as with us.
    """
    forecast, observed = rain(1, gaps=False), rain(2, gaps=False)
    counts = count(forecast, observed, THRESHOLDS)
    for lead, (k, threshold) in itertools.product(range(3), enumerate(THRESHOLDS)):
        below = np.nextafter(threshold, 0)
        theirs = of_pysteps.det_cat_fct(
            forecast[lead].numpy(), observed[lead].numpy(), below, list(IN_PYSTEPS.values())
        )
        for name, their_name in IN_PYSTEPS.items():
            assert CATEGORICAL[name].function(counts)[lead, k] == pytest.approx(
                theirs[their_name], rel=1e-12
            ), (name, threshold)


def test_pysteps_wants_more_than_the_threshold_and_we_at_least_it(of_pysteps: Any) -> None:
    forecast, observed = np.array([[2.0, 1.0]]), np.array([[2.0, 0.0]])
    assert of_pysteps.det_cat_fct(forecast, observed, 1.0, "CSI")["CSI"] == 1
    assert (
        scores.csi(
            count(torch.from_numpy(forecast)[None], torch.from_numpy(observed)[None], [1.0])
        ).item()
        == 1 / 2
    )


def test_pysteps_counts_a_missing_pixel_as_no_event_and_we_do_not_count_it(of_pysteps: Any) -> None:
    """A pixel out of reach of the radar is no correct negative, and rain forecast there no
    false alarm.
    """
    forecast, observed = rain(3), rain(4)
    theirs, ours = (
        of_pysteps.det_cat_fct_init(np.nextafter(2.0, 0), axis=(1, 2)),
        count(forecast, observed, [2.0]),
    )
    of_pysteps.det_cat_fct_accum(theirs, forecast.numpy(), observed.numpy())
    as_dry = count(forecast.nan_to_num(0.0), observed.nan_to_num(0.0), [2.0])
    for name in ("hits", "false_alarms", "misses", "correct_negatives"):
        assert theirs[name].tolist() == getattr(as_dry, name)[:, 0].tolist(), name
    assert as_dry.pixels.tolist() == [2000] * 3
    assert ours.pixels.tolist() == (~(forecast.isnan() | observed.isnan())).sum((1, 2)).tolist()
    assert (ours.correct_negatives < as_dry.correct_negatives).all() and (
        ours.misses < as_dry.misses
    ).all()
    assert torch.equal(ours.hits, as_dry.hits)


def test_pysteps_and_we_disagree_on_two_scores_of_degenerate_tables(of_pysteps: Any) -> None:
    """Its ETS is made from POD and POFD and undefined where either is: (0, 1, 0, 1) has no
    skill, which is 0 with us, since (a − r) / (a + b + c − r) is (0 − 0) / (1 − 0). Its bias
    without observed events is infinite, and ours undefined.
    """
    a, b, c, d = TABLES
    one_sided = ((a + c == 0) | (b + d == 0)) & (b + c > 0)
    other = {"ets": one_sided, "frequency_bias": (a + c == 0) & (b > 0)}
    theirs = {"hits": a, "false_alarms": b, "misses": c, "correct_negatives": d}
    for name, their_name in IN_PYSTEPS.items():
        with np.errstate(all="ignore"):
            values = of_pysteps.det_cat_fct_compute(theirs, their_name)[their_name]
        ours, same = CATEGORICAL[name].function(TABLES), ~other.get(name, np.zeros(len(a), bool))
        np.testing.assert_allclose(ours[same], values[same], rtol=1e-9, atol=1e-12, err_msg=name)
        if name == "ets":
            assert (ours[~same] == 0).all() and np.isnan(values[~same]).all()
        if name == "frequency_bias":
            assert np.isnan(ours[~same]).all() and (values[~same] == np.inf).all()


def test_pysteps_agrees_on_the_errors_over_common_pixels(of_pysteps: Any) -> None:
    det_cont_fct = quiet("pysteps.verification.detcontscores").det_cont_fct
    forecast, observed = common_pixels(rain(5), rain(6))
    sums = mean_errors(forecast, observed)
    theirs = det_cont_fct(
        forecast.numpy(), observed.numpy(), list(ERRORS_IN_PYSTEPS.values()), axis=(1, 2)
    )
    for name, their_name in ERRORS_IN_PYSTEPS.items():
        np.testing.assert_allclose(
            CONTINUOUS[name].function(sums), theirs[their_name], rtol=1e-12, err_msg=name
        )


def test_pysteps_takes_the_means_of_its_correlation_over_pixels_that_the_other_field_lacks(
    of_pysteps: Any,
) -> None:
    """Errors it takes over common pixels, as we do; the mean and variance of a field over all
    that this field has.
    """
    det_cont_fct = quiet("pysteps.verification.detcontscores").det_cont_fct
    forecast, observed = rain(5), rain(6)
    sums = mean_errors(forecast, observed)
    theirs = det_cont_fct(
        forecast.numpy(), observed.numpy(), list(ERRORS_IN_PYSTEPS.values()), axis=(1, 2)
    )
    for name in ("mse", "rmse", "mae", "mean_error"):
        np.testing.assert_allclose(
            CONTINUOUS[name].function(sums), theirs[ERRORS_IN_PYSTEPS[name]], rtol=1e-12
        )
    assert (abs(scores.pearson(sums) - theirs["corr_p"]) > 1e-6).all()
    together = [
        np.corrcoef(f[f.isfinite() & o.isfinite()], o[f.isfinite() & o.isfinite()])[0, 1]
        for f, o in zip(forecast, observed, strict=True)
    ]
    np.testing.assert_allclose(scores.pearson(sums), together, rtol=1e-12)


# ---- scores


def test_scores_agrees_on_fields_with_ties_and_gaps(categorical: Any) -> None:
    forecast, observed = rain(7), rain(8)
    counts = count(forecast, observed, THRESHOLDS)
    fields = [
        xr.DataArray(field.numpy(), dims=("lead", "y", "x")) for field in (forecast, observed)
    ]
    for k, threshold in enumerate(THRESHOLDS):
        manager = categorical.ThresholdEventOperator().make_contingency_manager(
            *fields, event_threshold=threshold
        )
        theirs = manager.transform(preserve_dims=["lead"])
        for name, their_name in IN_SCORES.items():
            np.testing.assert_allclose(
                CATEGORICAL[name].function(counts)[:, k],
                getattr(theirs, their_name)(),
                rtol=1e-12,
                err_msg=name,
            )


def test_scores_agrees_on_the_errors_of_fields_with_gaps(categorical: Any) -> None:
    continuous = quiet("scores.continuous")
    theirs = {
        "mse": continuous.mse, "rmse": continuous.rmse, "mae": continuous.mae,
        "mean_error": continuous.mean_error, "pearson": continuous.correlation.pearsonr,
    }  # fmt: skip
    forecast, observed = rain(9), rain(10)
    sums = mean_errors(forecast, observed)
    fields = [
        xr.DataArray(field.numpy(), dims=("lead", "y", "x")) for field in (forecast, observed)
    ]
    for name, function in theirs.items():
        values = function(*fields, preserve_dims=["lead"])
        np.testing.assert_allclose(
            CONTINUOUS[name].function(sums), values, rtol=1e-12, err_msg=name
        )


def test_scores_and_we_disagree_on_two_scores_of_degenerate_tables(categorical: Any) -> None:
    """Hits alone, or correct negatives alone: chance explains all of it, 0/0, and HSS is undefined.

    (1/49)·49·49 is a little less than 49 in floating point, and so `scores` finds full skill. Its
    bias without observed events is infinite.
    """
    a, b, c, d = TABLES
    rounded = (a + b + c + d == 49) & ((a == 49) | (d == 49))
    other = {"hss": rounded, "frequency_bias": (a + c == 0) & (b > 0)}
    counted = dict(zip(("tp_count", "fp_count", "fn_count", "tn_count"), TABLES, strict=True)) | {
        "total_count": a + b + c + d
    }
    manager = categorical.BasicContingencyManager(
        {name: xr.DataArray(value.astype(float), dims="t") for name, value in counted.items()}
    )
    for name, their_name in IN_SCORES.items():
        with np.errstate(all="ignore"):
            values = getattr(manager, their_name)().values
        ours, same = CATEGORICAL[name].function(TABLES), ~other.get(name, np.zeros(len(a), bool))
        np.testing.assert_allclose(ours[same], values[same], rtol=1e-9, atol=1e-12, err_msg=name)
        if name in other:
            assert np.isnan(ours[~same]).all()
            assert (values[~same] == (1.0 if name == "hss" else np.inf)).all()
