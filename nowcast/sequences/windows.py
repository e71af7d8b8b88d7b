"""Windows: consecutive frames, cropped from a grid, as the tensors that a model takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.errors import ConfigError, DataError
from nowcast.motion.advection import motion_within
from nowcast.motion.frames import take_along, window_displacement
from nowcast.motion.spacing import Spacing
from nowcast.periods import Period
from nowcast.radar.placing.regions import Region
from nowcast.sequences.batch import speed_channel
from nowcast.sequences.clock import clock_of, run_of
from nowcast.sequences.direct import DirectMotion
from nowcast.sequences.fields import Fields
from nowcast.sequences.options import EVERY_WINDOW, Sampling
from nowcast.sequences.packed import PackedRates
from nowcast.sequences.sampling import CropSampler, draw_dropped, draw_symmetries
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.stored import StoredArray

Motions = NDArray[np.float16] | StoredArray | DirectMotion
"""The motion at each time of a series, (n, 2, hc, wc) in pixels per timestep."""


@dataclass(frozen=True)
class Pick:
    """One training example: the start of its window and the position of its crop; or, for generated
    data, its seed.

    symmetry: 0 to 7, the flips and rotations of the crop: bit 0 mirrors west to east, bit 1 south
        to north, bit 2 transposes before.
    dropped: the input frames that are set to missing.
    factor: the factor by which its rates are multiplied.
    noise, noise_seed: the standard deviation of the logarithm of a random factor for each pixel of
        its input frames, and the seed of these factors.
    weight: the weight of its loss; 1 in the mean of an epoch.
    source: the index of its series, if there are several.
    """

    start: int
    top: int = 0
    left: int = 0
    symmetry: int = 0
    dropped: tuple[int, ...] = ()
    factor: float = 1.0
    noise: float = 0.0
    noise_seed: int = 0
    weight: float = 1.0
    source: int = 0


class Windows(Protocol):
    """A source of windows: it draws the picks of an epoch, and reads each pick as rates (t, c, h,
    w) in mm/h, NaN = missing.
    """

    input_steps: int
    lead_steps: int
    scaling: Scaling

    def epoch(self, epoch: int) -> list[Pick]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, pick: Pick) -> Tensor: ...


class RadarWindows:
    """Windows of a packed radar series within a period.

    A pick's start is an index of the clock of the series.

    A missing frame, absent or without a measured pixel, is NaN. Training windows never lack an
    input frame, which a model would take for dry, and never lack all frames of the future.

    Args:
        rates: the packed series.
        period: contains every frame of every window.
        input_steps, lead_steps: number of past and future frames.
        scaling: scaling of mm/h to model values.
        sampling: which windows an epoch draws.
        shuffle: whether every epoch takes all windows in a new random order, or in order of time.
        seed: the draws of an epoch depend only on it and on the number of the epoch.
        fields: further fields for frames and lead times; None for none.
        starts: starts of the windows; None for all training windows of the period.
        motion: motion at each time of the clock, (n, 2, hc, wc) in pixels per timestep on the
            coarse grid; None for a model of the fixed frame of reference.
        take_along: whether windows are advected with the rain to their reference time, before they
            are cropped.
        spacing: pixel size and time step, for models that need them.
        speed: whether advected windows have the speed of the rain as last channel.
        region: region of the windows; None for the whole grid. Rain may be advected into it from
            outside.

    Errors: DataError if there is no window; ConfigError if crops to be rotated are not square.

    Example:
        >>> from nowcast.periods import parse_period
        >>> from nowcast.radar import open_grid
        >>> from nowcast.sequences import pack
        >>> from nowcast.sequences.scaling import Scaling
        >>> day = parse_period("day", ["2018-05-18", "2018-05-18"])
        >>> scaling = Scaling("log", 100, 0.5)
        >>> rates = pack(open_grid("archive/*.nc"), day, "cache", "example")
        >>> windows = RadarWindows(rates, day, input_steps=3, lead_steps=4, scaling=scaling)
        >>> len(windows.epoch(0))  # every window of 7 of the 25 frames
        19
    """

    def __init__(
        self,
        rates: PackedRates,
        period: Period,
        *,
        input_steps: int,
        lead_steps: int,
        scaling: Scaling,
        sampling: Sampling = EVERY_WINDOW,
        shuffle: bool = False,
        seed: int = 0,
        fields: Fields | None = None,
        starts: NDArray[np.int64] | None = None,
        motion: Motions | None = None,
        take_along: bool = False,
        spacing: Spacing | None = None,
        speed: bool = False,
        region: Region | None = None,
    ) -> None:
        self.rates, self.scaling, self.shuffle, self.fields = rates, scaling, shuffle, fields
        self.motion, self.take_along = motion, take_along
        self.spacing, self.speed = spacing, speed and take_along
        self.input_steps, self.lead_steps = input_steps, lead_steps
        self.sampling, self.seed, self.clock = sampling, seed, clock_of(rates)
        whole = Region(*(slice(0, length) for length in rates.frames.shape[1:]))
        self.region, self.is_part = region or whole, region is not None
        height, width = self.region.size
        self.crop = (min(sampling.crop or height, height), min(sampling.crop or width, width))
        if sampling.rotate and self.crop[0] != self.crop[1]:
            raise ConfigError(
                f"sampling.rotate: crops of {self.crop[0]} × {self.crop[1]} pixels cannot be"
                f" rotated by 90 degrees; set sampling.crop to at most {min(height, width)}, or"
                " sampling.rotate=false."
            )
        steps = input_steps + lead_steps
        self.starts = self._to_learn_from(period) if starts is None else starts
        if self.starts.size == 0:
            held = (
                str(Period(rates.times[0], rates.times[-1]))
                if rates.times.size
                else "nothing of these days"
            )
            raise DataError(
                f"no gap-free window of {steps} frames, {sampling.min_wet_share:.0%} wet, from"
                f" {period}; the data hold {held}. Give another period, or fewer steps.".replace(
                    "T", " "
                )
            )

        drawn = sampling.windows_per_epoch is not None
        self.sampler = (
            CropSampler(
                rates, self.starts, steps, self.crop, sampling.rain_power, self.clock.rows, region
            )
            if drawn
            else None
        )

    def _to_learn_from(self, period: Period) -> NDArray[np.int64]:
        """Return the starts of every `stride`-th window that has all input frames and at least one
        future frame, if it is wet enough.
        """
        steps, clock = self.input_steps + self.lead_steps, self.clock
        starts = clock.starts(period, steps)
        usable = clock.missing_in(starts, self.input_steps) == 0
        usable &= clock.missing_in(starts + self.input_steps, self.lead_steps) < self.lead_steps
        starts = starts[usable][:: self.sampling.stride]
        if not self.sampling.min_wet_share:
            return np.asarray(starts)
        shares = self.rates.wet_share_in(self.region) if self.is_part else self.rates.wet_share
        wet: NDArray[np.bool_] = (
            clock.mean_of(np.nan_to_num(shares), starts, steps) >= self.sampling.min_wet_share
        )
        return np.asarray(starts[wet])

    def epoch(self, epoch: int) -> list[Pick]:
        """Return the picks of one epoch; they depend only on the seed and the epoch's number."""
        generator = np.random.default_rng([self.seed, epoch])
        picks = self._drawn(generator) if self.sampler else self._all(generator)
        if self.sampling.flip or self.sampling.rotate:
            symmetries = draw_symmetries(
                generator, len(picks), flip=self.sampling.flip, rotate=self.sampling.rotate
            )
            picks = [
                replace(pick, symmetry=symmetry)
                for pick, symmetry in zip(picks, symmetries.tolist(), strict=True)
            ]
        if self.sampling.frame_dropout:
            lost = draw_dropped(
                generator, len(picks), self.input_steps, self.sampling.frame_dropout
            )
            # a forecast always has the newest frame, and the moving frame of reference needs it
            kept = self.input_steps - 1 if self.take_along else None
            picks = [
                replace(pick, dropped=tuple(frame for frame in dropped if frame != kept))
                for pick, dropped in zip(picks, lost, strict=True)
            ]
        if self.sampling.rate_jitter:
            factors = np.exp(generator.normal(0, self.sampling.rate_jitter, len(picks)))
            picks = [
                replace(pick, factor=factor)
                for pick, factor in zip(picks, factors.tolist(), strict=True)
            ]
        if self.sampling.noise:
            spreads = generator.uniform(0, self.sampling.noise, len(picks)).tolist()
            seeds = generator.integers(2**31, size=len(picks)).tolist()
            picks = [
                replace(pick, noise=spread, noise_seed=seed)
                for pick, spread, seed in zip(picks, spreads, seeds, strict=True)
            ]
        return picks

    def _all(self, generator: np.random.Generator) -> list[Pick]:
        starts = generator.permutation(self.starts) if self.shuffle else self.starts
        top, left = (axis.start for axis in self.region)
        return [Pick(start, top, left) for start in starts.tolist()]

    def _drawn(self, generator: np.random.Generator) -> list[Pick]:
        assert self.sampler is not None
        draws = self.sampler.draw(generator, len(self))
        weights = draws.weight if self.sampling.unbiased else np.ones(len(self))
        columns = (column.tolist() for column in (draws.start, draws.top, draws.left, weights))
        return [
            Pick(start, top, left, weight=weight)
            for start, top, left, weight in zip(*columns, strict=True)
        ]

    def __len__(self) -> int:
        """Windows in an epoch."""
        return self.sampling.windows_per_epoch or int(self.starts.size)

    def __getitem__(self, pick: Pick) -> Tensor:
        """Return a window (t, 1 + k, h, w): rates [mm/h], NaN = missing or dropped, then fields."""
        return self.__getitems__([pick])[0]

    def __getitems__(self, picks: Sequence[Pick]) -> list[Tensor]:
        """Return the windows of several picks, as requested by a DataLoader, in one block of
        memory.

        Each window is copied only once, from the file to its place in the block. Allocating and
        freeing every window separately would fragment a worker's memory by a gigabyte.
        """
        parts = [self._parts(pick) for pick in picks]  # views of the file, unless advected
        steps, _, height, width = parts[0][0].shape
        windows = np.empty(
            (len(picks), steps, sum(part.shape[1] for part in parts[0]), height, width), np.float32
        )
        for window, pick, (rates, *beside) in zip(windows, picks, parts, strict=True):
            np.multiply(rates, np.float32(pick.factor), out=window[:, :1])
            if not self.rates.is_unpacked:
                _forget_blind(window[:, 0], self.input_steps)
            if pick.noise:
                window[: self.input_steps, 0] *= _noise(pick, window[: self.input_steps, 0].shape)
            if pick.dropped:
                window[list(pick.dropped), 0] = np.nan
            if beside:
                np.concatenate(beside, axis=1, out=window[:, 1:])
        return [torch.from_numpy(window) for window in windows]

    def _parts(self, pick: Pick) -> list[NDArray[np.float32]]:
        """Return the rates (t, 1, h, w), as a view of the file if it is mapped, and if used the
        fields (t, k, h, w) and the speed (t, 1, h, w).
        """
        rows, columns = (
            slice(pick.top, pick.top + self.crop[0]),
            slice(pick.left, pick.left + self.crop[1]),
        )
        if self.take_along:
            parts = self._moved(pick, rows, columns)
        else:
            parts = self._still(pick, rows, columns)
        return [apply_symmetry(part, pick.symmetry) for part in parts]

    def _still(self, pick: Pick, rows: slice, columns: slice) -> list[NDArray[np.float32]]:
        """Return the window of a pick in the fixed frame of reference."""
        ticks = slice(pick.start, pick.start + self.input_steps + self.lead_steps)
        parts = [self._frames(self.clock.rows[ticks], rows, columns)[:, np.newaxis]]
        if self.fields is not None:
            parts.append(self.fields.read(self.clock.times[ticks], self.input_steps, rows, columns))
        return parts

    def _moved(self, pick: Pick, rows: slice, columns: slice) -> list[NDArray[np.float32]]:
        """Return the same, advected with the rain; only the needed part of the grid is read."""
        height, width = self.rates.frames.shape[1:]
        motion = self.motions([pick])
        displacement = window_displacement(
            motion,
            self.input_steps,
            self.lead_steps,
            self.crop,
            (pick.top, pick.left),
        )
        seen_rows = _reached(rows, displacement[:, :, 1], height)
        seen_columns = _reached(columns, displacement[:, :, 0], width)
        within = torch.tensor([columns.start - seen_columns.start, rows.start - seen_rows.start])
        displacement = displacement + within[:, None, None]
        parts = [
            take_along(torch.from_numpy(np.array(part))[None], displacement, self.input_steps)
            for part in self._still(pick, seen_rows, seen_columns)
        ]
        if self.speed:
            parts.append(speed_channel(parts[0], motion, self.spacing, (pick.top, pick.left)))
        return [part[0].numpy() for part in parts]

    def motions(self, picks: Sequence[Pick]) -> Tensor:
        """Return the motion at the reference times of picks, (b, 2, hc, wc): of the whole grid if
        they are advected here, else of the region.
        """
        assert self.motion is not None
        newest = [pick.start + self.input_steps - 1 for pick in picks]
        motion = torch.from_numpy(np.stack([self.motion[tick] for tick in newest])).float()
        if self.take_along or not self.is_part:
            return motion
        corner = self.region.rows.start, self.region.columns.start
        return motion_within(motion, corner, self.region.size)

    def _frames(
        self, numbers: NDArray[np.int64], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Return the frames (t, h, w) of these indices, NaN for -1; a view of the file if none is
        absent.
        """
        run = run_of(numbers)
        if run is not None:
            frames: NDArray[np.float32] = self.rates.frames[run, rows, columns]
            return frames
        there = numbers >= 0
        found = self.rates.frames[numbers[there], rows, columns]
        frames = np.full((len(numbers), *found.shape[1:]), np.nan, np.float32)
        frames[there] = found
        return frames


def _forget_blind(window: NDArray[np.float32], input_steps: int) -> None:
    """Set the future of a window (t, h, w) to missing, so that the window has no weight, if an
    input frame has no measured pixel: a model would take that frame for dry.
    """
    if np.isnan(window[:input_steps]).all(axis=(1, 2)).any():
        window[input_steps:] = np.nan


def _noise(pick: Pick, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a random factor for each pixel of the input frames (t, h, w) of a pick."""
    generator = np.random.default_rng(pick.noise_seed)
    factors = generator.standard_normal(shape, np.float32)
    factors *= np.float32(pick.noise)
    return np.exp(factors, out=factors)


def _reached(within: slice, displacement: Tensor, length: int) -> slice:
    """Return the range along an axis that contains all displaced pixels, and the pixels within."""
    first = within.start + math.floor(float(displacement.min())) - 1
    last = within.stop + math.ceil(float(displacement.max())) + 1
    # at least the pixels themselves, which the newest frame needs
    return slice(max(0, min(first, within.start)), min(length, max(last, within.stop)))


def apply_symmetry(window: NDArray[np.float32], symmetry: int) -> NDArray[np.float32]:
    """Return a view of (…, h, w), first transposed, then mirrored, as `Pick.symmetry` says."""
    if symmetry & 4:
        window = window.swapaxes(-2, -1)
    return window[..., :: -1 if symmetry & 2 else 1, :: -1 if symmetry & 1 else 1]
