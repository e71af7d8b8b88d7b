"""Sums of errors, by hand, by the slow way, and in parts."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nowcast.errors import DataError, InternalError
from nowcast.verification.continuous import _case_sums, error_sums
from nowcast.verification.scores import ERROR_SUMS

NAN = float("nan")


def rain(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Half the pixels dry, the others of rates to some 100 mm/h, some missing."""
    generator = torch.Generator().manual_seed(seed)
    values = (2.0 * torch.randn(shape, generator=generator, dtype=torch.float64)).exp()
    chance = torch.rand(shape, generator=generator)
    return values.masked_fill(chance < 0.5, 0.0).masked_fill(chance > 0.9, NAN).to(dtype)


def slow_sums(forecast: Tensor, observed: Tensor) -> dict[str, float]:
    """With the exact sums of `math.fsum`, from Python's float64."""
    pairs = zip(forecast.flatten().tolist(), observed.flatten().tolist(), strict=True)
    pairs = [(f, o) for f, o in pairs if not (math.isnan(f) or math.isnan(o))]
    weights = [
        next(weight for rate, weight in ((30, 30), (10, 10), (5, 5), (2, 2), (0, 1)) if o >= rate)
        for _, o in pairs
    ]
    terms = {
        "squared_error": [(f - o) ** 2 for f, o in pairs],
        "absolute_error": [abs(f - o) for f, o in pairs],
        "error": [f - o for f, o in pairs],
        "forecast_sum": [f for f, _ in pairs],
        "observed_sum": [o for _, o in pairs],
        "forecast_square": [f * f for f, _ in pairs],
        "observed_square": [o * o for _, o in pairs],
        "product": [f * o for f, o in pairs],
        "weighted_squared_error": [
            w * (f - o) ** 2 for w, (f, o) in zip(weights, pairs, strict=True)
        ],
        "weighted_absolute_error": [
            w * abs(f - o) for w, (f, o) in zip(weights, pairs, strict=True)
        ],
    }
    return {name: math.fsum(values) for name, values in terms.items()}


def test_two_by_three_summed_by_hand() -> None:
    observed = torch.tensor([[[[1.0, 0.0, 3.0], [NAN, 1.0, 10.0]]]])
    # left: 1|1, 2|0, 0|3, 8|10; their weights 1, 1, 2, 10
    forecast = torch.tensor([[[[1.0, 2.0, 0.0], [5.0, NAN, 8.0]]]])
    sums = error_sums(forecast, observed)
    assert tuple(sums) == ERROR_SUMS
    assert {name: part.item() for name, part in sums.items()} == {
        "squared_error": 0 + 4 + 9 + 4,
        "absolute_error": 0 + 2 + 3 + 2,
        "error": 0 + 2 - 3 - 2,
        "forecast_sum": 1 + 2 + 8,
        "observed_sum": 1 + 3 + 10,
        "forecast_square": 1 + 4 + 64,
        "observed_square": 1 + 9 + 100,
        "product": 1 + 80,
        "weighted_squared_error": 4 + 2 * 9 + 10 * 4,
        "weighted_absolute_error": 2 + 2 * 3 + 10 * 2,
    }


def test_the_weight_of_a_pixel_goes_by_the_observed_rate() -> None:
    """HKO-7: 1, 1, 2, 5, 10 and 30 from 0, 0.5, 2, 5, 10 and 30 mm/h on."""
    rates = [0.0, 0.4, 0.5, 1.9, 2.0, 4.9, 5.0, 9.9, 10.0, 29.9, 30.0, 80.0]
    weights = [1, 1, 1, 1, 2, 2, 5, 5, 10, 10, 30, 30]
    for rate, weight in zip(rates, weights, strict=True):
        observed = torch.full((1, 1, 1, 1), rate, dtype=torch.float64)
        assert error_sums(observed + 1, observed)[
            "weighted_absolute_error"
        ].item() == pytest.approx(weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_frame_has_the_exact_sums_of_its_values(dtype: torch.dtype) -> None:
    forecast, observed = (
        rain(2, 3, 40, 50, seed=1, dtype=dtype),
        rain(2, 3, 40, 50, seed=2, dtype=dtype),
    )
    sums = error_sums(forecast, observed)
    for case in range(2):
        for lead in range(3):
            for name, value in slow_sums(forecast[case, lead], observed[case, lead]).items():
                assert sums[name].dtype == torch.float64
                assert sums[name][case, lead].item() == pytest.approx(value, rel=1e-13), name


def test_a_rate_below_zero_is_summed_as_it_is() -> None:
    sums = error_sums(torch.tensor([[[[-0.5, 0.0]]]]), torch.tensor([[[[0.0, 0.25]]]]))
    assert [sums[name].item() for name in ("error", "absolute_error", "forecast_sum")] == [
        -0.75,
        0.75,
        -0.5,
    ]


def test_float32_fields_are_summed_as_float64() -> None:
    """Ones added to 2²⁴ are lost in float32; and 1 + 2⁻²³ squared needs 46 bits."""
    field = torch.ones(1, 1, 100, 100)
    field[..., 0, 0] = 2**24
    assert error_sums(field, 0 * field)["forecast_sum"].item() == 2**24 + 9999
    fine = torch.tensor(1 + 2**-23).reshape(1, 1, 1, 1)
    assert error_sums(fine, fine)["product"].item() == (1 + 2**-23) ** 2


def test_a_perfect_forecast_has_no_error_at_all() -> None:
    observed = rain(2, 3, 20, 20)
    sums = error_sums(observed.clone(), observed)
    assert not any(sums[name].any() for name in ERROR_SUMS if "error" in name)
    assert torch.equal(sums["product"], sums["observed_square"])


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 6), max_size=4), rows=st.integers(0, 8), seed=st.integers(0, 2**16)
)
def test_parts_add_up_to_the_whole_however_they_are_cut(
    cuts: list[int], rows: int, seed: int
) -> None:
    forecast, observed = rain(6, 3, 8, 4, seed=seed), rain(6, 3, 8, 4, seed=seed + 1)
    whole = error_sums(forecast, observed)
    parts = []
    for i, j in pairwise([0, *sorted(cuts), 6]):
        for some in (slice(rows), slice(rows, None)):
            parts.append(error_sums(forecast[i:j, :, some], observed[i:j, :, some]))
    for name in ERROR_SUMS:
        together = sum((part[name].sum(0) for part in parts), torch.zeros(3, dtype=torch.float64))
        # errors cancel, rounding does not
        size = whole["absolute_error"].sum(0) if name == "error" else whole[name].sum(0)
        assert ((together - whole[name].sum(0)).abs() <= 1e-13 * size).all(), name


def test_a_view_that_is_not_contiguous_and_a_gradient_are_no_matter() -> None:
    forecast, observed = rain(2, 3, 4, 5, seed=5), rain(2, 3, 4, 5, seed=6)
    turned = error_sums(forecast.mT.clone().requires_grad_(), observed.mT)
    for name, part in error_sums(forecast, observed).items():
        torch.testing.assert_close(turned[name], part, rtol=1e-13, atol=1e-13)


def test_frames_without_pixels_sum_to_zero() -> None:
    sums = error_sums(torch.full((1, 2, 3, 3), NAN), torch.ones(1, 2, 3, 3))
    assert all(part.tolist() == [[0.0, 0.0]] for part in sums.values())
    assert error_sums(torch.ones(0, 2, 3, 3), torch.ones(0, 2, 3, 3))["product"].shape == (0, 2)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_rate_is_refused(value: float) -> None:
    field, infinite = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    infinite[..., 1, 1] = value
    for forecast, observed in [(infinite, field), (field, infinite), (infinite, infinite)]:
        with pytest.raises(InternalError, match="infinite"):
            error_sums(forecast, observed)


def test_fields_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(DataError, match="cannot be compared"):
        error_sums(torch.ones(1, 2, 3, 3), torch.ones(1, 2, 3, 4))
    with pytest.raises(DataError, match="floating point"):
        error_sums(torch.ones(1, 2, 3, 3), torch.ones(1, 2, 3, 3).int())


def test_a_case_as_tensors_has_the_sums_of_its_frames_as_arrays() -> None:
    """What runs on a GPU, here on the CPU."""
    forecast, observed = rain(1, 3, 20, 20, seed=7), rain(1, 3, 20, 20, seed=8)
    as_tensors = _case_sums(forecast[0].flatten(1), observed[0].flatten(1)).reshape(
        3, len(ERROR_SUMS)
    )
    torch.testing.assert_close(
        as_tensors,
        torch.stack(list(error_sums(forecast, observed).values()), -1)[0],
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_gpu_sums_as_the_cpu_does(dtype: torch.dtype) -> None:
    forecast, observed = (
        rain(4, 5, 32, 32, seed=7, dtype=dtype),
        rain(4, 5, 32, 32, seed=8, dtype=dtype),
    )
    on_gpu, on_cpu = error_sums(forecast.cuda(), observed.cuda()), error_sums(forecast, observed)
    for name, part in on_cpu.items():
        torch.testing.assert_close(on_gpu[name], part, rtol=1e-12, atol=1e-9)
    with pytest.raises(InternalError, match="infinite"):
        error_sums(forecast.cuda() * math.inf, observed.cuda())
