"""Structural similarity of frames in [0, 1], such as those of Moving-MNIST."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from nowcast.errors import DataError
from nowcast.verification.counts import check_pair

WINDOW = 11
"""Width in pixels of a Gaussian window with …"""
SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
"""(K1 L)² and (K2 L)², where L = 1 is the range of values."""
_PIXELS_AT_ONCE = 2**18


def ssim_sums(forecast: Tensor, observed: Tensor) -> Tensor:
    """Structural similarity index of each frame, both (b, lead, h, w) in [0, 1], on any device →
    (b, lead) float64 on the CPU.

    SSIM = mean of (2 μ_f μ_o + C1) (2 σ_fo + C2) / ((μ_f² + μ_o² + C1) (σ_f² + σ_o² + C2)). Range
    −1 to 1, perfect 1. Add over cases and divide by their number. The moments μ, σ², σ_fo are
    weighted by a Gaussian of 11 × 11 pixels, sigma 1.5. The mean is over all positions where this
    window lies inside the frame, so no values beyond the border are needed.

    Errors: DataError if shapes, dtypes or devices differ, frames are smaller than the window or
    have missing pixels, or observed ones are not in [0, 1].

    Wang et al. 2004, IEEE Trans. Image Processing 13, 600-612.
    https://doi.org/10.1109/TIP.2003.819861
    """
    check_pair(forecast, observed)
    b, lead, h, w = forecast.shape
    if min(h, w) < WINDOW:
        raise DataError(
            f"frames of {h} × {w} pixels are smaller than the window of the SSIM, {WINDOW} ×"
            f" {WINDOW}; leave the SSIM out."
        )
    if forecast.isnan().any() or not ((observed >= 0) & (observed <= 1)).all():
        raise DataError(
            "SSIM needs frames in [0, 1] without missing pixels; leave it out for others."
        )
    # mps has no float64
    device = torch.device("cpu") if forecast.device.type == "mps" else forecast.device
    frames = [
        field.detach().to(device).flatten(0, 1).split(max(1, _PIXELS_AT_ONCE // (h * w)))
        for field in (forecast, observed)
    ]
    by_frame = torch.cat([_ssim(f.double(), o.double()) for f, o in zip(*frames, strict=True)])
    return by_frame.reshape(b, lead).cpu()


def _ssim(f: Tensor, o: Tensor) -> Tensor:
    """(n, h, w) each → (n,)."""
    mean_f, mean_o, mean_ff, mean_oo, mean_fo = _weighted_means(
        torch.stack([f, o, f * f, o * o, f * o])
    )
    var_f, var_o, cov = mean_ff - mean_f**2, mean_oo - mean_o**2, mean_fo - mean_f * mean_o
    same = (2 * mean_f * mean_o + _C1) * (2 * cov + _C2)
    largest = (mean_f**2 + mean_o**2 + _C1) * (var_f + var_o + _C2)
    similarity: Tensor = same / largest
    return similarity.mean((-2, -1))


def _weighted_means(fields: Tensor) -> Tensor:
    """(k, n, h, w) → (k, n, h − 10, w − 10); rows and columns separately, as a Gaussian allows."""
    distance = torch.arange(WINDOW, dtype=fields.dtype, device=fields.device) - WINDOW // 2
    weight = torch.exp(-distance.square() / (2 * SIGMA**2))
    weight = weight / weight.sum()
    k, n, h, w = fields.shape
    down = conv2d(fields.reshape(k * n, 1, h, w), weight[None, None, :, None])
    means: Tensor = conv2d(down, weight[None, None, None, :])
    return means.reshape(k, n, h - WINDOW + 1, w - WINDOW + 1)
