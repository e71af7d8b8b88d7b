"""One forecast from several models: the pixel-by-pixel mean of their forecasts.

At each pixel a model has a weight: 1, or for a model that was trained on a region a weight that
falls to 0 at the border of that region, as a Hann window along both axes. So where regions overlap
one model fades into the other, without a seam; where only one model forecasts, it counts fully.
A pixel that is missing in a forecast has no weight in it.

Probabilities are pooled, p = Σ w p_i / Σ w of the calibrated ones: a linear pool (Stone 1961,
https://doi.org/10.1214/aoms/1177704873), whose Brier score is at most the mean of those of its
models. It is less sharp than each of them, so its rate is not the mean of their rates but follows
from the pooled probabilities. The best cuts depend on the sharpness of a forecast, which each model
knows from its past forecasts. So each model finds the cuts of the pooled probabilities on its own
region (`Calibration.cuts_of`), and these have the same weights as its
probabilities, c = Σ w c_i / Σ w.

Heterogeneous regions with a model each: Yuan, Zhou and Yang 2018
(https://doi.org/10.1145/3219819.3219922), Hetero-ConvLSTM.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nowcast.forecast.scene_forecast import SceneForecast, scene_forecast
from nowcast.probability.calibration import Calibration
from nowcast.probability.forecast import Forecast
from nowcast.probability.ladder import Probabilities, lead_slices
from nowcast.probability.rates import rates_by_cuts
from nowcast.radar.placing.regions import Region


@dataclass(frozen=True, eq=False)
class Part:
    """The forecast of one of several models.

    forecast: of the region, or of the whole grid without one. calibration: of a model that gives
    probabilities.
    """

    forecast: Forecast
    calibration: Calibration | None = None
    region: Region | None = None


def region_weights(size: tuple[int, int]) -> Tensor:
    """Return the weights (h, w) of a model on its region: above 0, 1 in the middle at most, and
    nearly 0 along the border.
    """
    rows, columns = (
        torch.sin(math.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length) ** 2
        for length in size
    )
    return (rows[:, None] * columns).float()


def pooled(parts: Sequence[Part], size: tuple[int, int], rate: str = "csi") -> Forecast:
    """Return the one forecast of several models.

    Args:
        parts: forecasts of the same times; all with probabilities of the same thresholds, or all
            without any.
        size: (h, w) of the grid; pixels that no model forecasts are NaN.
        rate: how rates follow from probabilities; see `nowcast.probability.options`.

    Returns:
        The pooled probabilities and their rates. Of models without probabilities the mean of the
        rates, and if all forecast the whole grid the rates of each as `members`. Of a single model
        its own forecast.
    """
    if len(parts) == 1:
        return _placed(parts[0], size)
    if parts[0].forecast.probabilities is None:
        rates = [part.forecast.rates for part in parts]
        members = None if any(part.region for part in parts) else torch.cat(rates, dim=2)
        return Forecast(_mean(parts, rates, size), members=members)
    thresholds = parts[0].forecast.probabilities.thresholds
    values = _mean(parts, [_values(part.forecast) for part in parts], size)
    probabilities = Probabilities(thresholds, values)
    return Forecast(_rates(parts, probabilities, rate), probabilities)


def covered_by(regions: Sequence[Region | None], size: tuple[int, int]) -> Tensor | None:
    """Return (h, w) which pixels any model forecasts; None if one forecasts the whole grid."""
    if None in regions:
        return None
    covered = torch.zeros(size, dtype=torch.bool)
    for region in regions:
        assert region is not None
        covered[region.rows, region.columns] = True
    return covered


def scene_forecast_of(parts: Sequence[Part], size: tuple[int, int], rate: str) -> SceneForecast:
    """Return the one forecast of one case of several models as arrays, as `pooled`; and if they do
    not cover the grid, where they do.
    """
    made = scene_forecast(pooled(parts, size, rate))
    covered = covered_by([part.region for part in parts], size)
    if covered is None or covered.all():
        return made
    share, regions = covered.float().mean().item(), "; ".join(str(part.region) for part in parts)
    said = f"forecast on {share:.0%} of the grid only, where models were trained: {regions}"
    return replace(made, within=covered.numpy(), remarks=(said,))


def _placed(part: Part, size: tuple[int, int]) -> Forecast:
    """Return the forecast of a region on the whole grid, NaN outside."""
    region, forecast = part.region, part.forecast
    if region is None:
        return forecast

    def on_grid(field: Tensor) -> Tensor:
        whole = field.new_full((*field.shape[:-2], *size), math.nan)
        whole[..., region.rows, region.columns] = field
        return whole

    known = forecast.probabilities
    return Forecast(
        on_grid(forecast.rates),
        None if known is None else Probabilities(known.thresholds, on_grid(known.values)),
    )


def _values(forecast: Forecast) -> Tensor:
    assert forecast.probabilities is not None
    return forecast.probabilities.values


def _everywhere(part: Part, size: tuple[int, int]) -> Region:
    return part.region or Region(slice(0, size[0]), slice(0, size[1]))


def _weights(part: Part, size: tuple[int, int]) -> Tensor:
    return torch.ones(size) if part.region is None else region_weights(part.region.size)


def _mean(parts: Sequence[Part], fields: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the mean of fields (b, lead, c, h, w), each on the region of its part and NaN in all
    channels of a missing pixel; NaN where all are.
    """
    shape = fields[0].shape
    total = fields[0].new_zeros(*shape[:3], *size, dtype=torch.float32)
    weight = total.new_zeros(*shape[:2], 1, *size)
    for part, field in zip(parts, fields, strict=True):
        at = (..., *_everywhere(part, size))
        known = _weights(part, size).to(field.device) * ~field[:, :, :1].isnan()
        total[at] += known * field.float().nan_to_num(0.0)
        weight[at] += known
    return total.div_(weight).masked_fill_(weight == 0, math.nan)


def _rates(parts: Sequence[Part], probabilities: Probabilities, rate: str) -> Tensor:
    """Return the rates (b, lead, 1, h, w) of pooled probabilities."""
    values, thresholds = probabilities.values, probabilities.thresholds
    calibrations = [part.calibration for part in parts if part.calibration is not None]
    if rate != "csi":
        return calibrations[0].rates(probabilities, rate)
    size = (int(values.shape[-2]), int(values.shape[-1]))
    own = [
        one.cuts_of(Probabilities(thresholds, values[(..., *_everywhere(part, size))])).to(values)
        for part, one in zip(parts, calibrations, strict=True)
    ]
    if not any(part.region for part in parts):
        cuts = torch.stack([one.expand(len(values), -1, -1) for one in own]).mean(dim=0)
        slices = lead_slices(values.shape[1])
        rates = [rates_by_cuts(values[:, one], cuts[:, one], thresholds) for one in slices]
        return torch.cat(rates, dim=1)
    return torch.cat(
        [
            rates_by_cuts(
                values[:, leads], _blended(parts, [one[:, leads] for one in own], size), thresholds
            )
            for leads in lead_slices(values.shape[1])
        ],
        dim=1,
    )


def _blended(parts: Sequence[Part], cuts: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the cuts (b, lead, k, h, w) of each pixel from those (b, lead, k) of each part; 1
    where no part forecasts.
    """
    fields = [
        one[..., None, None].expand(*one.shape, *_everywhere(part, size).size)
        for part, one in zip(parts, cuts, strict=True)
    ]
    batch = max(len(one) for one in fields)
    mean = _mean(parts, [one.expand(batch, -1, -1, -1, -1) for one in fields], size)
    return mean.nan_to_num(1.0)
