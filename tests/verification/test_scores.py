"""Scores against tables that can be checked by hand."""

import numpy as np
import pytest
import torch

from nowcast.verification import scores
from nowcast.verification.scores import Contingency

FINLEY = Contingency(hits=28, false_alarms=72, misses=23, correct_negatives=2680)
HKO7_CSI_HSS = {
    "last frame": [(0.4022, 0.5207), (0.3266, 0.4531), (0.2401, 0.3582), (0.1574, 0.2512), (0.0692, 0.1193)],
    "ConvLSTM": [(0.5543, 0.6756), (0.4790, 0.6171), (0.3784, 0.5240), (0.2866, 0.4265), (0.1815, 0.2963)],
}
"""Per threshold 0.5, 2, 5, 10, 30 mm/h, from Shi et al. 2017."""


def test_finleys_tornadoes() -> None:
    assert scores.csi(FINLEY) == pytest.approx(28 / 123)
    assert scores.pod(FINLEY) == pytest.approx(28 / 51)
    assert scores.far(FINLEY) == pytest.approx(72 / 100)
    assert scores.pofd(FINLEY) == pytest.approx(72 / 2752)
    assert scores.frequency_bias(FINLEY) == pytest.approx(100 / 51)
    assert scores.hss(FINLEY) == pytest.approx(2 * (28 * 2680 - 72 * 23) / (51 * 2703 + 100 * 2752))
    assert scores.hss(FINLEY) == pytest.approx(0.355, abs=5e-4)
    chance = 51 * 100 / 2803
    assert scores.ets(FINLEY) == pytest.approx((28 - chance) / (123 - chance))
    assert scores.ets(FINLEY) == pytest.approx(0.216, abs=5e-4)


def test_a_perfect_and_a_chance_forecast() -> None:
    perfect, chance = Contingency(5, 0, 0, 15), Contingency(1, 4, 3, 12)
    for score in (scores.csi, scores.pod, scores.hss, scores.ets, scores.frequency_bias):
        assert score(perfect) == 1
    assert scores.far(perfect) == scores.pofd(perfect) == 0
    assert scores.hss(chance) == scores.ets(chance) == 0


NAN = float("nan")


@pytest.mark.parametrize(
    ("table", "wanted"),  # csi, hss, ets, pod, far, pofd, frequency_bias
    [
        ((0, 0, 0, 0), [NAN, NAN, NAN, NAN, NAN, NAN, NAN]),
        ((49, 0, 0, 0), [1, NAN, NAN, 1, 0, NAN, 1]),
        ((0, 49, 0, 0), [0, 0, 0, NAN, 1, 1, NAN]),
        ((0, 0, 49, 0), [0, 0, 0, 0, NAN, NAN, 0]),
        ((0, 0, 0, 49), [NAN, NAN, NAN, NAN, NAN, 0, NAN]),
        ((0, 1, 0, 48), [0, 0, 0, NAN, 1, 1 / 49, NAN]),
        ((0, 0, 1, 48), [0, 0, 0, 0, NAN, 0, 0]),
    ],
)
def test_where_the_divisor_is_zero_the_score_is_nan(table: tuple[int, ...], wanted: list[float]) -> None:
    seven = (scores.csi, scores.hss, scores.ets, scores.pod, scores.far, scores.pofd, scores.frequency_bias)
    np.testing.assert_allclose([score(Contingency(*table)) for score in seven], wanted)


def test_int64_products_do_not_overflow() -> None:
    """At 1e12 pixels of each kind a·d is 1e24; int64 ends at 9.2e18."""
    huge = Contingency(*torch.tensor([3, 1, 1, 5]).mul(10**12).unbind())
    assert scores.hss(huge) == pytest.approx(2 * (15 - 1) / (4 * 6 + 4 * 6))
    assert scores.ets(huge) == pytest.approx((3 - 1.6) / (5 - 1.6))


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_arrays_of_tables_keep_their_shape(kind: type) -> None:
    tables = Contingency(kind([[28, 0]]), kind([[72, 0]]), kind([[23, 0]]), kind([[2680, 9]]))
    result = scores.csi(tables)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, [[28 / 123, NAN]])


@pytest.mark.parametrize("forecast", HKO7_CSI_HSS)
def test_published_csi_and_hss_come_back_from_one_table(forecast: str) -> None:
    """CSI and HSS fix the table up to its size, given as many false alarms as misses; both scores must then agree with print."""
    for printed_csi, printed_hss in HKO7_CSI_HSS[forecast]:
        a = 1e9
        b = c = a * (1 / printed_csi - 1) / 2
        d = b * (printed_hss * (a + b) + b) / (a - printed_hss * (a + b))
        table = Contingency(*(int(number) for number in (a, b, c, d)))
        assert scores.csi(table) == pytest.approx(printed_csi, abs=1e-6)
        assert scores.hss(table) == pytest.approx(printed_hss, abs=1e-6)
