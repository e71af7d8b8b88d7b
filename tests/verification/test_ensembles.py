"""Sums over ensembles: by hand, by the slow way, and in parts."""

import math
from itertools import combinations, pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nowcast.errors import DataError, InternalError
from nowcast.verification import ensembles
from nowcast.verification.continuous import error_sums
from nowcast.verification.counts import joint_histogram
from nowcast.verification.ensembles import crps_sums, probability_counts, rank_counts

NAN = float("nan")
THRESHOLDS = (0.1, 0.5, 2.0, 10.0)


def rain(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Dry and wet pixels, many exactly at a threshold and equal to each other, some missing."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor(
        [0.0, 0.0, 0.0, 0.05, 0.1, 0.3, 0.5, 0.5, 1.0, 2.0, 2.0, 9.99, 10.0, 55.5, NAN], dtype=dtype
    )
    return values[torch.randint(len(values), shape, generator=generator)]


def all_sums(forecast: Tensor, observed: Tensor) -> dict[str, Tensor]:
    probability, rank = (
        probability_counts(forecast, observed, THRESHOLDS),
        rank_counts(forecast, observed),
    )
    return {"probability": probability, "rank": rank, **crps_sums(forecast, observed)}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        # counts, being int64, must be equal
        torch.testing.assert_close(one[name], other[name], rtol=1e-13, atol=1e-12)


def test_two_members_at_three_pixels_counted_by_hand() -> None:
    members = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, NAN]]).reshape(1, 1, 2, 1, 3)
    observed = torch.tensor([2.0, 0.0, 2.0]).reshape(1, 1, 1, 3)
    probability = probability_counts(members, observed, [1.0, 2.0])
    assert probability.shape == (1, 1, 2, 3, 2) and probability.dtype == torch.int64
    # ≥ 1: none and not observed; both, and observed
    assert probability[0, 0, 0].tolist() == [[1, 0], [0, 0], [0, 1]]
    # ≥ 2: none and not observed; the one of 3, and observed
    assert probability[0, 0, 1].tolist() == [[1, 0], [0, 1], [0, 0]]
    rank = rank_counts(members, observed)
    assert rank.shape == (1, 1, 3, 3) and rank.dtype == torch.int64
    # 0 below and 2 equal; 1 below and 0 equal
    assert rank[0, 0].tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]
    sums = crps_sums(members, observed)
    assert sums["crps_error"].tolist() == [[(1 + 1) / 2 + 0]]
    assert sums["crps_spread"].tolist() == [[2 + 0]]
    assert {values.dtype for values in sums.values()} == {torch.float64}


def test_a_random_ensemble_counts_as_the_slow_way_does() -> None:
    forecast, observed = rain(2, 3, 5, 6, 7, seed=1), rain(2, 3, 6, 7, seed=2)
    sums = all_sums(forecast, observed)
    edges = torch.tensor(THRESHOLDS).tolist()
    for case, lead in product(range(2), range(3)):
        pixels = zip(
            forecast[case, lead].flatten(1).T.tolist(),
            observed[case, lead].flatten().tolist(),
            strict=True,
        )
        pixels = [(x, y) for x, y in pixels if not any(map(math.isnan, [*x, y]))]
        assert 0 < len(pixels) < 42
        for t, threshold in enumerate(edges):
            for k, event in product(range(6), (False, True)):
                wanted = sum(
                    sum(i >= threshold for i in x) == k and (y >= threshold) == event
                    for x, y in pixels
                )
                assert sums["probability"][case, lead, t, k, int(event)] == wanted
        for below, equal in product(range(6), range(6)):
            wanted = sum(
                sum(i < y for i in x) == below and sum(i == y for i in x) == equal
                for x, y in pixels
            )
            assert sums["rank"][case, lead, below, equal] == wanted
        error = sum(abs(i - y) for x, y in pixels for i in x) / 5
        spread = sum(abs(i - j) for x, y in pixels for i, j in combinations(x, 2))
        assert sums["crps_error"][case, lead].item() == pytest.approx(error, rel=1e-6)
        assert sums["crps_spread"][case, lead].item() == pytest.approx(spread, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 5), max_size=4),
    members=st.integers(1, 6),
    seed=st.integers(0, 2**16),
)
def test_parts_add_up_to_the_whole_however_they_are_cut(
    cuts: list[int], members: int, seed: int
) -> None:
    forecast, observed = rain(5, 2, members, 4, 4, seed=seed), rain(5, 2, 4, 4, seed=seed + 1)
    whole = {name: values.sum(0) for name, values in all_sums(forecast, observed).items()}
    parts = [all_sums(forecast[i:j], observed[i:j]) for i, j in pairwise([0, *sorted(cuts), 5])]
    assert_same({name: torch.cat([part[name] for part in parts]).sum(0) for name in whole}, whole)


@pytest.mark.parametrize("block", [1, 7, 30, 31, 10_000])
def test_the_size_of_the_blocks_changes_nothing_and_bounds_the_memory(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast, observed = rain(1, 2, 3, 5, 9, seed=3), rain(1, 2, 5, 9, seed=4)
    whole = all_sums(forecast, observed)
    monkeypatch.setattr(ensembles, "_BLOCK_VALUES", block)
    assert_same(all_sums(forecast, observed), whole)
    assert max(x.numel() for _, x, _ in ensembles.blocks(forecast, observed)) <= max(3, block)


def test_a_pixel_missing_in_one_member_or_in_the_observation_is_in_no_count() -> None:
    forecast, observed = rain(2, 2, 4, 8, 8, seed=5), rain(2, 2, 8, 8, seed=6)
    pixels = (~(forecast.isnan().any(2) | observed.isnan())).sum((2, 3))
    sums = all_sums(forecast, observed)
    assert pixels.min() > 0 and pixels.max() < 64
    assert torch.equal(
        sums["probability"].sum((3, 4)), pixels[:, :, None].expand(2, 2, len(THRESHOLDS))
    )
    assert torch.equal(sums["rank"].sum((2, 3)), pixels)
    assert all(
        (values == 0).all()
        for values in all_sums(forecast, torch.full_like(observed, NAN)).values()
    )


def test_one_member_counts_as_a_deterministic_forecast() -> None:
    forecast, observed = rain(3, 2, 1, 8, 8, seed=7), rain(3, 2, 8, 8, seed=8)
    sums = all_sums(forecast, observed)
    for k, threshold in enumerate(THRESHOLDS):
        assert torch.equal(
            sums["probability"][:, :, k], joint_histogram(forecast[:, :, 0], observed, [threshold])
        )
    absolute_error = error_sums(forecast[:, :, 0], observed)["absolute_error"]
    torch.testing.assert_close(sums["crps_error"], absolute_error, rtol=1e-13, atol=0.0)
    assert not sums["crps_spread"].any()


def test_members_alike_have_no_spread_at_all() -> None:
    """A sum over pixels of unlike sizes, so that it rounds: it must cancel all the same."""
    one = torch.rand(1, 2, 1, 40, 50, generator=torch.Generator().manual_seed(9)) * 100
    for members in (2, 7, 20):
        sums = crps_sums(one.expand(1, 2, members, 40, 50), one[:, :, 0])
        assert not sums["crps_spread"].any() and not sums["crps_error"].any()


def test_more_members_than_a_byte_counts_are_counted() -> None:
    forecast, observed = torch.ones(1, 1, 300, 1, 2), torch.tensor([2.0, 0.5]).reshape(1, 1, 1, 2)
    assert probability_counts(forecast, observed, [1.0])[0, 0, 0, 300].tolist() == [1, 1]
    assert rank_counts(forecast, observed).nonzero().tolist() == [[0, 0, 0, 0], [0, 0, 300, 0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_value_at_the_threshold_is_an_event_in_every_dtype(dtype: torch.dtype) -> None:
    """0.1 is no binary number: as float32 it is a little more, as bfloat16 too, as float16 a
    little less.
    """
    forecast, observed = (
        torch.full((1, 1, 3, 1, 1), 0.1, dtype=dtype),
        torch.full((1, 1, 1, 1), 0.1),
    )
    assert probability_counts(forecast, observed, [0.1])[0, 0, 0, 3].tolist() == [0, 1]


def test_a_view_that_is_not_contiguous_and_a_gradient_are_no_matter() -> None:
    forecast, observed = rain(2, 3, 4, 5, 6, seed=10).nan_to_num(1.0), rain(2, 3, 5, 6, seed=11)
    turned, turned_observed = (
        forecast.movedim(2, -1).contiguous().movedim(-1, 2),
        observed.transpose(2, 3).contiguous(),
    )
    assert not turned.is_contiguous()
    assert_same(
        all_sums(turned.requires_grad_(), turned_observed.transpose(2, 3)),
        all_sums(forecast, observed),
    )


def test_no_cases_and_no_pixels_are_nothing() -> None:
    assert rank_counts(torch.ones(0, 3, 2, 4, 4), torch.ones(0, 3, 4, 4)).shape == (0, 3, 3, 3)
    assert all(
        (values == 0).all()
        for values in all_sums(torch.ones(1, 3, 2, 0, 4), torch.ones(1, 3, 0, 4)).values()
    )


def test_ensembles_that_cannot_be_compared_are_refused() -> None:
    observed = torch.ones(1, 2, 4, 4)
    for members, message in [
        (observed, "give them as"),
        (torch.ones(1, 2, 0, 4, 4), "at least one"),
        (torch.ones(1, 2, 3, 4, 5), "cannot be compared"),
        (torch.ones(1, 2, 3, 4, 4, dtype=torch.int32), "floating point"),
    ]:
        with pytest.raises(DataError, match=message):
            rank_counts(members, observed)
    with pytest.raises(DataError, match="ascending"):
        probability_counts(torch.ones(1, 2, 3, 4, 4), observed, [2.0, 1.0])
    for infinite in (math.inf, -math.inf):
        with pytest.raises(InternalError, match="infinite"):
            crps_sums(torch.full((1, 2, 3, 4, 4), infinite), observed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_sums_as_the_cpu_does() -> None:
    forecast, observed = rain(2, 3, 5, 32, 32, seed=12), rain(2, 3, 32, 32, seed=13)
    assert_same(all_sums(forecast.cuda(), observed.cuda()), all_sums(forecast, observed))
