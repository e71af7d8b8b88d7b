"""Counting, by hand, by the slow way, and in parts."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nowcast.errors import DataError, InternalError
from nowcast.verification import counts as counts_module
from nowcast.verification import scores
from nowcast.verification.counts import Counts, class_numbers, common_pixels, count, joint_histogram
from nowcast.verification.scoring import CATEGORICAL

NAN = float("nan")
THRESHOLDS = (0.1, 0.5, 2.0, 10.0)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def rain(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Dry and wet pixels, many exactly at a threshold, some missing."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor([0.0, 0.05, 0.1, 0.3, 0.5, 1.0, 2.0, 9.99, 10.0, 55.5, NAN], dtype=dtype)
    return values[torch.randint(len(values), shape, generator=generator)]


def test_two_by_three_counted_by_hand() -> None:
    observed = torch.tensor([[[1.0, 0.0, 3.0], [NAN, 1.0, 0.5]]])
    forecast = torch.tensor([[[1.0, 2.0, 0.0], [5.0, NAN, 0.0]]])
    # left: 1|1, 2|0, 0|3, 0|0.5 as forecast|observed
    counts = count(forecast, observed, [1.0, 3.0])
    assert counts.pixels.tolist() == [4]
    assert counts.hits.tolist() == [[1, 0]]
    assert counts.false_alarms.tolist() == [[1, 0]]
    assert counts.misses.tolist() == [[1, 1]]
    assert counts.correct_negatives.tolist() == [[1, 3]]
    assert counts.joint.tolist() == [[[1, 0, 1], [1, 1, 0], [0, 0, 0]]]
    assert scores.csi(counts).tolist() == [[pytest.approx(1 / 3), 0.0]]


def test_finleys_tornadoes_from_fields() -> None:
    forecast = torch.tensor([1.0] * 28 + [1.0] * 72 + [0.0] * 23 + [0.0] * 2680).reshape(1, 1, -1)
    observed = torch.tensor([1.0] * 28 + [0.0] * 72 + [1.0] * 23 + [0.0] * 2680).reshape(1, 1, -1)
    counts = count(forecast, observed, [1.0])
    assert [counts.hits.item(), counts.false_alarms.item(), counts.misses.item()] == [28, 72, 23]
    assert counts.correct_negatives.item() == 2680
    assert scores.hss(counts).item() == pytest.approx(0.355, abs=5e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_value_at_the_threshold_is_an_event_in_every_dtype(dtype: torch.dtype) -> None:
    """0.1 is no binary number: as float32 it is a little more, as bfloat16 too, as float16 a
    little less.
    """
    field = torch.full((1, 1, 1), 0.1, dtype=dtype)
    assert count(field, field, [0.1]).hits.item() == 1
    assert count(field, torch.full((1, 1, 1), 0.1, dtype=torch.float64), [0.1]).hits.item() == 1


def test_the_next_number_below_the_threshold_is_no_event() -> None:
    below = torch.nextafter(torch.tensor(0.1), torch.tensor(0.0)).reshape(1, 1, 1)
    assert count(below, below, [0.1]).correct_negatives.item() == 1


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 3, 1, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_random_field_counts_as_the_slow_way_does(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    forecast, observed = rain(*shape, seed=1, dtype=dtype), rain(*shape, seed=2, dtype=dtype)
    counts = count(forecast, observed, THRESHOLDS)
    axis = 0 if len(shape) == 3 else 1
    for lead in range(shape[axis]):
        f, o = (
            forecast.select(axis, lead).flatten().tolist(),
            observed.select(axis, lead).flatten().tolist(),
        )
        pairs = [(x, y) for x, y in zip(f, o, strict=True) if not (math.isnan(x) or math.isnan(y))]
        assert counts.pixels[lead] == len(pairs)
        for k, threshold in enumerate(torch.tensor(THRESHOLDS, dtype=dtype).tolist()):
            assert counts.hits[lead, k] == sum(x >= threshold and y >= threshold for x, y in pairs)
            assert counts.false_alarms[lead, k] == sum(x >= threshold > y for x, y in pairs)
            assert counts.misses[lead, k] == sum(y >= threshold > x for x, y in pairs)
            assert counts.correct_negatives[lead, k] == sum(
                x < threshold and y < threshold for x, y in pairs
            )


def test_a_rate_below_zero_is_a_pixel_without_an_event() -> None:
    """As a model may forecast it."""
    counts = count(torch.tensor([[[-0.01, 1.0]]]), torch.tensor([[[0.0, -1.0]]]), [0.5])
    assert counts.joint.tolist() == [[[1, 0], [1, 0]]]


def test_each_case_and_lead_time_has_a_histogram_of_its_own() -> None:
    forecast, observed = rain(2, 3, 7, 5, seed=3), rain(2, 3, 7, 5, seed=4)
    joint = joint_histogram(forecast, observed, THRESHOLDS)
    assert joint.shape == (2, 3, 5, 5) and joint.dtype == torch.int64
    for case in range(2):
        for lead in range(3):
            alone = joint_histogram(
                forecast[case, lead][None, None], observed[case, lead][None, None], THRESHOLDS
            )
            assert torch.equal(joint[case, lead], alone[0, 0])


def test_many_thresholds_are_counted_as_few_are() -> None:
    """Pairs of more than 16 classes no longer fit into 8 bits."""
    forecast, observed = rain(1, 2, 30, 30, seed=5), rain(1, 2, 30, 30, seed=6)
    few = joint_histogram(forecast, observed, THRESHOLDS)
    for number in (13, 14, 15, 16, 300):
        # more thresholds, between 0 and 0.05 mm/h: dry is class 0, and 0.05 is class `low`
        low = number - len(THRESHOLDS)
        joint = joint_histogram(
            forecast, observed, [0.0001 * (k + 1) for k in range(low)] + list(THRESHOLDS)
        )
        assert torch.equal(joint[..., low + 1 :, low + 1 :], few[..., 1:, 1:])
        assert torch.equal(joint[..., [0, low], :][..., [0, low]].sum((-2, -1)), few[..., 0, 0])
        assert joint.sum() == few.sum()


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 6), max_size=4),
    rows=st.integers(0, 8),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_parts_add_up_to_the_whole_however_they_are_cut(
    cuts: list[int], rows: int, seed: int, dtype: torch.dtype
) -> None:
    """Cut between cases, and each part once more between rows of the grid."""
    forecast, observed = (
        rain(6, 3, 1, 8, 4, seed=seed, dtype=dtype),
        rain(6, 3, 1, 8, 4, seed=seed + 1, dtype=dtype),
    )
    parts = []
    for i, j in pairwise([0, *sorted(cuts), 6]):
        f, o = forecast[i:j], observed[i:j]
        parts += [
            count(f[..., :rows, :], o[..., :rows, :], THRESHOLDS),
            count(f[..., rows:, :], o[..., rows:, :], THRESHOLDS),
        ]
    whole = count(forecast, observed, THRESHOLDS)
    together = sum(parts, Counts.zeros(THRESHOLDS, 3))
    for name in ("joint", "pixels", "hits", "false_alarms", "misses", "correct_negatives"):
        assert torch.equal(getattr(together, name), getattr(whole, name)), name
    assert torch.equal(
        joint_histogram(forecast[:, :, 0], observed[:, :, 0], THRESHOLDS).sum(0), whole.joint
    )


def test_counts_of_any_leading_shape_give_the_tables_of_each() -> None:
    joint = torch.stack(
        [
            joint_histogram(rain(4, 3, 6, 6, seed=s), rain(4, 3, 6, 6, seed=s + 9), THRESHOLDS)
            for s in (0, 1)
        ]
    )
    counts = Counts(THRESHOLDS, joint)
    assert counts.hits.shape == (2, 4, 3, 4) and counts.pixels.shape == (2, 4, 3)
    for name in ("hits", "false_alarms", "misses", "correct_negatives"):
        assert torch.equal(
            getattr(counts, name)[1, 2], getattr(Counts(THRESHOLDS, joint[1, 2]), name)
        )
    assert counts.pooled().joint.shape == (2, 4, 1, 5, 5)
    assert torch.equal(counts.pooled().misses[..., 0, :], counts.misses.sum(-2))
    assert torch.equal((counts + counts).hits, 2 * counts.hits)


def test_pooled_counts_are_the_sums_over_lead_times() -> None:
    counts = count(rain(2, 3, 4, 4, seed=3), rain(2, 3, 4, 4, seed=4), THRESHOLDS)
    pooled = counts.pooled()
    assert torch.equal(pooled.hits[0], counts.hits.sum(0))
    assert torch.equal(pooled.correct_negatives[0], counts.correct_negatives.sum(0))


def test_a_frame_without_pixels_scores_nan() -> None:
    counts = count(torch.full((1, 2, 2), NAN), torch.ones(1, 2, 2), [0.5])
    assert counts.pixels.item() == 0
    assert all(math.isnan(score.function(counts).item()) for score in CATEGORICAL.values())


def test_no_case_and_no_pixel_count_nothing() -> None:
    assert joint_histogram(torch.ones(0, 3, 4, 4), torch.ones(0, 3, 4, 4), [1.0]).shape == (
        0,
        3,
        2,
        2,
    )
    assert not joint_histogram(torch.ones(2, 3, 0, 4), torch.ones(2, 3, 0, 4), [1.0]).any()


def test_counts_beyond_int32_stay_exact() -> None:
    field = torch.ones(1, 1, 1)
    one = count(field, field, [0.5])
    many = Counts(one.thresholds, one.joint * 2**40)
    assert (many + many).hits.item() == 2**41


def test_a_view_that_is_not_contiguous_and_a_gradient_are_no_matter() -> None:
    forecast, observed = rain(3, 4, 5, seed=5).nan_to_num(1.0), rain(3, 4, 5, seed=6)
    turned = count(forecast.transpose(1, 2).requires_grad_(), observed.transpose(1, 2), THRESHOLDS)
    assert torch.equal(turned.joint, count(forecast, observed, THRESHOLDS).joint)


def test_a_tensor_and_an_array_have_the_same_class_numbers() -> None:
    field = rain(50, seed=7)
    numbers = class_numbers(field, [-math.inf, *THRESHOLDS])
    assert numbers.tolist() == class_numbers(field.numpy(), [-math.inf, *THRESHOLDS]).tolist()
    assert class_numbers(np.array([NAN, 0.0, 0.5]), [-math.inf, 0.5]).tolist() == [0, 1, 2]


def test_common_pixels_are_those_present_in_all() -> None:
    first, second, third = (
        torch.tensor([1.0, NAN, 3.0]),
        torch.tensor([4.0, 5.0, NAN]),
        torch.tensor([7.0, 8.0, 9.0]),
    )
    fields = common_pixels(first, second, third)
    assert [field[0].item() for field in fields] == [1, 4, 7]
    assert all(field[1:].isnan().all() for field in fields)
    assert third.tolist() == [7, 8, 9]


def test_a_pixel_missing_in_one_member_is_missing_in_all_members_and_fields() -> None:
    ensemble, observed, single = (
        torch.ones(1, 2, 3, 1, 4),
        torch.ones(1, 2, 1, 4),
        torch.ones(1, 2, 1, 1, 4),
    )
    ensemble[0, 0, 1, 0, 2] = NAN
    observed[0, 1, 0, 3] = NAN
    ensemble, observed, single = common_pixels(ensemble, observed, single)
    missing = torch.tensor([[[[False, False, True, False]], [[False, False, False, True]]]])
    assert torch.equal(observed.isnan(), missing)
    assert torch.equal(ensemble.isnan(), missing[:, :, None].expand(1, 2, 3, 1, 4))
    assert torch.equal(single.isnan(), missing[:, :, None])


def test_counting_refuses_what_cannot_be_compared() -> None:
    field = torch.ones(1, 2, 2)
    for forecast, observed, thresholds, message in [
        (field, torch.ones(1, 2, 3), [1.0], "cannot be compared"),
        (field[0], field[0], [1.0], "cannot be compared"),
        (field[None, None], field[None], [1.0], "cannot be compared"),
        (field.int(), field, [1.0], "floating point"),
        (field, field, [], "at least one"),
        (field, field, [1.0, 1.0], "ascending"),
        (field, field, [2.0, 1.0], "ascending"),
        (field, field, [NAN], "finite"),
        (field, field, [1.0, math.inf], "finite"),
    ]:
        with pytest.raises(DataError, match=message):
            count(forecast, observed, thresholds)
    with pytest.raises(DataError, match="same shape"):
        common_pixels(field, field[0])
    with pytest.raises(DataError, match="same shape"):
        common_pixels(torch.ones(1, 2, 3, 4, 4), torch.ones(1, 3, 4, 4))


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_rate_is_refused_wherever_it_is(value: float) -> None:
    field, infinite = torch.ones(1, 2, 2), torch.ones(1, 2, 2)
    infinite[0, 1, 1] = value
    for forecast, observed in [
        (infinite, field),
        (field, infinite),
        (infinite, infinite),
        (infinite, field.log() / 0),
    ]:
        with pytest.raises(InternalError, match="infinite"):
            count(forecast, observed, [1.0])


def test_counts_of_different_kinds_do_not_add() -> None:
    with pytest.raises(DataError, match="one set"):
        Counts.zeros([1.0], 3) + Counts.zeros([2.0], 3)
    with pytest.raises(DataError, match="lead times"):
        Counts.zeros([1.0], 3) + Counts.zeros([1.0], 4)
    with pytest.raises(TypeError):
        Counts.zeros([1.0], 3) + 1  # type: ignore[operator]
    with pytest.raises(InternalError, match="shape"):
        Counts((1.0, 2.0), Counts.zeros([1.0], 3).joint)
    with pytest.raises(InternalError, match="int64"):
        Counts((1.0,), torch.zeros(3, 2, 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_cases_as_tensors_count_as_frames_as_arrays(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs on a GPU, here on the CPU."""
    forecast, observed = (
        rain(4, 5, 9, 8, seed=7, dtype=dtype),
        rain(4, 5, 9, 8, seed=8, dtype=dtype),
    )
    joint = joint_histogram(forecast, observed, THRESHOLDS)
    monkeypatch.setattr(
        counts_module,
        "pieces",
        lambda *fields: zip(*[field.flatten(2) for field in fields], strict=True),
    )
    assert torch.equal(joint_histogram(forecast, observed, THRESHOLDS), joint)
    with pytest.raises(InternalError, match="infinite"):
        joint_histogram(forecast * math.inf, observed, THRESHOLDS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gpu_counts_as_the_cpu_does(dtype: torch.dtype) -> None:
    forecast, observed = (
        rain(4, 5, 32, 32, seed=7, dtype=dtype),
        rain(4, 5, 32, 32, seed=8, dtype=dtype),
    )
    on_gpu = joint_histogram(forecast.cuda(), observed.cuda(), THRESHOLDS)
    assert torch.equal(on_gpu, joint_histogram(forecast, observed, THRESHOLDS))
