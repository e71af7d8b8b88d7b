"""Counting, by hand, by the slow way, and in parts."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nowcast.errors import DataError, InternalError
from nowcast.verification import Counts, common_pixels, count, scores

NAN = float("nan")
THRESHOLDS = (0.1, 0.5, 2.0, 10.0)
EXACT = ("joint", "pixels", "hits", "false_alarms", "misses", "correct_negatives")
SUMS = ("squared_error", "absolute_error", "error")


def rain(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Dry and wet pixels, many exactly at a threshold, some missing."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor([0.0, 0.05, 0.1, 0.3, 0.5, 1.0, 2.0, 9.99, 10.0, 55.5, NAN], dtype=dtype)
    return values[torch.randint(len(values), shape, generator=generator)]


def assert_same(one: Counts, other: Counts) -> None:
    assert (one.thresholds, one.cases) == (other.thresholds, other.cases)
    for name in EXACT:
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in SUMS:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-12)


def test_two_by_three_counted_by_hand() -> None:
    observed = torch.tensor([[[1.0, 0.0, 3.0], [NAN, 1.0, 0.5]]])
    forecast = torch.tensor([[[1.0, 2.0, 0.0], [5.0, NAN, 0.0]]])
    counts = count(forecast, observed, [1.0, 3.0])  # left: 1|1, 2|0, 0|3, 0|0.5 as forecast|observed
    assert counts.pixels.tolist() == [4]
    assert counts.hits.tolist() == [[1, 0]]
    assert counts.false_alarms.tolist() == [[1, 0]]
    assert counts.misses.tolist() == [[1, 1]]
    assert counts.correct_negatives.tolist() == [[1, 3]]
    assert counts.joint.tolist() == [[[1, 0, 1], [1, 1, 0], [0, 0, 0]]]
    assert counts.squared_error.tolist() == [4 + 9 + 0.25]
    assert counts.absolute_error.tolist() == [2 + 3 + 0.5]
    assert counts.error.tolist() == [2 - 3 - 0.5]
    assert scores.csi(counts).tolist() == [[pytest.approx(1 / 3), 0.0]]
    assert scores.mse(counts) == pytest.approx(13.25 / 4)
    assert scores.mae(counts) == pytest.approx(5.5 / 4)
    assert scores.mean_error(counts) == pytest.approx(-1.5 / 4)


def test_finleys_tornadoes_from_fields() -> None:
    forecast = torch.tensor([1.0] * 28 + [1.0] * 72 + [0.0] * 23 + [0.0] * 2680).reshape(1, 1, -1)
    observed = torch.tensor([1.0] * 28 + [0.0] * 72 + [1.0] * 23 + [0.0] * 2680).reshape(1, 1, -1)
    counts = count(forecast, observed, [1.0])
    assert [counts.hits.item(), counts.false_alarms.item(), counts.misses.item()] == [28, 72, 23]
    assert counts.correct_negatives.item() == 2680
    assert scores.hss(counts).item() == pytest.approx(0.355, abs=5e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_value_at_the_threshold_is_an_event_in_every_dtype(dtype: torch.dtype) -> None:
    """0.1 is no binary number: as float32 it is a little more, as bfloat16 too, as float16 a little less."""
    field = torch.full((1, 1, 1), 0.1, dtype=dtype)
    assert count(field, field, [0.1]).hits.item() == 1
    assert count(field, torch.full((1, 1, 1), 0.1, dtype=torch.float64), [0.1]).hits.item() == 1


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 3, 1, 4, 5)])
def test_a_random_field_counts_as_the_slow_way_does(shape: tuple[int, ...]) -> None:
    forecast, observed = rain(*shape, seed=1), rain(*shape, seed=2)
    counts = count(forecast, observed, THRESHOLDS)
    axis = 0 if len(shape) == 3 else 1
    for lead in range(shape[axis]):
        f, o = forecast.select(axis, lead).flatten().tolist(), observed.select(axis, lead).flatten().tolist()
        pairs = [(x, y) for x, y in zip(f, o, strict=True) if not (math.isnan(x) or math.isnan(y))]
        assert counts.pixels[lead] == len(pairs)
        assert counts.squared_error[lead] == pytest.approx(sum((x - y) ** 2 for x, y in pairs), rel=1e-6)
        assert counts.error[lead] == pytest.approx(sum(x - y for x, y in pairs), rel=1e-5)
        for k, threshold in enumerate(torch.tensor(THRESHOLDS).tolist()):
            assert counts.hits[lead, k] == sum(x >= threshold and y >= threshold for x, y in pairs)
            assert counts.false_alarms[lead, k] == sum(x >= threshold > y for x, y in pairs)
            assert counts.misses[lead, k] == sum(y >= threshold > x for x, y in pairs)
            assert counts.correct_negatives[lead, k] == sum(x < threshold and y < threshold for x, y in pairs)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 6), max_size=4), seed=st.integers(0, 2**16))
def test_parts_add_up_to_the_whole_however_they_are_cut(cuts: list[int], seed: int) -> None:
    forecast, observed = rain(6, 3, 1, 4, 4, seed=seed), rain(6, 3, 1, 4, 4, seed=seed + 1)
    edges = [0, *sorted(cuts), 6]
    parts = [count(forecast[i:j], observed[i:j], THRESHOLDS) for i, j in pairwise(edges)]
    assert_same(sum(parts, Counts.zeros(THRESHOLDS, 3)), count(forecast, observed, THRESHOLDS))


def test_pooled_counts_are_the_sums_over_lead_times() -> None:
    counts = count(rain(2, 3, 4, 4, seed=3), rain(2, 3, 4, 4, seed=4), THRESHOLDS)
    pooled = counts.pooled()
    assert pooled.lead_steps == 1 and pooled.cases == 2
    assert torch.equal(pooled.hits[0], counts.hits.sum(0))
    assert torch.equal(pooled.correct_negatives[0], counts.correct_negatives.sum(0))


def test_a_frame_without_pixels_scores_nan() -> None:
    counts = count(torch.full((1, 2, 2), NAN), torch.ones(1, 2, 2), [0.5])
    assert counts.pixels.item() == 0
    assert all(math.isnan(score(counts).item()) for score in (scores.csi, scores.hss, scores.mse, scores.mae, scores.mean_error))


def test_counts_beyond_int32_stay_exact() -> None:
    field = torch.ones(1, 1, 1)
    one = count(field, field, [0.5])
    many = Counts(one.thresholds, one.joint * 2**40, one.pixels * 2**40, one.squared_error, one.absolute_error, one.error, 1)
    assert (many + many).hits.item() == 2**41


def test_a_view_that_is_not_contiguous_and_a_gradient_are_no_matter() -> None:
    forecast, observed = rain(3, 4, 5, seed=5).nan_to_num(1.0), rain(3, 4, 5, seed=6)
    plain = count(forecast, observed, THRESHOLDS)
    assert_same(count(forecast.transpose(1, 2).requires_grad_(), observed.transpose(1, 2), THRESHOLDS), plain)


def test_common_pixels_are_those_present_in_all() -> None:
    first, second, third = torch.tensor([1.0, NAN, 3.0]), torch.tensor([4.0, 5.0, NAN]), torch.tensor([7.0, 8.0, 9.0])
    fields = common_pixels(first, second, third)
    assert [field[0].item() for field in fields] == [1, 4, 7]
    assert all(field[1:].isnan().all() for field in fields)
    assert third.tolist() == [7, 8, 9]


def test_counting_refuses_what_cannot_be_compared() -> None:
    field = torch.ones(1, 2, 2)
    for forecast, observed, thresholds, message in [
        (field, torch.ones(1, 2, 3), [1.0], "cannot be compared"),
        (field[0], field[0], [1.0], "cannot be compared"),
        (field.int(), field, [1.0], "floating point"),
        (field, field, [], "at least one"),
        (field, field, [1.0, 1.0], "ascending"),
        (field, field, [2.0, 1.0], "ascending"),
        (field, field, [NAN], "finite"),
    ]:
        with pytest.raises(DataError, match=message):
            count(forecast, observed, thresholds)
    with pytest.raises(DataError, match="same shape"):
        common_pixels(field, field[0])
    with pytest.raises(InternalError, match="infinite"):
        count(field * math.inf, field, [1.0])


def test_counts_of_different_kinds_do_not_add() -> None:
    with pytest.raises(DataError, match="one set"):
        Counts.zeros([1.0], 3) + Counts.zeros([2.0], 3)
    with pytest.raises(DataError, match="lead times"):
        Counts.zeros([1.0], 3) + Counts.zeros([1.0], 4)
    with pytest.raises(TypeError):
        Counts.zeros([1.0], 3) + 1  # type: ignore[operator]
    with pytest.raises(InternalError, match="shapes"):
        zeros = Counts.zeros([1.0], 3)
        Counts((1.0, 2.0), zeros.joint, zeros.pixels, zeros.squared_error, zeros.absolute_error, zeros.error, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_counts_as_the_cpu_does() -> None:
    forecast, observed = rain(4, 5, 1, 32, 32, seed=7), rain(4, 5, 1, 32, 32, seed=8)
    assert_same(count(forecast.cuda(), observed.cuda(), THRESHOLDS), count(forecast, observed, THRESHOLDS))
