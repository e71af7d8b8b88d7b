"""Probabilities of a ladder are scored as ensembles are, exactly where numbers can be exact."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from nowcast.errors import DataError
from nowcast.probability.ladder import Probabilities
from nowcast.probability.neighbourhoods import fractions
from nowcast.verification import ladders
from nowcast.verification.counts_files import merge_counts, open_counts, write_counts
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.ensembles import crps_sums, probability_counts
from nowcast.verification.ladders import ladder_counts, ladder_crps
from nowcast.verification.tally import Tally

LADDER = (0.5, 1.0, 4.0)
TIMES = np.datetime64("2020-01-01T22:30", "ns") + np.timedelta64(15, "m") * np.arange(4)


def rain(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rates = (torch.randn(shape, generator=generator) * 3).clamp(min=0)
    return rates.masked_fill(torch.rand(shape, generator=generator) < 0.05, torch.nan)


def of_rain(rates: Tensor, thresholds: tuple[float, ...] = LADDER) -> Probabilities:
    """Fractions of neighbourhoods of rates (b, lead, h, w), missing where the rates are."""
    shares = fractions(rates.flatten(0, 1), thresholds)[:, 2].unflatten(0, rates.shape[:2])
    return Probabilities(thresholds, shares.masked_fill(rates.isnan()[:, :, None], torch.nan))


def integral(thresholds: tuple[float, ...], p: list[float], y: float) -> float:
    """The CRPS of one pixel by the midpoint rule."""
    high = max(2 * thresholds[-1], y) + 0.1
    x = (np.arange(200_000) + 0.5) * high / 200_000
    above = np.interp(x, [*thresholds, 2 * thresholds[-1]], [*p, 0.0], left=p[0], right=0.0)
    return float(((above - (x <= y)) ** 2).mean() * high)


@pytest.mark.parametrize("y", [0.0, 0.2, 0.5, 2.3, 4.0, 7.0, 12.0])
@pytest.mark.parametrize("p", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.9, 0.4, 0.3]])
def test_crps_is_the_integral(p: list[float], y: float) -> None:
    probabilities = Probabilities(LADDER, torch.tensor(p, dtype=torch.float64).view(1, 1, 3, 1, 1))
    crps = ladder_crps(probabilities, torch.tensor(y, dtype=torch.float64).view(1, 1, 1, 1))
    assert crps.item() == pytest.approx(integral(LADDER, p, y), abs=1e-3)


def test_crps_by_hand() -> None:
    """Dry and sure of it: 0. Rain of 6 mm/h that was thought impossible: 6."""
    probabilities = Probabilities(LADDER, torch.zeros(1, 1, 3, 1, 2))
    assert ladder_crps(probabilities, torch.tensor([0.0, 0.0]).view(1, 1, 1, 2)).item() == 0
    assert ladder_crps(probabilities, torch.tensor([0.0, 6.0]).view(1, 1, 1, 2)).item() == 6


def test_crps_of_a_fine_ladder_is_that_of_the_ensemble_it_was_made_of() -> None:
    members, observed = rain(1, 1, 2, 20, 6, 7).nan_to_num(), rain(2, 1, 2, 6, 7)
    fine = tuple(np.arange(1, 1600) / 100)
    above = torch.stack([(members >= one).double().mean(2) for one in fine], dim=2)
    sums = crps_sums(members, observed)
    expected = sums["crps_error"] - sums["crps_spread"] / 20**2
    crps = ladder_crps(Probabilities(fine, above), observed)
    np.testing.assert_allclose(crps, expected, rtol=0.01)


def test_missing_pixels_are_in_no_sum_however_pixels_are_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observed, given = rain(3, 2, 3, 9, 8), of_rain(rain(4, 2, 3, 9, 8))
    missing = observed.isnan() | given.values.isnan().any(2)
    crps = ladder_crps(given, observed)
    filled = Probabilities(LADDER, given.values.masked_fill(missing[:, :, None], 0.0))
    np.testing.assert_allclose(crps, ladder_crps(filled, observed.masked_fill(missing, 0.0)))
    counts = ladder_counts(given, observed, (0.5, 2.0))
    assert (counts.sum((3, 4)) == (~missing).sum((2, 3))[..., None]).all()
    monkeypatch.setattr("nowcast.verification.ensembles._BLOCK_VALUES", 7)
    np.testing.assert_allclose(ladder_crps(given, observed), crps)


def test_hundredths_count_as_members() -> None:
    """At a threshold of the ladder as an ensemble of 100 with that share of members above."""
    observed = rain(5, 1, 2, 6, 7)
    members = rain(6, 1, 2, 100, 6, 7).nan_to_num()
    given = Probabilities(LADDER, torch.stack([(members >= t).float().mean(2) for t in LADDER], 2))
    expected = probability_counts(members, observed, LADDER)
    assert (ladder_counts(given, observed, LADDER) == expected).all()


def test_between_thresholds_probabilities_are_interpolated_and_outside_there_are_none() -> None:
    given = Probabilities((1.0, 4.0), torch.tensor([0.8, 0.4]).view(1, 1, 2, 1, 1))
    counts = ladder_counts(given, torch.full((1, 1, 1, 1), 3.0), (0.5, 1.0, 2.0, 4.0, 5.0))[0, 0]
    places = {(0, 1): None, (1, 1): 80, (2, 1): 60, (3, 0): 40, (4, 0): None}
    for (threshold, event), hundredth in places.items():
        where = counts[threshold, :, event].nonzero().flatten().tolist()
        assert where == ([] if hundredth is None else [hundredth])
    assert counts.sum() == 3


def fields() -> tuple[Tensor, dict[str, Tensor], dict[str, Probabilities]]:
    """Observed rain of four cases; one forecast with probabilities, an ensemble, a plain one."""
    observed, seen = rain(7, 4, 2, 12, 10), rain(8, 4, 2, 12, 10)
    forecasts = {
        "model": seen[:, :, None],
        "steps": rain(9, 4, 2, 5, 12, 10),
        "persistence": rain(10, 4, 2, 1, 12, 10),
    }
    return observed, forecasts, {"model": of_rain(seen)}


def tallied(cases: slice, region: Tensor | None = None) -> Tally:
    observed, forecasts, given = fields()
    tally = Tally((0.5, 2.0, 20.0), (5.0, 10.0), region=region)
    tally.add(
        TIMES[cases],
        observed[cases],
        {name: one[cases] for name, one in forecasts.items()},
        {name: Probabilities(one.thresholds, one.values[cases]) for name, one in given.items()},
    )
    return tally


def scored(counts: xr.Dataset) -> xr.Dataset:
    return scores_dataset(
        counts,
        event_min_wet_share=0.05,
        event_gap_hours=6,
        interval_blocks="day",
        resamples=0,
        seed=0,
    )


def test_probabilities_an_ensemble_and_a_plain_forecast_are_scored_side_by_side() -> None:
    tally = tallied(slice(None))
    counts = tally.dataset()
    assert counts["members"].values.tolist() == [100, 5, 1]
    assert counts["has_probabilities"].values.tolist() == [1, 0, 0]
    assert counts["probability"].sizes["members_above"] == 101
    assert counts["rank"].shape[-2:] == (6, 6) and not counts["rank"].sel(forecast="model").any()
    scores = scored(counts).sel(part="all")
    observed, forecasts, given = fields()
    values = given["model"].at([2.0])[:, :, 0]
    known = ~torch.stack([one.isnan().any(2) for one in forecasts.values()]).any(0)
    known &= ~observed.isnan()
    p, event = values[known], (observed >= 2)[known].float()
    model = scores.sel(forecast="model")
    assert model["brier_pooled"].sel(threshold=2) == pytest.approx(
        ((p - event) ** 2).mean().item(), abs=2e-3
    )
    parts = [f"brier_{name}_pooled" for name in ("reliability", "resolution", "uncertainty")]
    reliability, resolution, uncertainty = (model[name].sel(threshold=2).item() for name in parts)
    assert reliability - resolution + uncertainty == pytest.approx(
        model["brier_pooled"].sel(threshold=2).item()
    )
    crps = ladder_crps(
        Probabilities(LADDER, given["model"].values.masked_fill(~known[:, :, None], torch.nan)),
        observed,
    )
    assert model["crps_pooled"].item() == pytest.approx(crps.sum().item() / known.sum().item())
    assert 0 < model["roc_area"].sel(threshold=2).item() < 1
    assert np.isnan(model["rank_frequency"]).all()
    assert np.isfinite(scores["crps"].sel(forecast=["steps", "persistence"])).all()
    assert np.isfinite(scores["rank_frequency"].sel(forecast="steps")).all()


def test_a_threshold_outside_of_the_ladder_has_no_score_and_is_noted_once() -> None:
    tally = tallied(slice(0, 2))
    model = scored(tally.dataset()).sel(part="all", forecast="model")
    for name in ("brier_pooled", "roc_area", "reliability_distance_pooled"):
        assert np.isnan(model[name].sel(threshold=20)) and np.isfinite(model[name].sel(threshold=2))
    assert np.isfinite(model["frequency_bias_pooled"].sel(threshold=2))
    observed, forecasts, given = fields()
    tally.add(TIMES[2:3], observed[2:3], {n: f[2:3] for n, f in forecasts.items()},
              {"model": Probabilities(LADDER, given["model"].values[2:3])})  # fmt: skip
    assert tally.remarks == [
        "model: no scores of probabilities at 20 mm/h, outside its thresholds of 0.5 to 4 mm/h"
    ]


def test_a_pixel_without_probabilities_counts_in_no_forecast() -> None:
    observed, forecasts, given = fields()
    given["model"].values[:, :, 1, :3] = torch.nan
    for common in (True, False):
        tally = Tally((0.5,), (5.0, 10.0), common=common)
        tally.add(TIMES, observed.nan_to_num(), {n: f.nan_to_num() for n, f in forecasts.items()},
                  {"model": Probabilities(LADDER, given["model"].values)})  # fmt: skip
        counts = tally.dataset()
        pixels = counts["joint"].sum(("forecast_class", "observed_class", "block", "lead_time"))
        most = 4 * 2 * 9 * 10
        assert (pixels.sel(forecast="persistence") <= most) == common
        of_model = counts["probability"].sel(forecast="model").sum()
        assert of_model <= most
        assert not common or (of_model == pixels).all()


def test_only_the_region_is_counted_and_chunks_add_up(tmp_path: Path) -> None:
    region = torch.zeros(12, 10, dtype=torch.bool)
    region[3:9, 2:8] = True
    whole = tallied(slice(None), region=region).dataset()
    assert int(whole["probability"].sel(forecast="model", threshold=2).sum()) <= 4 * 2 * 36
    parts = []
    for k, cases in enumerate((slice(0, 1), slice(1, 4))):
        path = write_counts(tallied(cases, region=region).dataset(), tmp_path / f"{k}.nc")
        parts.append(open_counts(path))
    merged = merge_counts(parts, ["0.nc", "1.nc"])
    for name in ("probability", "rank", "joint"):
        assert (merged[name] == whole[name]).all()
    np.testing.assert_allclose(merged["crps_error"], whole["crps_error"])


def test_counts_with_and_without_probabilities_are_not_added() -> None:
    observed, forecasts, _ = fields()
    plain = Tally((0.5, 2.0, 20.0), (5.0, 10.0))
    plain.add(TIMES[2:], observed[2:], {name: one[2:] for name, one in forecasts.items()})
    with pytest.raises(DataError, match="has_probabilities"):
        merge_counts([tallied(slice(0, 2)).dataset(), plain.dataset()], ["a.nc", "b.nc"])


def test_after_the_last_threshold_the_probability_falls_to_zero_at_twice_it() -> None:
    """Rain of 8 mm/h, twice the last threshold, that was certain: what is left is a third of it."""
    given = Probabilities(LADDER, torch.ones(1, 1, 3, 1, 1))
    crps = ladder_crps(given, torch.full((1, 1, 1, 1), 8.0))
    assert crps.item() == pytest.approx(4 / 3) and ladders.BEYOND == 2
