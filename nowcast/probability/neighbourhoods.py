"""The Lagrangian probability forecast: the share of a neighbourhood of the advected rain that
reaches a threshold, with neighbourhoods that grow with lead time.

Germann and Zawadzki (2004, https://doi.org/10.1175/1520-0450(2004)043<0074:SDOTPO>2.0.CO;2) and
Theis et al. (2005, https://doi.org/10.1017/S1350482705001763): if rain may be displaced by some
pixels, it falls somewhere in the neighbourhood of its expected place.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

SCALES = 6
"""Number of neighbourhoods: the pixel itself, and five, each about twice as wide as the last."""


def width_of(level: int) -> float:
    """Return the standard deviation of a neighbourhood in pixels: 0, 1, 2.2, 4.6, 9.2, 18.5, …"""
    return math.sqrt((4**level - 1) / 3)


def reach_of(scales: int) -> int:
    """Return the reach in pixels of the widest of so many neighbourhoods."""
    return int(2 * (2 ** (scales - 1) - 1))


WIDTHS = tuple(width_of(level) for level in range(SCALES))
"""Standard deviation of each neighbourhood in pixels."""

REACH = reach_of(SCALES)
"""Reach in pixels of the widest neighbourhood."""

OCTAVES = tuple(float(octave) for octave in range(7))
"""log2(1 + width in km) at which a model for any pixel size has learned weights."""

WIDEST_KM = 30.0
"""Least width of the widest neighbourhood of such a model."""

GROWTH = 1.0
"""Growth of the width of the neighbourhood in pixels per timestep."""

SPREAD = 1.0
"""Standard deviation, in octaves, of the mixture of neighbourhoods around that width."""

_SPLINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # a cubic B-spline: variance 1


def levels_for(pixel_km: float) -> int:
    """Return how many neighbourhoods are needed to reach a width of `WIDEST_KM`."""
    return next(n for n in range(2, 20) if width_of(n - 1) * pixel_km >= WIDEST_KM)


def fractions(rates: Tensor, thresholds: Sequence[float], scales: int = SCALES) -> Tensor:
    """Return the share of each neighbourhood of a pixel that is at or above each threshold.

    Missing pixels and pixels outside of the grid do not count.

    Args:
        rates: (b, h, w) in mm/h, NaN = missing.
        thresholds: (k,) in mm/h.
        scales: number of neighbourhoods.

    Returns:
        (b, scales, k, h, w) from 0 to 1; if no pixel of a neighbourhood is measured, the share of
        the next wider one, or 0 if that has none either.
    """
    levels = torch.tensor(thresholds, dtype=rates.dtype, device=rates.device)
    measured = (~rates.isnan()).to(rates.dtype)[:, None]
    above = (rates[:, None] >= levels[:, None, None]).to(rates.dtype)
    shares: list[Tensor] = []
    wider = torch.zeros_like(above)
    for both in reversed(neighbourhoods(torch.cat([above, measured], dim=1), scales)):
        weight = both[:, -1:]
        wider = torch.where(weight > 1e-6, both[:, :-1] / weight.clamp(min=1e-6), wider)
        shares.insert(0, wider)
    return torch.stack(shares, dim=1)


def neighbourhoods(fields: Tensor, scales: int) -> list[Tensor]:
    """Return fields (b, c, h, w) and their means over wider and wider neighbourhoods of each pixel,
    `scales` tensors in total. Fields are 0 outside of the grid.

    Neighbourhoods are Gaussian-like: repeated convolution with a cubic B-spline whose points are 1,
    2, 4, … pixels apart.
    """
    found = [fields]
    for level in range(scales - 1):
        found.append(_blur(_blur(found[-1], 2**level, axis=-1), 2**level, axis=-2))
    return found


def mixture_logits(octaves: Sequence[float] = ()) -> tuple[list[float], list[float]]:
    """Return offsets and slopes of the logits of the mixture of neighbourhoods.

    At lead step n a logit is offset + slope · log(n), so that the weights are a Gaussian over
    octaves of width, centred at `GROWTH` · n.

    Args:
        octaves: (s,) log2(1 + width) of each; by default those of `SCALES` neighbourhoods.
    """
    octaves = octaves or [math.log2(1 + width) for width in WIDTHS]
    slopes = [octave / SPREAD**2 / math.log(2) for octave in octaves]
    offsets = [(octave * math.log2(GROWTH) - octave**2 / 2) / SPREAD**2 for octave in octaves]
    return offsets, slopes


def _blur(fields: Tensor, apart: int, axis: int) -> Tensor:
    """Convolve (b, k, h, w) along an axis with a B-spline whose points are `apart` pixels apart."""
    reach = 2 * apart
    padding = (reach, reach) if axis == -1 else (0, 0, reach, reach)
    padded = functional.pad(fields, padding)
    length = fields.shape[axis]
    parts = [
        weight * padded.narrow(axis, shift * apart, length) for shift, weight in enumerate(_SPLINE)
    ]
    return sum(parts[1:], parts[0])
