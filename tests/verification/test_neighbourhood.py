"""The FSS: by hand, by the slow way, in parts, and as pysteps and scores have it.

Without those two, their tests are skipped.
"""

import math
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nowcast.errors import DataError, InternalError
from nowcast.verification import neighbourhood
from nowcast.verification.counts import count
from nowcast.verification.neighbourhood import fss_sums
from nowcast.verification.scores import fss

NAN = float("nan")
THRESHOLDS = (0.1, 0.5, 2.0, 10.0)
SCALES = (1, 3, 5, 9, 25)


def rain(
    *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32, missing: bool = True
) -> Tensor:
    """Dry and wet pixels, many exactly at a threshold, some missing."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor(
        [0.0, 0.0, 0.0, 0.05, 0.1, 0.3, 0.5, 1.0, 2.0, 9.99, 10.0, 55.5, NAN if missing else 0.0],
        dtype=dtype,
    )
    return values[torch.randint(len(values), shape, generator=generator)]


def one_event(h: int, w: int, y: int, x: int) -> Tensor:
    field = torch.zeros(1, 1, h, w)
    field[0, 0, y, x] = 1
    return field


def score(forecast: Tensor, observed: Tensor, threshold: float, scale: int) -> float:
    """Of all frames together."""
    sums = fss_sums(forecast, observed, [threshold], [scale])
    return fss(sums["fss_difference"].sum(), sums["fss_reference"].sum()).item()


def by_loops(forecast: Tensor, observed: Tensor, threshold: float, scale: int) -> tuple[int, int]:
    """Difference and reference of one frame, window by window."""
    h, w = forecast.shape
    missing = forecast.isnan() | observed.isnan()
    events_f, events_o = (
        ((field >= threshold) & ~missing).int().tolist() for field in (forecast, observed)
    )
    difference = reference = 0
    for y in range(h):
        for x in range(w):
            rows = range(max(0, y - scale // 2), min(h, y + scale // 2 + 1))
            columns = range(max(0, x - scale // 2), min(w, x + scale // 2 + 1))
            n_f = sum(events_f[i][j] for i in rows for j in columns)
            n_o = sum(events_o[i][j] for i in rows for j in columns)
            difference += (n_f - n_o) ** 2
            reference += n_f**2 + n_o**2
    return difference, reference


def test_two_by_three_counted_by_hand() -> None:
    forecast = torch.tensor([[[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]])
    observed = torch.tensor([[[[0.0, 0.0, 0.0], [0.0, 2.0, 2.0]]]])
    sums = fss_sums(forecast, observed, [1.0, 2.0], [1, 3])
    # 3 × 3 windows round each pixel, at 1 mm/h: n_f = 1 1 0 | 1 1 0 and n_o = 1 2 2 | 1 2 2
    assert sums["fss_difference"].tolist() == [[[[3, 0 + 1 + 4 + 0 + 1 + 4], [2, 18]]]]
    assert sums["fss_reference"].tolist() == [[[[3, 4 + 1 + 4 + 4 + 1 + 4 + 4], [2, 18]]]]
    assert fss(sums["fss_difference"], sums["fss_reference"]).tolist() == [
        [[[0, 1 - 10 / 22], [0, 0]]]
    ]


@pytest.mark.parametrize("scale", [1, 3, 5, 9, 21])
@pytest.mark.parametrize("shift", [1, 2, 3, 8])
def test_an_event_shifted_by_d_pixels_scores_1_minus_d_over_the_scale(
    scale: int, shift: int
) -> None:
    """Each event is in n windows by n, and n − d by n have both.

    In every direction, and 0 from d = n on.
    """
    expected = pytest.approx(max(0.0, 1 - shift / scale), abs=1e-15)
    at = one_event(60, 70, 30, 30)
    assert score(one_event(60, 70, 30, 30 + shift), at, 1.0, scale) == expected
    assert score(one_event(60, 70, 30 - shift, 30), at, 1.0, scale) == expected


def test_a_window_over_all_the_grid_compares_the_numbers_of_events_alone() -> None:
    """1 − (n_f − n_o)² / (n_f² + n_o²): the asymptote of Roberts & Lean, which only a frequency
    bias keeps from 1.
    """
    forecast, observed = torch.zeros(1, 1, 7, 9), torch.zeros(1, 1, 7, 9)
    forecast[..., 0, :4], observed[..., -1, -3:] = 1, 1
    for scale in (17, 19, 99):
        assert score(forecast, observed, 1.0, scale) == pytest.approx(1 - 1 / (16 + 9))
    sums = fss_sums(forecast, observed, [1.0], [17])
    assert (sums["fss_difference"].item(), sums["fss_reference"].item()) == (63 * 1, 63 * 25)


@pytest.mark.parametrize(("h", "w"), [(6, 9), (9, 6), (1, 8), (5, 5)])
def test_a_random_field_counts_as_the_slow_way_does(h: int, w: int) -> None:
    forecast, observed = rain(2, 2, h, w, seed=1), rain(2, 2, h, w, seed=2)
    sums = fss_sums(forecast, observed, THRESHOLDS, SCALES)
    for b in range(2):
        for lead in range(2):
            for k, threshold in enumerate(torch.tensor(THRESHOLDS).tolist()):
                for s, scale in enumerate(SCALES):
                    difference, reference = by_loops(
                        forecast[b, lead], observed[b, lead], threshold, scale
                    )
                    assert sums["fss_difference"][b, lead, k, s] == difference
                    assert sums["fss_reference"][b, lead, k, s] == reference


@pytest.mark.parametrize("frames_at_once", [1, 4])
def test_few_events_wherever_they_lie_count_as_the_slow_way_does(
    frames_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In corners, at one side, far apart, one field's here and the other's there; a gap on one."""
    forecast, observed = torch.zeros(1, 4, 9, 14), torch.zeros(1, 4, 9, 14)
    forecast[0, 0, 0, 0], observed[0, 0, 8, 13] = 1, 3
    forecast[0, 1, 4, 12:], observed[0, 1, 3:6, 13] = 3, 1
    observed[0, 2, :, 2] = 1
    forecast[0, 3, 2, 3], observed[0, 3, 2, 3], observed[0, 3, 7, 7] = 1, NAN, 1
    monkeypatch.setattr(neighbourhood, "_PIXELS_AT_ONCE", frames_at_once * 9 * 14)
    sums = fss_sums(forecast, observed, [1.0, 2.0], [1, 3, 7, 29])
    for lead in range(4):
        for k, threshold in enumerate([1.0, 2.0]):
            for s, scale in enumerate([1, 3, 7, 29]):
                expected = by_loops(forecast[0, lead], observed[0, lead], threshold, scale)
                counted = sums["fss_difference"], sums["fss_reference"]
                assert tuple(one[0, lead, k, s].item() for one in counted) == expected


def test_at_scale_1_it_is_the_misses_and_false_alarms_of_the_counts() -> None:
    forecast, observed = rain(3, 2, 20, 30, seed=3), rain(3, 2, 20, 30, seed=4)
    counts = count(forecast, observed, THRESHOLDS)
    sums = {
        name: each.sum(0)[..., 0]
        for name, each in fss_sums(forecast, observed, THRESHOLDS, [1]).items()
    }
    assert torch.equal(sums["fss_difference"], counts.misses + counts.false_alarms)
    assert torch.equal(sums["fss_reference"], counts.misses + counts.false_alarms + 2 * counts.hits)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 5), max_size=3), seed=st.integers(0, 2**16))
def test_parts_add_up_to_the_whole_however_they_are_cut(cuts: list[int], seed: int) -> None:
    forecast, observed = rain(5, 2, 8, 7, seed=seed), rain(5, 2, 8, 7, seed=seed + 1)
    edges = [0, *sorted(set(cuts) - {0, 5}), 5]
    parts = [fss_sums(forecast[i:j], observed[i:j], THRESHOLDS, SCALES) for i, j in pairwise(edges)]
    for name, whole in fss_sums(forecast, observed, THRESHOLDS, SCALES).items():
        assert whole.dtype == torch.int64
        assert torch.equal(sum(part[name].sum((0, 1)) for part in parts), whole.sum((0, 1)))


@pytest.mark.parametrize("frames_at_once", [1, 4, 100])
def test_frames_looked_at_together_count_as_alone(
    frames_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the last few, and a frame without events after one with many."""
    forecast, observed = rain(3, 3, 12, 10, seed=5), rain(3, 3, 12, 10, seed=6)
    forecast[1, 1], observed[1, 1] = 0, 0
    expected = [
        by_loops(forecast[b, lead], observed[b, lead], 2.0, 5)
        for b in range(3)
        for lead in range(3)
    ]
    monkeypatch.setattr(neighbourhood, "_PIXELS_AT_ONCE", frames_at_once * 120)
    sums = fss_sums(forecast, observed, [2.0], [5])
    assert (
        list(
            zip(
                sums["fss_difference"].flatten().tolist(),
                sums["fss_reference"].flatten().tolist(),
                strict=True,
            )
        )
        == expected
    )


@pytest.mark.parametrize(
    ("side", "scale"),
    [
        (301, 5),  # more events in the grid than 16 bits hold, though not in a window
        (201, 183),  # more in a window than 16 bits hold
        (601, 1201),  # sums that float64 does not hold
    ],
)
def test_wide_windows_and_large_grids_stay_exact(side: int, scale: int) -> None:
    """Events everywhere: a window has rows × columns of them, cut off at the border, so that Σ
    n² = (Σ rows²)².
    """
    forecast, observed = torch.ones(1, 1, side, side), torch.ones(1, 1, side, side)
    rows = [min(side, i + scale // 2 + 1) - max(0, i - scale // 2) for i in range(side)]
    sums = fss_sums(forecast, observed, [1.0], [scale])
    assert sums["fss_reference"].item() == 2 * sum(n**2 for n in rows) ** 2
    assert sums["fss_difference"].item() == 0
    forecast[..., side // 2, side // 2] = 0
    with_hole = fss_sums(forecast, observed, [1.0], [scale])
    # windows that lose an event, and so differ by 1
    centred = [i for i in range(side) if abs(i - side // 2) <= scale // 2]
    assert with_hole["fss_difference"].item() == len(centred) ** 2
    lost = sum(2 * rows[i] * rows[j] - 1 for i in centred for j in centred)
    assert with_hole["fss_reference"].item() == sums["fss_reference"].item() - lost


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_value_at_the_threshold_is_an_event_in_every_dtype(dtype: torch.dtype) -> None:
    """Neither 0.1 nor 0.7 is a binary number: some dtypes round them up, others down."""
    for threshold in (0.1, 0.7):
        fields = [torch.full((1, 1, 3, 3), threshold, dtype=one) for one in (dtype, torch.float64)]
        for observed in fields:
            assert fss_sums(fields[0], observed, [threshold], [1])["fss_reference"].item() == 2 * 9


def test_an_event_on_one_side_alone_is_counted_though_the_other_is_dry() -> None:
    wet, dry = torch.full((1, 1, 3, 3), 2.0), torch.zeros(1, 1, 3, 3)
    for forecast, observed in [(wet, dry), (dry, wet)]:
        sums = fss_sums(forecast, observed, [2.0, 2.1], [1])
        assert (
            sums["fss_difference"].flatten().tolist()
            == sums["fss_reference"].flatten().tolist()
            == [9, 0]
        )


def test_a_missing_pixel_is_no_event_on_either_side() -> None:
    forecast, observed = torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4)
    forecast[..., 0], observed[..., 3] = NAN, NAN
    sums = fss_sums(forecast, observed, [0.0, 1.0], [3])
    assert sums["fss_reference"].flatten().tolist() == [2 * (1 + 4 + 4 + 1)] * 2
    assert sums["fss_difference"].flatten().tolist() == [0, 0]
    assert forecast.isnan().sum() == 1  # the fields themselves are left as they were


def test_without_any_event_it_is_undefined() -> None:
    field = torch.zeros(1, 1, 5, 5)
    assert math.isnan(score(field, field, 0.5, 3))
    assert math.isnan(score(field * NAN, field, 0.0, 3))
    assert score(one_event(5, 5, 2, 2), field, 0.5, 3) == 0


def test_a_gradient_and_a_view_that_is_not_contiguous_are_no_matter() -> None:
    forecast, observed = rain(1, 1, 6, 8, seed=7), rain(1, 1, 6, 8, seed=8)
    plain = fss_sums(forecast, observed, THRESHOLDS, [3])
    turned = fss_sums(forecast.mT.requires_grad_(), observed.mT, THRESHOLDS, [3])
    assert all(torch.equal(plain[name], turned[name]) for name in plain)


def test_what_has_no_fss_is_refused() -> None:
    field = torch.ones(1, 1, 4, 4)
    for scales in ([4], [3, 0], [-1]):
        with pytest.raises(DataError, match="odd widths"):
            fss_sums(field, field, [1.0], scales)
    with pytest.raises(DataError, match="cannot be compared"):
        fss_sums(field, field[..., :3], [1.0], [3])
    for forecast, observed in [
        (field * math.inf, field),
        (field, field * -math.inf),
        (field * math.inf, field * math.inf),
    ]:
        with pytest.raises(InternalError, match="infinite"):
            fss_sums(forecast, observed, [1.0], [3])
    with pytest.raises(DataError, match="64 bits"):
        large = torch.zeros(1, 1, 1300, 1300)
        fss_sums(large, large, [1.0], [3, 2599])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scales", [SCALES, (3, 301), (1201,)])
def test_a_gpu_counts_as_the_cpu_does(scales: tuple[int, ...]) -> None:
    side = 601 if scales == (1201,) else 320
    forecast, observed = rain(2, 3, side, side, seed=9), rain(2, 3, side, side, seed=10)
    on_gpu, on_cpu = (
        fss_sums(forecast.cuda(), observed.cuda(), THRESHOLDS, scales),
        fss_sums(forecast, observed, THRESHOLDS, scales),
    )
    assert all(torch.equal(on_gpu[name], on_cpu[name]) for name in on_cpu)


@pytest.fixture(scope="module")
def pysteps() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pysteps.verification.spatialscores")


@pytest.fixture(scope="module")
def fss_2d() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("scores.spatial").fss_2d


def pysteps_fss(
    pysteps: Any, forecast: Tensor, observed: Tensor, threshold: float, scale: int
) -> float:
    """Of all frames together."""
    sums = pysteps.fss_init(threshold, scale)
    for f, o in zip(forecast.flatten(0, 1).numpy(), observed.flatten(0, 1).numpy(), strict=True):
        pysteps.fss_accum(sums, f, o)
    return float(pysteps.fss_compute(sums))


def scores_fss(
    fss_2d: Any, forecast: Tensor, observed: Tensor, threshold: float, scale: int, **how: Any
) -> float:
    f, o = (xr.DataArray(field[0, 0].numpy(), dims=("y", "x")) for field in (forecast, observed))
    how = {
        "event_threshold": threshold,
        "window_size": (scale, scale),
        "spatial_dims": ("y", "x"),
        **how,
    }
    return float(fss_2d(f, o, threshold_operator=np.greater_equal, **how))


def test_pysteps_agrees_on_fields_with_ties_borders_and_common_gaps(pysteps: Any) -> None:
    """Unlike its categorical scores, its FSS takes `>=`."""
    forecast, observed = rain(2, 2, 40, 50, seed=11), rain(2, 2, 40, 50, seed=12)
    gaps = forecast.isnan() | observed.isnan()
    forecast[gaps], observed[gaps] = NAN, NAN
    for threshold in THRESHOLDS:
        for scale in (1, 3, 9, 17, 39):
            theirs = pysteps_fss(pysteps, forecast, observed, threshold, scale)
            assert score(forecast, observed, threshold, scale) == pytest.approx(
                theirs, rel=0, abs=1e-12
            )


def test_pysteps_calls_a_gap_in_the_forecast_a_miss_and_we_leave_it_out(pysteps: Any) -> None:
    forecast, observed = torch.tensor([[[[2.0, NAN, 0.0]]]]), torch.tensor([[[[2.0, 2.0, 0.0]]]])
    assert pysteps_fss(pysteps, forecast, observed, 1.0, 1) == pytest.approx(1 - 1 / 3)
    assert score(forecast, observed, 1.0, 1) == 1


def test_pysteps_without_events_is_nan_too_but_warns(pysteps: Any) -> None:
    field = torch.zeros(1, 1, 5, 5)
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert math.isnan(pysteps_fss(pysteps, field, field, 1.0, 3))
    assert math.isnan(score(field, field, 1.0, 3))


@pytest.mark.parametrize("scale", [1, 3, 9, 17])
def test_scores_takes_windows_inside_the_grid_and_agrees_where_the_border_is_dry(
    fss_2d: Any, scale: int
) -> None:
    forecast, observed = (
        rain(1, 1, 30, 40, seed=13, missing=False),
        rain(1, 1, 30, 40, seed=14, missing=False),
    )
    border = [scale // 2] * 4
    f, o = (torch.nn.functional.pad(field, border) for field in (forecast, observed))
    for threshold in (0.5, 2.0):
        ours = score(forecast, observed, threshold, scale)
        assert ours == pytest.approx(scores_fss(fss_2d, f, o, threshold, scale), abs=1e-12)
        if scale > 1:  # without that border it leaves out windows that reach beyond the grid
            assert ours != pytest.approx(
                scores_fss(fss_2d, forecast, observed, threshold, scale), abs=1e-6
            )


def test_scores_with_zero_padding_adds_a_row_and_a_column_of_windows_outside(fss_2d: Any) -> None:
    """Those centred beyond the lower and the right border, not those beyond the upper and the
    left.
    """
    forecast, observed = (
        rain(1, 1, 12, 14, seed=15, missing=False),
        rain(1, 1, 12, 14, seed=16, missing=False),
    )
    theirs = scores_fss(fss_2d, forecast, observed, 2.0, 5, zero_padding=True)
    f, o = (torch.nn.functional.pad(field, [0, 1, 0, 1]) for field in (forecast, observed))
    assert score(f, o, 2.0, 5) == pytest.approx(theirs, abs=1e-12)
    assert score(forecast, observed, 2.0, 5) != pytest.approx(theirs, abs=1e-6)


def test_scores_without_events_says_0_and_we_say_undefined(fss_2d: Any) -> None:
    field = torch.zeros(1, 1, 5, 5)
    assert scores_fss(fss_2d, field, field, 1.0, 3) == 0
    assert math.isnan(score(field, field, 1.0, 3))
