"""Where an epoch's crops lie, drawn by how much it rains there; and what is done to each."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.radar.placing.regions import Region
from nowcast.sequences.packed import TILE, PackedRates

LEAST_RATE = 0.01
"""Added to the mean rate of a crop before it is weighed, so that dry ones are drawn now and
then [mm/h].
"""
_BLOCK_STARTS = 256


@dataclass(frozen=True)
class Draws:
    """Crops drawn: (n,) each.

    `weight` = density of drawing all alike / density drawn, 1 in the mean.
    """

    start: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    weight: NDArray[np.float64]


class CropSampler:
    """Draws windows and crops with a density proportional to (mean rate + 0.01 mm/h) ** rain_power.

    As DGMR (Ravuri et al. 2021, arXiv 2104.00954, importance sampling with the probabilities kept)
    and the HKO-7 benchmark (Shi et al. 2017, arXiv 1706.03458, wetter sequences drawn more often)
    do. The mean is over the frames of the window and the covered pixels of a crop that sits on the
    tiles; the crop is then moved by up to half a tile each way, all ways alike, so every place can
    come up. Crops of which no pixel is covered in any frame of the series are never drawn, nor
    windows in which nothing is covered on their tiles, unless there are no others.

    Only one number a window is kept: the weights of its crops are taken from the tiles when it is
    drawn.

    Args:
        rates: the packed series.
        starts: first frames of the windows to draw from.
        steps: frames of a window.
        crop: (height, width) in pixels.
        rain_power: 0 draws all alike, 1 in proportion to the rain.
        rows: (times,) the frame of each time that starts count, -1 where it is absent; None: every
            frame is a time.
        region: in which crops lie wholly; None: the whole grid. The tiles at its border are weighed
            with all their rain.

    Raises:
        DataError: if no pixel of the region is ever covered.
    """

    def __init__(
        self,
        rates: PackedRates,
        starts: NDArray[np.int64],
        steps: int,
        crop: tuple[int, int],
        rain_power: float,
        rows: NDArray[np.int64] | None = None,
        region: Region | None = None,
    ) -> None:
        self.rows_of_frames = np.arange(len(rates.times)) if rows is None else rows
        self.tiles, self.starts, self.steps, self.rain_power = (
            rates.tiles,
            starts,
            steps,
            rain_power,
        )
        height, width = rates.covered.shape
        self.rows, self.columns = _Places(height, crop[0]), _Places(width, crop[1])
        covered = rates.covered if rates.covered.any() else np.ones_like(rates.covered)
        allowed = _box_sums(covered, *crop) > 0
        if region is not None:
            allowed &= _places_in(region, crop, allowed.shape)
            _refuse_uncovered(region, allowed)
        self.places, self.cell_starts = self._allowed_places(allowed)
        self.blind = False
        totals = self._totals()
        if not totals[0].any():
            self.blind = True  # nothing is covered in any window
            totals = self._totals()
        self.window_totals, self.allowed = totals[0], totals[1].sum()

    def draw(self, generator: np.random.Generator, count: int) -> Draws:
        """`count` crops, independent of each other."""
        windows = _draw(self.window_totals, generator.random(count))
        which, number, many = np.unique(windows, return_inverse=True, return_counts=True)
        draws_of = np.split(np.argsort(number, kind="stable"), np.cumsum(many)[:-1])
        cells, densities, spots = (
            np.empty(count, np.int64),
            np.empty(count),
            generator.random(count),
        )
        for block in range(0, which.size, _BLOCK_STARTS):
            of_cells = self._densities(self.starts[which[block : block + _BLOCK_STARTS]])
            for draws, density in zip(draws_of[block:], of_cells, strict=False):
                cells[draws] = _draw(density * self.cell_sizes, spots[draws])
                densities[draws] = density[cells[draws]]
        places = self.places[self.cell_starts[cells] + generator.integers(self.cell_sizes[cells])]
        top, left = np.divmod(places, self.columns.count)
        return Draws(
            self.starts[windows], top, left, self.window_totals.sum() / (self.allowed * densities)
        )

    @property
    def cell_sizes(self) -> NDArray[np.int64]:
        """(cells,) the number of places in each that a crop may have."""
        return np.diff(self.cell_starts)

    def _allowed_places(
        self, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places as numbers, top · number of lefts + left, those of a cell side by side; and
        where in them each cell starts.
        """
        places = np.flatnonzero(allowed)
        top, left = np.divmod(places, self.columns.count)
        cells = self.rows.cells[top] * self.columns.cell_count + self.columns.cells[left]
        order = np.argsort(cells, kind="stable")
        numbers = np.arange(self.rows.cell_count * self.columns.cell_count + 1)
        return places[order], np.searchsorted(cells[order], numbers)

    def _totals(self) -> NDArray[np.float64]:
        """(2, starts): of each window the sum of the densities of all its places, and the
        number of those that may be drawn.
        """
        totals = np.empty((2, self.starts.size))
        for block in range(0, self.starts.size, _BLOCK_STARTS):
            densities = self._densities(self.starts[block : block + _BLOCK_STARTS])
            totals[0, block : block + _BLOCK_STARTS] = densities @ self.cell_sizes
            totals[1, block : block + _BLOCK_STARTS] = (densities > 0) @ self.cell_sizes
        return totals

    def _densities(self, starts: Iterable[int]) -> NDArray[np.float64]:
        """(starts, cells): the density, not normalised, with which each place of a cell is
        drawn; 0 where nothing is covered.
        """
        sums = np.stack([self._tiles(start).sum(axis=0, dtype=np.float64) for start in starts])
        rain, pixels = np.moveaxis(
            self.rows.sum(self.columns.sum(sums).swapaxes(2, 3)).swapaxes(2, 3), 1, 0
        )
        if self.blind:
            return np.ones((len(sums), rain[0].size))
        means = np.maximum(rain, 0) / np.maximum(pixels, 1)
        densities: NDArray[np.float64] = np.where(
            pixels > 0, (means + LEAST_RATE) ** self.rain_power, 0.0
        )
        return densities.reshape(len(sums), -1)

    def _tiles(self, start: int) -> NDArray[np.float32]:
        """The tiles of a window's frames, absent ones left out, (frames, 2, tiles down, tiles
        across).
        """
        frames = self.rows_of_frames[start : start + self.steps]
        tiles: NDArray[np.float32] = (
            self.tiles[frames[frames >= 0]]
            if frames.min() < 0
            else self.tiles[frames[0] : frames[-1] + 1]
        )
        return tiles


class _Places:
    """Along one axis: where a crop may start, and which of these places are those about a crop that
    sits on the tiles.

    count: places. cells: (places,) the cell of each, that of the nearest tile's edge. first, last:
    tiles of the crop of each cell.
    """

    def __init__(self, length: int, crop: int) -> None:
        self.count = length - crop + 1
        tiles = -(-length // TILE)
        self.cells = np.minimum((np.arange(self.count) + TILE // 2) // TILE, tiles - 1)
        self.cell_count = int(self.cells[-1]) + 1
        self.first = np.arange(self.cell_count)
        self.last = np.minimum(self.first + -(-crop // TILE), tiles)

    def sum(self, tiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, tiles) → (…, cells): the sum over the tiles of each cell's crop."""
        sums = np.concatenate([np.zeros_like(tiles[..., :1]), np.cumsum(tiles, axis=-1)], axis=-1)
        found: NDArray[np.float64] = sums[..., self.last] - sums[..., self.first]
        return found


def draw_symmetries(
    generator: np.random.Generator, count: int, *, flip: bool, rotate: bool
) -> NDArray[np.int64]:
    """(count,) symmetries as in Pick, all alike of those that flips, turns by 90°, or both
    together make of a square.
    """
    group = {
        (False, False): [0],
        (True, False): [0, 1, 2, 3],
        (False, True): [0, 5, 3, 6],
        (True, True): list(range(8)),
    }
    return generator.choice(np.array(group[flip, rotate]), count)


def draw_dropped(
    generator: np.random.Generator, count: int, input_steps: int, share: float
) -> list[tuple[int, ...]]:
    """For each of `count` windows the input frames to drop: each by itself with probability
    `share`, but never all of them.
    """
    dropped = generator.random((count, input_steps)) < share
    kept = generator.integers(input_steps, size=count)
    rows = np.flatnonzero(dropped.all(axis=1))
    dropped[rows, kept[rows]] = False
    return [tuple(int(k) for k in np.flatnonzero(row)) for row in dropped]


def _draw(weights: NDArray[np.float64], spots: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers drawn with a probability in proportion to `weights` (n,), by random `spots` in
    [0, 1).
    """
    shares = np.cumsum(weights)
    found: NDArray[np.int64] = np.searchsorted(shares, spots * shares[-1], side="right").clip(
        max=np.flatnonzero(weights)[-1]
    )
    return found


def _places_in(region: Region, crop: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which places a crop may have that lies wholly in a region."""
    inside = np.zeros(shape, bool)
    rows, columns = (
        slice(axis.start, axis.stop - length + 1) for axis, length in zip(region, crop, strict=True)
    )
    inside[rows, columns] = True
    return inside


def _refuse_uncovered(region: Region, allowed: NDArray[np.bool_]) -> None:
    if not allowed.any():
        raise DataError(
            f"no pixel of the region ({region}) is measured in the frames that were looked at;"
            " there is nothing to learn from. Give another region.index, or unpack the frames, of"
            " which all are looked at (data.cache=folder)."
        )


def _box_sums(values: NDArray[np.bool_], height: int, width: int) -> NDArray[np.int64]:
    """(y, x) → (y − height + 1, x − width + 1): the sum over each box."""
    sums = np.pad(np.cumsum(np.cumsum(values, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    return (
        sums[height:, width:]
        - sums[:-height, width:]
        - sums[height:, :-width]
        + sums[:-height, :-width]
    )
