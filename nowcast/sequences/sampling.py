"""Draw the crops of an epoch, with more crops where it rains more, and their augmentations."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.radar.placing.regions import Region
from nowcast.sequences.packed import TILE, PackedRates

LEAST_RATE = 0.01
"""Added to the mean rate of a crop [mm/h], so that dry crops are drawn occasionally too."""
_BLOCK_STARTS = 256


@dataclass(frozen=True)
class Draws:
    """The drawn crops, each field (n,).

    `weight` is the importance weight: uniform density / sampling density, 1 in the mean.
    """

    start: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    weight: NDArray[np.float64]


class CropSampler:
    """Draws windows and crops with a density proportional to (mean rate + 0.01 mm/h) ** rain_power.

    This follows DGMR (Ravuri et al. 2021, arXiv 2104.00954, importance sampling with known
    probabilities) and the HKO-7 benchmark (Shi et al. 2017, arXiv 1706.03458, wetter sequences
    drawn more often). The mean is over the frames of the window and the covered pixels of a crop
    aligned with the tiles. The crop is then shifted by up to half a tile in each direction,
    uniformly, so that every position is possible. Crops without any covered pixel in the whole
    series are never drawn, nor windows without any covered tile unless all are like that.

    Only one number per window is kept in memory: the weights of its crops are computed from the
    tiles when it is drawn.

    Args:
        rates: the packed series.
        starts: first frames of the windows to draw from.
        steps: frames of a window.
        crop: (height, width) in pixels.
        rain_power: 0 draws uniformly, 1 in proportion to the rain.
        rows: (times,) index of the frame at each time to which `starts` refers, -1 if absent; None:
            every frame is a time.
        region: region that must contain the whole crop; None: the whole grid. Tiles at its border
            count with all their rain.

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
            self.blind = True  # no window has a covered pixel
            totals = self._totals()
        self.window_totals, self.allowed = totals[0], totals[1].sum()

    def draw(self, generator: np.random.Generator, count: int) -> Draws:
        """Draw `count` independent crops."""
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
        """(cells,) the number of possible crop places in each cell."""
        return np.diff(self.cell_starts)

    def _allowed_places(
        self, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places as numbers, top · number of lefts + left, sorted by cell; and the index
        at which each cell starts.
        """
        places = np.flatnonzero(allowed)
        top, left = np.divmod(places, self.columns.count)
        cells = self.rows.cells[top] * self.columns.cell_count + self.columns.cells[left]
        order = np.argsort(cells, kind="stable")
        numbers = np.arange(self.rows.cell_count * self.columns.cell_count + 1)
        return places[order], np.searchsorted(cells[order], numbers)

    def _totals(self) -> NDArray[np.float64]:
        """Return for each window the sum of the densities of all its places, and the number of
        places that may be drawn: (2, starts).
        """
        totals = np.empty((2, self.starts.size))
        for block in range(0, self.starts.size, _BLOCK_STARTS):
            densities = self._densities(self.starts[block : block + _BLOCK_STARTS])
            totals[0, block : block + _BLOCK_STARTS] = densities @ self.cell_sizes
            totals[1, block : block + _BLOCK_STARTS] = (densities > 0) @ self.cell_sizes
        return totals

    def _densities(self, starts: Iterable[int]) -> NDArray[np.float64]:
        """Return the unnormalised density (starts, cells) with which each place of a cell is drawn;
        0 where nothing is covered.
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
        """Return the tiles of a window's frames, (frames, 2, tiles down, tiles across); absent
        frames are skipped.
        """
        frames = self.rows_of_frames[start : start + self.steps]
        tiles: NDArray[np.float32] = (
            self.tiles[frames[frames >= 0]]
            if frames.min() < 0
            else self.tiles[frames[0] : frames[-1] + 1]
        )
        return tiles


class _Places:
    """The possible starts (places) of a crop along one axis. A cell is the group of places around a
    crop that is aligned with the tiles.

    count: number of places. cells: (places,) the cell of each place, that of the nearest tile edge.
    first, last: tiles of the aligned crop of each cell.
    """

    def __init__(self, length: int, crop: int) -> None:
        self.count = length - crop + 1
        tiles = -(-length // TILE)
        self.cells = np.minimum((np.arange(self.count) + TILE // 2) // TILE, tiles - 1)
        self.cell_count = int(self.cells[-1]) + 1
        self.first = np.arange(self.cell_count)
        self.last = np.minimum(self.first + -(-crop // TILE), tiles)

    def sum(self, tiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, tiles) → (…, cells): sum over the tiles of each cell's crop."""
        sums = np.concatenate([np.zeros_like(tiles[..., :1]), np.cumsum(tiles, axis=-1)], axis=-1)
        found: NDArray[np.float64] = sums[..., self.last] - sums[..., self.first]
        return found


def draw_symmetries(
    generator: np.random.Generator, count: int, *, flip: bool, rotate: bool
) -> NDArray[np.int64]:
    """Draw (count,) symmetries as in `Pick`, uniformly from those of a square made by flips,
    rotations by 90°, or both.
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
    """Draw the input frames to drop for each of `count` windows: each independently with
    probability `share`, but never all of them.
    """
    dropped = generator.random((count, input_steps)) < share
    kept = generator.integers(input_steps, size=count)
    rows = np.flatnonzero(dropped.all(axis=1))
    dropped[rows, kept[rows]] = False
    return [tuple(int(k) for k in np.flatnonzero(row)) for row in dropped]


def _draw(weights: NDArray[np.float64], spots: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return indices drawn with probabilities proportional to `weights` (n,), from uniform random
    numbers `spots` in [0, 1).
    """
    shares = np.cumsum(weights)
    found: NDArray[np.int64] = np.searchsorted(shares, spots * shares[-1], side="right").clip(
        max=np.flatnonzero(weights)[-1]
    )
    return found


def _places_in(region: Region, crop: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the places of crops that lie completely in a region."""
    inside = np.zeros(shape, bool)
    rows, columns = (
        slice(axis.start, axis.stop - length + 1) for axis, length in zip(region, crop, strict=True)
    )
    inside[rows, columns] = True
    return inside


def _refuse_uncovered(region: Region, allowed: NDArray[np.bool_]) -> None:
    if not allowed.any():
        raise DataError(
            f"no pixel of the region ({region}) is measured in the frames that were checked, so"
            " there is nothing to train on. Give another region.index, or unpack the frames"
            " (data.cache=folder), so that all are checked."
        )


def _box_sums(values: NDArray[np.bool_], height: int, width: int) -> NDArray[np.int64]:
    """(y, x) → (y − height + 1, x − width + 1): sum over each box."""
    sums = np.pad(np.cumsum(np.cumsum(values, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    return (
        sums[height:, width:]
        - sums[:-height, width:]
        - sums[height:, :-width]
        + sums[:-height, :-width]
    )
