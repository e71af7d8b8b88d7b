"""Radially averaged power spectra: how much a field varies at each wavelength, and how much of that
variation a forecast keeps.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nowcast.verification.counts import check_pair, missing_in_both, refuse_infinite
from nowcast.verification.scores import as_float64, ratio

_PIXELS_AT_ONCE = 2**16


def wavenumbers(h: int, w: int) -> npt.NDArray[np.float64]:
    """(W,) the cycles per pixel at which the power of fields (h, w) is computed: 0, 1/l, 2/l, …
    below 1/2, with l the longer side.

    1 / wavenumber is the wavelength in pixels.
    """
    longer = max(h, w)
    return np.arange(_rings_of(h, w)) / longer


def power_sums(forecast: Tensor, observed: Tensor) -> dict[str, Tensor]:
    """Radially averaged power spectral density of forecast and observed rain, mm/h, both (b, lead,
    h, w), on any device.

    → `forecast_power` and `observed_power`, each (b, lead, W) float64 on the CPU, mm² h⁻², at the
    `wavenumbers` of the grid. With F the discrete Fourier transform of a frame, it is the mean of
    |F|² / (h w) over a ring of coefficients: those whose wavenumber, times the longer side, rounds
    to 0, 1, …, W − 1. So white noise has its variance at every wavenumber, and the sum over all
    coefficients is Σ value² (Parseval). Towards the corners no ring is complete, so coefficients
    beyond the last ring are left out. A pixel that is NaN in either field is 0 in both.

    On a square grid this is rapsd of pysteps (Ruzanski & Chandrasekar 2011). On any other grid,
    pysteps uses rings of cycles per side, which mix waves of different length; here a ring has one
    wavelength.

    Errors: DataError if shapes, dtypes or devices differ; InternalError if a field is infinite.

    Ruzanski & Chandrasekar 2011, IEEE Trans. Geoscience and Remote Sensing 49, 2296-2307.
    https://doi.org/10.1109/TGRS.2010.2103946
    """
    check_pair(forecast, observed)
    # mps has no float64
    device = torch.device("cpu") if forecast.device.type == "mps" else forecast.device
    b, lead, h, w = forecast.shape
    frames = [
        field.detach().to(device).flatten(0, 1).split(max(1, _PIXELS_AT_ONCE // (h * w)))
        for field in (forecast, observed)
    ]
    rings, shares = _rings(h, w, device)
    parts = []
    for pair in zip(*frames, strict=True):
        infinite = {"nan": 0.0, "posinf": torch.inf, "neginf": torch.inf}
        refuse_infinite(*[field.nan_to_num(**infinite).amax() for field in pair])
        known = [field.nan_to_num(nan=0.0).double() for field in missing_in_both(*pair)]
        parts.append(_power(torch.stack(known), rings, shares, _rings_of(h, w)))
    forecast_power, observed_power = torch.cat(parts, dim=1).unflatten(1, (b, lead)).cpu()
    return {"forecast_power": forecast_power, "observed_power": observed_power}


def member_power(forecast: Tensor, observed: Tensor) -> Tensor:
    """Return the mean over members (b, lead, m, h, w) of the power of each, as in `power_sums`. It
    shows the variation within a member, while the mean of all members is smooth.

    → (b, lead, W) float64 on the CPU, mm² h⁻².
    """
    powers = [power_sums(one, observed)["forecast_power"] for one in forecast.unbind(2)]
    return torch.stack(powers).mean(0)


def power_ratio(forecast_power: Any, observed_power: Any) -> npt.NDArray[np.float64]:
    """Return the power of the forecast over the observed power, as arrays of one shape.

    Range 0 to ∞, perfect 1. NaN if the observed power is 0.

    A forecast that is too smooth is below 1 at high wavenumbers, which show small showers.
    """
    return ratio(as_float64(forecast_power), as_float64(observed_power))


def _power(fields: Tensor, rings: Tensor, shares: Tensor, length: int) -> Tensor:
    """(…, h, w) → (…, length)."""
    spectrum = torch.fft.rfft2(fields)
    power = (spectrum.real.square() + spectrum.imag.square()).flatten(-2) * shares
    sums = torch.zeros(*power.shape[:-1], length + 1, dtype=power.dtype, device=power.device)
    return sums.index_add_(-1, rings, power)[..., :length]


def _rings_of(h: int, w: int) -> int:
    """Return how many rings are complete."""
    return (max(h, w) + 1) // 2


@lru_cache(4)
def _rings(h: int, w: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return for each coefficient of rfft2, flattened: its ring, or `_rings_of` in the corners; and
    the weight of its |F|² in the mean.

    The transform of a real field is symmetric: rfft2 leaves out the mirror image of all columns but
    the first and, if the width is even, the last. So the others count twice.
    """
    longer = max(h, w)
    y = torch.fft.fftfreq(h, 1 / h, dtype=torch.float64) * (longer / h)
    x = torch.fft.rfftfreq(w, 1 / w, dtype=torch.float64) * (longer / w)
    rings = (
        (y[:, None].square() + x.square())
        .sqrt()
        .round()
        .to(torch.int64)
        .clamp(max=_rings_of(h, w))
        .flatten()
    )
    times = torch.full((h, w // 2 + 1), 2.0, dtype=torch.float64)
    times[:, 0] = 1
    if w % 2 == 0:
        times[:, -1] = 1
    coefficients = torch.bincount(rings, times.flatten())
    return rings.to(device), (times.flatten() / coefficients[rings] / (h * w)).to(device)
