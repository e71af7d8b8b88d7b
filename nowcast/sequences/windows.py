"""Windows: gap-free runs of frames, cut from a grid, as the tensors a model takes."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.errors import DataError
from nowcast.sequences.packed import PackedRates
from nowcast.sequences.periods import Period
from nowcast.sequences.scaling import Scaling


@dataclass(frozen=True)
class Pick:
    """One training example: where its window starts, and where its crop lies; or, for generated data, its seed.

    symmetry: 0 to 7, the flips and turns of the crop: bit 0 mirrors west to east, bit 1 south to north, bit 2 transposes.
    dropped: the input frames that are made missing.
    weight: of its loss; 1 in the mean of an epoch.
    """

    start: int
    top: int = 0
    left: int = 0
    symmetry: int = 0
    dropped: tuple[int, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class Sampling:
    """Which windows an epoch draws; as `sampling` in the configuration, where the fields are explained."""

    windows_per_epoch: int | None = None
    rain_power: float = 0.0
    unbiased: bool = False
    crop: int | None = None
    stride: int = 1
    min_wet_share: float = 0.0
    flip: bool = False
    rotate: bool = False
    frame_dropout: float = 0.0


class Windows(Protocol):
    """A source of windows: it draws the picks of an epoch and turns each into rates (t, c, h, w) in mm/h, NaN = missing."""

    input_steps: int
    lead_steps: int
    scaling: Scaling

    def epoch(self, epoch: int) -> list[Pick]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, pick: Pick) -> Tensor: ...


class RadarWindows:
    """Windows of a packed radar series within a period.

    Args:
        rates: the packed series.
        period: every frame of every window lies in it.
        input_steps, lead_steps: frames of past and future.
        scaling: mm/h to model values.
        sampling: which windows an epoch draws.
        shuffle: whether all are taken in a new random order in every epoch, or in order of time.
        seed: the draws of an epoch depend on it and on the number of the epoch alone.
    """

    def __init__(
        self,
        rates: PackedRates,
        period: Period,
        *,
        input_steps: int,
        lead_steps: int,
        scaling: Scaling,
        sampling: Sampling = Sampling(),
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        self.rates, self.scaling, self.shuffle = rates, scaling, shuffle
        self.input_steps, self.lead_steps = input_steps, lead_steps
        self.sampling, self.seed = sampling, seed
        height, width = rates.frames.shape[1:]
        self.crop = (min(sampling.crop or height, height), min(sampling.crop or width, width))
        steps = input_steps + lead_steps
        starts = gap_free_starts(rates.times, rates.timestep, steps, period)[:: sampling.stride]
        self.starts = starts[_window_means(rates.wet_share, starts, steps) >= sampling.min_wet_share]
        if self.starts.size == 0:
            held = str(Period(rates.times[0], rates.times[-1])) if rates.times.size else "nothing of these days"
            raise DataError(
                f"no gap-free window of {steps} frames, {sampling.min_wet_share:.0%} wet, from {period}; the data hold {held}. "
                "Give another period, or fewer steps.".replace("T", " ")
            )

    def epoch(self, epoch: int) -> list[Pick]:
        """The picks of one epoch: a function of the seed and the epoch's number alone."""
        generator = np.random.default_rng([self.seed, epoch])
        if self.sampling.windows_per_epoch is None:
            starts = generator.permutation(self.starts) if self.shuffle else self.starts
            return [Pick(int(start)) for start in starts]
        rain = _window_means(self.rates.mean_rate, self.starts, self.input_steps + self.lead_steps)
        weights = (rain + 0.01) ** self.sampling.rain_power
        starts = generator.choice(self.starts, self.sampling.windows_per_epoch, p=weights / weights.sum())
        height, width = self.rates.frames.shape[1:]
        tops = generator.integers(height - self.crop[0] + 1, size=starts.size)
        lefts = generator.integers(width - self.crop[1] + 1, size=starts.size)
        return [Pick(int(s), int(y), int(x)) for s, y, x in zip(starts, tops, lefts, strict=True)]

    def __len__(self) -> int:
        """Windows in an epoch."""
        return self.sampling.windows_per_epoch or int(self.starts.size)

    def __getitem__(self, pick: Pick) -> Tensor:
        """Rates (t, 1, h, w) in mm/h, NaN where missing."""
        rows, columns = slice(pick.top, pick.top + self.crop[0]), slice(pick.left, pick.left + self.crop[1])
        steps = self.input_steps + self.lead_steps
        rates = np.array(self.rates.frames[pick.start : pick.start + steps, rows, columns])
        return torch.from_numpy(rates).unsqueeze(1)


def gap_free_starts(times: NDArray[np.datetime64], timestep: np.timedelta64, steps: int, period: Period) -> NDArray[np.int64]:
    """Indices i such that frames i … i + steps − 1 follow each other at `timestep`, all within `period`."""
    starts: NDArray[np.int64] = np.arange(max(times.size - steps + 1, 0), dtype=np.int64)
    first, last = times[starts], times[starts + steps - 1]
    usable: NDArray[np.bool_] = (last - first == timestep * (steps - 1)) & (first >= period.start) & (last <= period.end)
    return starts[usable]


def _window_means(values: NDArray[np.float64], starts: NDArray[np.int64], steps: int) -> NDArray[np.float64]:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: NDArray[np.float64] = (sums[starts + steps] - sums[starts]) / steps
    return means
