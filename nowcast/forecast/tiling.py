"""Forecast large grids in tiles, with the same result as for the whole grid.

Each tile is forecast with a halo, the surrounding pixels that its forecast depends on. Models are
convolutions in space, and scaling works pixel by pixel. So a pixel of the forecast depends only on
the past within the model's halo and on where its cells begin, and tiles begin at multiples of the
cell size. Anything computed over the whole grid, such as a normalisation by its mean, would break
this; there is nothing of that kind. Only rounding differs, because sums are taken in another order.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor

from nowcast.console import two_digits
from nowcast.errors import DeviceError
from nowcast.forecast.forecaster import Forecaster
from nowcast.model.describe import forecasting_memory, forecasting_memory_at_most
from nowcast.model.stacks import Local
from nowcast.probability.forecast import Forecast

WORKSPACE = 1.7
"""Memory that a forecast takes, as a multiple of its tensors, since convolutions need some of their
own. Measured as the growth of resident memory on a CPU in fp32: 1.14 to 1.60 for the models of
configs/model on 300 × 300 to 2000 × 2000 pixels.
"""

LEAST_TILE = 64
"""Smallest side of a tile in pixels."""

Extent = tuple[int, int]
"""First pixel along an axis, and the end, which is exclusive."""


@dataclass(frozen=True)
class Tiling:
    """How a grid is divided into tiles.

    rows, columns: where tiles begin along each axis, followed by the size of the grid: (0, 512,
    765) means two.
    halo: pixels around a tile that its forecast depends on, cut off at the border of the grid.
    whole_bytes: memory for the whole grid at once, or an upper bound of it if that fits.
    allowed_bytes: limit for a tile with its halo.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    halo: int
    whole_bytes: int
    allowed_bytes: int

    @property
    def tiles(self) -> list[tuple[Extent, Extent]]:
        """Rows and columns of each tile, without its halo."""
        return list(product(pairwise(self.rows), pairwise(self.columns)))

    def __str__(self) -> str:
        return (
            f"{len(self.tiles)} tiles of {self.rows[1]}×{self.columns[1]} with a halo of"
            f" {self.halo} pixels (whole would need {self.whole_bytes / 1e9:.1f} GB of"
            f" {self.allowed_bytes / 1e9:.1f} GB)"
        )


def choose_tiling(forecaster: Forecaster, past_shape: Sequence[int], allowed_bytes: int) -> Tiling:
    """Return the whole grid as one tile if it fits into the allowed memory, else the tiles that fit
    with the least computation.

    past_shape: of the past (b, t, 1 + k, h, w). The past itself and the forecast, which stay in
    memory, are not counted.
    Errors: DeviceError if the model cannot forecast in tiles, or the smallest tiles do not fit.
    """
    model, steps, (batch_size, *_, height, width) = (
        forecaster.model,
        forecaster.seen_steps,
        past_shape,
    )
    frames_shape = (batch_size, steps, forecaster.inputs.channels, height, width)
    shape = model, frames_shape, forecaster.lead_steps, forecaster.spacing
    whole = round(WORKSPACE * forecasting_memory_at_most(*shape))
    if whole > allowed_bytes:
        whole = round(WORKSPACE * forecasting_memory(*shape))
    if whole <= allowed_bytes:
        return Tiling((0, height), (0, width), 0, whole, allowed_bytes)
    needs = (
        f"{height}×{width} pixels need {two_digits(whole / 1e9)} GB to forecast, but only"
        f" {two_digits(allowed_bytes / 1e9)} GB may be used"
    )
    remedy = (
        "Free some, allow more (predict's max_memory_gb), lower evaluate's batch_size, or use a"
        " smaller grid or model."
    )
    if not isinstance(model, Local):
        raise DeviceError(
            f"{needs}; this model sees the whole grid at once, so it cannot forecast it in tiles."
            f" {remedy}"
        )
    halo, multiple = forecaster.halo(), model.multiple
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    per_pixel = whole / (_up(height, multiple) * _up(width, multiple))
    cuts = [_cuts(size, multiple, halo) for size in (height, width)]
    fitting = [
        (
            rows.pixels * columns.pixels,
            len(rows.bounds) * len(columns.bounds),
            rows.bounds,
            columns.bounds,
        )
        for rows, columns in product(*cuts)
        if per_pixel * rows.longest * columns.longest + weights <= allowed_bytes
    ]
    if not fitting:
        least = [min(cut.longest for cut in axis) for axis in cuts]
        raise DeviceError(
            f"{needs}; the smallest useful tiles, {least[0]}×{least[1]} with their halo of"
            f" {halo}, need"
            f" {two_digits((per_pixel * math.prod(least) + weights) / 1e9)} GB. {remedy}"
        )
    return Tiling(*min(fitting)[2:], halo, whole, allowed_bytes)


def forecast_in_tiles(
    forecast: Callable[[Tensor], Tensor],
    past: Tensor,
    lead_steps: int,
    tiling: Tiling,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Tensor:
    """The past (b, t, 1 + k, h, w) as a `Forecaster` takes it → forecasts (b, lead, c, h, w).

    forecast: forecasts a part of the grid: the forecaster, on any device. With one tile its result
    is returned directly; several tiles are assembled on the device of the past. A tile without
    measured pixels is not forecast; it is NaN.
    progress: called with the number of tiles done and their total.
    """
    tiles = tiling.tiles
    if len(tiles) == 1:
        return forecast(past)
    height, width = past.shape[-2:]
    made: Tensor | None = None
    for done, (rows, columns) in enumerate(tiles, start=1):
        if not past[:, :, 0, slice(*rows), slice(*columns)].isnan().all():
            top, bottom = _widened(*rows, tiling.halo, height)
            left, right = _widened(*columns, tiling.halo, width)
            part = forecast(past[..., top:bottom, left:right])
            if made is None:
                made = past.new_full((*part.shape[:3], height, width), math.nan)
            inner = slice(rows[0] - top, rows[1] - top), slice(columns[0] - left, columns[1] - left)
            made[..., slice(*rows), slice(*columns)] = part[..., *inner]
        progress(done, len(tiles))
    if made is None:
        return past.new_full((len(past), lead_steps, 1, height, width), math.nan)
    return made


def tiled_forecast(
    forecaster: Forecaster,
    past: Tensor,
    tiling: Tiling,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Forecast:
    """Return the forecast of a past (b, t, 1 + k, h, w); the network is computed in tiles on a
    device.

    The input of the network, and its forecast, are advected on the whole grid.
    """

    def part(seen: Tensor) -> Tensor:
        return forecaster.values(seen.to(device)).to(past.device)

    def network(seen: Tensor) -> Tensor:
        return forecast_in_tiles(part, seen, forecaster.lead_steps, tiling, progress)

    return forecaster.forecast(past, network)


class _Cut(NamedTuple):
    """An axis divided into tiles. longest: pixels of the longest tile with its halo, padded as by
    the model; pixels: the sum over all tiles.
    """

    bounds: tuple[int, ...]
    longest: int
    pixels: int


def _cuts(size: int, multiple: int, halo: int) -> list[_Cut]:
    """Return divisions of an axis into one tile, two, three, … down to tiles half as wide as the
    halo, which take 25 times the work.
    """
    least = max(multiple, halo // 2, LEAST_TILE)
    cuts = []
    for length in sorted(
        {_up(-(-size // count), multiple) for count in range(1, max(1, size // least) + 1)}
    ):
        bounds = (*range(0, size, length), size)
        lengths = [
            _up(end - start, multiple)
            for start, end in (_widened(*span, halo, size) for span in pairwise(bounds))
        ]
        cuts.append(_Cut(bounds, max(lengths), sum(lengths)))
    return cuts


def _widened(start: int, end: int, halo: int, size: int) -> Extent:
    return max(0, start - halo), min(size, end + halo)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
