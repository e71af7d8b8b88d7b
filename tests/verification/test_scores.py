"""Scores against tables and sums that can be checked by hand."""

import math

import numpy as np
import pytest
import torch
import xarray as xr

from nowcast.verification import scores
from nowcast.verification.continuous import error_sums
from nowcast.verification.scores import ERROR_SUMS, Contingency
from nowcast.verification.scoring import CATEGORICAL, CONTINUOUS

NAN = float("nan")
FINLEY = Contingency(hits=28, false_alarms=72, misses=23, correct_negatives=2680)
HKO7 = {
    "last frame": [
        (0.4022, 0.5207, (5000, 3716, 3716, 66453)),
        (0.3266, 0.4531, (1000, 1031, 1031, 25224)),
        (0.2401, 0.3582, (2000, 3165, 3165, 105891)),
        (0.1574, 0.2512, (1000, 2677, 2677, 126268)),
        (0.0692, 0.1193, (1000, 6725, 6725, 655847)),
    ],
    "ROVER-nonlinear": [
        (0.4655, 0.5896, (1000, 574, 574, 11980)),
        (0.4074, 0.5436, (5000, 3636, 3636, 99158)),
        (0.3226, 0.4590, (1000, 1050, 1050, 35402)),
        (0.2164, 0.3318, (1000, 1811, 1811, 73820)),
        (0.0951, 0.1576, (1000, 4758, 4758, 291296)),
    ],
    "ConvLSTM": [
        (0.5543, 0.6756, (1000, 402, 402, 10271)),
        (0.4790, 0.6171, (5000, 2719, 2719, 85986)),
        (0.3784, 0.5240, (2000, 1643, 1643, 64082)),
        (0.2866, 0.4265, (2000, 2489, 2489, 128280)),
        (0.1815, 0.2963, (1000, 2255, 2255, 204253)),
    ],
    "TrajGRU": [
        (0.5430, 0.6643, (5000, 2104, 2104, 51123)),
        (0.4678, 0.6051, (5000, 2844, 2844, 85124)),
        (0.3667, 0.5105, (2000, 1727, 1727, 64379)),
        (0.2774, 0.4148, (2000, 2605, 2605, 130913)),
        (0.1730, 0.2835, (1000, 2390, 2390, 205703)),
    ],
}
"""CSI and HSS as Shi et al. 2017 print them, from 0.5, 2, 5, 10 and 30 mm/h on, and a table
that has both: a, b = c, d.
"""


# ---- categorical


def test_finleys_tornadoes() -> None:
    printed = {  # Wilks 2019, ch. 9; SEDI from H = 0.5490 and F = 0.02616 with a pocket calculator
        "csi": 0.228, "hss": 0.355, "pod": 0.549, "far": 0.720, "pofd": 0.026, "ets": 0.216,
        "frequency_bias": 1.96, "accuracy": 0.966, "pss": 0.523, "sedi": 0.753,
    }  # fmt: skip
    exact = {
        "csi": 28 / 123,
        "hss": 2 * (28 * 2680 - 72 * 23) / (51 * 2703 + 100 * 2752),
        "pod": 28 / 51,
        "far": 72 / 100,
        "pofd": 72 / 2752,
        "ets": (28 - 51 * 100 / 2803) / (123 - 51 * 100 / 2803),
        "frequency_bias": 100 / 51,
        "accuracy": 2708 / 2803,
        "pss": 28 / 51 - 72 / 2752,
        "sedi": (
            math.log(72 / 2680 * 23 / 28) / math.log(72 / 2752 * 2680 / 2752 * 28 / 51 * 23 / 51)
        ),
    }
    assert printed.keys() == exact.keys() == CATEGORICAL.keys()
    for name, score in CATEGORICAL.items():
        assert score.function(FINLEY) == pytest.approx(exact[name], rel=1e-14), name
        assert score.function(FINLEY) == pytest.approx(
            printed[name], abs=5e-3 if name == "frequency_bias" else 5e-4
        ), name


def test_no_tornado_ever_is_more_often_right_and_has_no_skill() -> None:
    """Gilbert's answer to Finley."""
    never = Contingency(0, 0, 51, 2752)
    assert scores.accuracy(never) > scores.accuracy(FINLEY)
    assert scores.pss(never) == scores.hss(never) == scores.csi(never) == 0


def test_a_perfect_and_a_chance_forecast() -> None:
    perfect, chance = Contingency(5, 0, 0, 15), Contingency(1, 4, 3, 12)
    for name, score in CATEGORICAL.items():
        if name != "sedi":  # which is not defined there, and 1 only in the limit
            assert score.function(perfect) == score.perfect, name
    assert scores.sedi(Contingency(10**9, 1, 1, 10**9)) == pytest.approx(1, abs=0.01)
    for score in (scores.hss, scores.ets, scores.pss, scores.sedi):
        assert score(chance) == pytest.approx(0, abs=1e-15)


def test_exchanged_forecasts_have_the_opposite_skill() -> None:
    for score in (scores.hss, scores.pss, scores.sedi):
        assert score(Contingency(30, 20, 10, 40)) == pytest.approx(
            -score(Contingency(10, 40, 30, 20))
        )


def test_sedi_does_not_fade_as_the_event_becomes_rare() -> None:
    """Base rate s, H = s^0.3 and F = s: all others go to 0, this one to (1 − 0.3) / (1 + 0.3)
    (Ferro & Stephenson 2011).
    """
    rare = Contingency(
        *[1e300 * part for part in (1e-60 * 1e-18, 1e-60, 1e-60 * (1 - 1e-18), 1 - 2e-60)]
    )
    assert scores.sedi(rare) == pytest.approx((60 - 18) / (60 + 18))
    assert scores.csi(rare) < 1e-17


@pytest.mark.parametrize(
    ("table", "wanted"),  # csi, hss, pod, far, pofd, ets, frequency_bias, accuracy, pss, sedi
    [
        ((0, 0, 0, 0), [NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN]),
        ((49, 0, 0, 0), [1, NAN, 1, 0, NAN, NAN, 1, 1, NAN, NAN]),
        ((0, 49, 0, 0), [0, 0, NAN, 1, 1, 0, NAN, 0, NAN, NAN]),
        ((0, 0, 49, 0), [0, 0, 0, NAN, NAN, 0, 0, 0, NAN, NAN]),
        ((0, 0, 0, 49), [NAN, NAN, NAN, NAN, 0, NAN, NAN, 1, NAN, NAN]),
        ((0, 1, 0, 48), [0, 0, NAN, 1, 1 / 49, 0, NAN, 48 / 49, NAN, NAN]),
        ((0, 0, 1, 48), [0, 0, 0, NAN, 0, 0, 0, 48 / 49, 0, NAN]),
        ((1, 0, 1, 2), [1 / 2, 1 / 2, 1 / 2, 0, 0, 1 / 3, 1 / 2, 3 / 4, 1 / 2, NAN]),
    ],
)
def test_where_the_divisor_is_zero_the_score_is_nan(
    table: tuple[int, ...], wanted: list[float]
) -> None:
    np.testing.assert_allclose(
        [score.function(Contingency(*table)) for score in CATEGORICAL.values()], wanted
    )


def test_int64_products_do_not_overflow() -> None:
    """At 1e12 pixels of each kind a·d is 1e24; int64 ends at 9.2e18."""
    huge = Contingency(*torch.tensor([3, 1, 1, 5]).mul(10**12).unbind())
    assert scores.hss(huge) == pytest.approx(2 * (15 - 1) / (4 * 6 + 4 * 6))
    assert scores.ets(huge) == pytest.approx((3 - 1.6) / (5 - 1.6))
    assert scores.pss(huge) == pytest.approx(3 / 4 - 1 / 6)


@pytest.mark.parametrize("kind", [np.array, torch.tensor, xr.DataArray])
def test_arrays_of_tables_keep_their_shape(kind: type) -> None:
    tables = Contingency(kind([[28, 0]]), kind([[72, 0]]), kind([[23, 0]]), kind([[2680, 9]]))
    for name, score in CATEGORICAL.items():
        result = score.function(tables)
        assert result.dtype == np.float64 and result.shape == (1, 2), name
        assert result[0, 0] == score.function(FINLEY), name
    np.testing.assert_allclose(scores.csi(tables), [[28 / 123, NAN]])


@pytest.mark.parametrize("forecast", HKO7)
def test_csi_and_hss_as_published_come_from_one_table(forecast: str) -> None:
    """Two numbers to four decimals, one table of whole pixels with as many false alarms as misses:
    both formulas must hold.

    (The paper prints means over lead times, which need not come from any one table; that these do
    shows that the two scores are the paper's. Its own code takes HSS from Gilbert's score.)
    """
    for printed_csi, printed_hss, table in HKO7[forecast]:
        counts = Contingency(*table)
        assert round(scores.csi(counts).item(), 4) == printed_csi
        assert round(scores.hss(counts).item(), 4) == printed_hss
        gilbert = scores.ets(counts)
        assert scores.hss(counts) == pytest.approx(2 * gilbert / (1 + gilbert))


# ---- continuous


def sums_of(forecast: list[float], observed: list[float]) -> dict[str, float]:
    fields = [
        torch.tensor(field, dtype=torch.float64).reshape(1, 1, 1, -1)
        for field in (forecast, observed)
    ]
    pixels = sum(not math.isnan(f + o) for f, o in zip(forecast, observed, strict=True))
    return {name: part.item() for name, part in error_sums(*fields).items()} | {
        "pixels": pixels,
        "frames": 1,
    }


def test_four_pixels_by_hand() -> None:
    sums = sums_of([1.0, 2.0, 0.0, 8.0, NAN], [1.0, 0.0, 3.0, 10.0, 7.0])
    exact = {
        "mse": 17 / 4,
        "rmse": math.sqrt(17) / 2,
        "mae": 7 / 4,
        "mean_error": -3 / 4,
        "pearson": (81 - 4 * 2.75 * 3.5) / math.sqrt((69 - 4 * 2.75**2) * (110 - 4 * 3.5**2)),
        "correlation": 81 / math.sqrt(69 * 110),
        "b_mse": 4 + 2 * 9 + 10 * 4,
        "b_mae": 2 + 2 * 3 + 10 * 2,
    }
    assert exact.keys() == CONTINUOUS.keys()
    for name, score in CONTINUOUS.items():
        assert score.function(sums) == pytest.approx(exact[name]), name


def test_a_perfect_forecast_has_the_perfect_scores() -> None:
    sums = sums_of([0.0, 0.3, 7.0], [0.0, 0.3, 7.0])
    for name, score in CONTINUOUS.items():
        assert score.function(sums) == pytest.approx(score.perfect, abs=1e-15), name


def test_without_pixels_or_cases_every_error_is_undefined() -> None:
    nothing = dict.fromkeys((*ERROR_SUMS, "pixels", "frames"), 0.0)
    assert all(np.isnan(score.function(nothing)) for score in CONTINUOUS.values())


def test_balanced_errors_are_of_a_frame() -> None:
    """Two cases of twice the sum are as one case."""
    one = sums_of([1.0, 8.0], [3.0, 10.0])
    two = {name: 2 * part for name, part in one.items()}
    assert scores.b_mse(two) == scores.b_mse(one) == 2 * 4 + 10 * 4


def test_sums_keep_their_shape_and_cases_may_have_fewer_axes() -> None:
    sums = {
        name: np.full((2, 3), part)
        for name, part in sums_of([1.0, 8.0, 0.0], [3.0, 10.0, 1.0]).items()
    } | {"frames": 2}
    for name, score in CONTINUOUS.items():
        assert score.function(sums).shape == (2, 3) and score.function(sums).dtype == np.float64, (
            name
        )
    dataset = xr.Dataset(
        {
            name: (("forecast", "lead_time"), np.broadcast_to(part, (2, 3)))
            for name, part in sums.items()
        }
    )
    np.testing.assert_array_equal(scores.pearson(dataset), scores.pearson(sums))


def test_pearson_is_numpys_and_needs_no_second_pass_over_the_fields() -> None:
    generator = np.random.default_rng(0)
    observed = generator.gamma(0.2, 5.0, 100_000)
    forecast = 0.4 * observed + generator.gamma(0.2, 5.0, 100_000)
    sums = sums_of(forecast.tolist(), observed.tolist())
    assert scores.pearson(sums) == pytest.approx(np.corrcoef(forecast, observed)[0, 1], rel=1e-12)
    assert scores.pearson(sums_of([0.0, 1.0, 5.0], [5.0, 4.0, 0.0])) == pytest.approx(-1)
    assert scores.correlation(sums_of([0.0, 1.0, 5.0], [5.0, 4.0, 0.0])) == pytest.approx(
        4 / math.sqrt(26 * 41)
    )


def test_a_constant_field_has_no_correlation_even_where_its_variance_is_rounded() -> None:
    """0.1 + 0.1 + … leaves Σf² − (Σf)² / n a little above or below zero."""
    residues = set()
    for n in range(1001, 1021):
        drizzle, showers = [0.1] * n, [float(k % 7) for k in range(n)]
        sums = sums_of(drizzle, showers)
        residues.add(np.sign(sums["forecast_square"] - sums["forecast_sum"] ** 2 / n))
        assert np.isnan(scores.pearson(sums)) and np.isnan(
            scores.pearson(sums_of(showers, drizzle))
        )
    assert {-1, 1} <= residues
    assert np.isnan(scores.correlation(sums_of([0.0] * n, showers)))
    assert scores.correlation(sums) > 0


@pytest.mark.parametrize(("spread", "digits"), [(1.0, 1e-9), (1e-3, 1e-5)])
def test_pearson_of_small_differences_on_a_large_mean(spread: float, digits: float) -> None:
    """Its limit: of a field of 100 ± spread, some 15 − 2 log₁₀(100 / spread) digits are left."""
    generator = np.random.default_rng(1)
    observed = 100 + spread * generator.standard_normal(10_000)
    forecast = observed + spread * generator.standard_normal(10_000)
    sums = sums_of(forecast.tolist(), observed.tolist())
    assert scores.pearson(sums) == pytest.approx(np.corrcoef(forecast, observed)[0, 1], rel=digits)


# ---- the lists of scores


@pytest.mark.parametrize("name", CATEGORICAL)
def test_no_table_leaves_the_range_that_is_told(name: str) -> None:
    score = CATEGORICAL[name]
    tables = np.stack(np.meshgrid(*[[0, 1, 2, 5, 1000]] * 4)).reshape(4, -1)
    values = score.function(Contingency(*tables))
    defined = values[~np.isnan(values)]
    low, high = score.range
    assert (defined >= low - 1e-12).all() and (defined <= high).all() and np.isfinite(defined).all()
    assert low <= score.perfect <= high


@pytest.mark.parametrize("name", CONTINUOUS)
def test_no_fields_leave_the_range_that_is_told(name: str) -> None:
    score = CONTINUOUS[name]
    generator = np.random.default_rng(2)
    for _ in range(50):
        forecast, observed = generator.gamma(0.3, 5.0, (2, 4))
        low, high = score.range
        assert low <= score.function(sums_of(forecast.tolist(), observed.tolist())) <= high
    assert score.long_name and score.units in {"1", "mm h-1", "mm2 h-2"}
