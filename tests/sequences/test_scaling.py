import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nowcast.errors import ConfigError
from nowcast.sequences.scaling import Scaling

NAN = math.nan
KINDS = ("log", "linear")
scalings = st.builds(Scaling, st.sampled_from(KINDS), st.floats(1, 500), st.floats(0.001, 1))
rates = st.lists(st.floats(0, 1000, width=32), min_size=1, max_size=20)


@given(scalings, rates)
def test_unscaling_undoes_scaling(scaling, rates):
    there = torch.tensor(rates, dtype=torch.float64)
    torch.testing.assert_close(scaling.unscale(scaling.scale(there)), there, rtol=1e-9, atol=1e-9)


@given(scalings, rates)
def test_in_single_precision_scaling_loses_less_than_a_radar_does(scaling, rates):
    """A rounding of the scaled value, 2^-24 of it, is (1 + R/reference) · log(…) times as much
    of a rate: never 1e-4.
    """
    there = torch.tensor(rates)
    torch.testing.assert_close(scaling.unscale(scaling.scale(there)), there, rtol=1e-4, atol=1e-4)


@given(scalings, st.lists(st.floats(0, 1000, width=32), min_size=2, max_size=20, unique=True))
def test_more_rain_is_a_larger_value(scaling, rates):
    values = scaling.scale(torch.tensor(sorted(rates), dtype=torch.float64))
    assert (values.diff() >= 0).all()
    assert values[-1] > 0


@given(scalings)
def test_dry_is_exactly_zero_and_the_maximum_is_one(scaling):
    values = scaling.scale(torch.tensor([0.0, -0.0, scaling.maximum], dtype=torch.float64))
    assert values[:2].tolist() == [0.0, 0.0]
    assert values[2].item() == pytest.approx(1.0, rel=1e-6)
    assert scaling.unscale(torch.zeros(1)).item() == 0.0


@given(scalings)
def test_missing_stays_missing_both_ways(scaling):
    assert scaling.scale(torch.tensor([NAN, 1.0])).isnan().tolist() == [True, False]
    assert scaling.unscale(torch.tensor([NAN, 1.0])).isnan().tolist() == [True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_values_below_zero_are_dry_and_rates_above_the_maximum_are_kept(kind):
    scaling = Scaling(kind, 100.0, 0.1)
    assert scaling.unscale(torch.tensor([-0.5, -1e-9])).tolist() == [0.0, 0.0]
    assert scaling.scale(torch.tensor(200.0)) > 1
    assert scaling.unscale(scaling.scale(torch.tensor(200.0))).item() == pytest.approx(
        200, rel=1e-5
    )


def test_log_is_even_in_factors_and_linear_in_differences():
    """With reference 1 and maximum 99, 1 + R goes from 1 to 100: R = 9 lies in the middle.

    Of 0 to 99, 49.5 does.
    """
    assert Scaling("log", 99.0, 1.0).scale(torch.tensor(9.0)).item() == pytest.approx(0.5)
    assert Scaling("linear", 99.0, 1.0).scale(torch.tensor(49.5)).item() == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_precision_are_kept_and_the_input_is_left_alone(dtype):
    rates = torch.rand(2, 3, 1, 4, 5, dtype=dtype)
    before = rates.clone()
    scaled = Scaling("log", 100.0, 0.1).scale(rates)
    assert (scaled.shape, scaled.dtype) == (rates.shape, dtype)
    assert torch.equal(rates, before)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("cubic", 100.0, 0.1), "scaling.kind: 'cubic'"),
        (("log", 0.0, 0.1), "scaling.maximum: 0.0"),
        (("log", math.inf, 0.1), "scaling.maximum: inf"),
        (("linear", NAN, 0.1), "scaling.maximum: nan"),
        (("log", 100.0, -0.1), "scaling.reference: -0.1"),
        (("log", 100.0, 0.0), "scaling.reference: 0.0"),
    ],
)
def test_a_scaling_without_an_inverse_is_refused(arguments, named):
    with pytest.raises(ConfigError, match=named):
        Scaling(*arguments)
