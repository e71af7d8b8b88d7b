"""Windows of several radars: each batch is of one of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick, RadarWindows, Windows


class ManyWindows:
    """The windows of several series, in batches of one series each, in an order drawn at random.

    The series may have grids, time steps, input and lead steps of their own.

    Args:
        sources: windows of each series. An epoch takes as many of each as that source draws.
        batch_size: windows of one batch; a source that draws no multiple of it drops the rest.
        seed: the order depends on it and on the number of the epoch only.
    """

    def __init__(self, sources: Sequence[RadarWindows], batch_size: int, seed: int = 0) -> None:
        self.sources, self.batch_size, self.seed = list(sources), batch_size, seed
        self.scaling: Scaling = sources[0].scaling
        self.input_steps, self.lead_steps = sources[0].input_steps, sources[0].lead_steps

    def epoch(self, epoch: int) -> list[Pick]:
        """The picks of one epoch."""
        batches: list[list[Pick]] = []
        for number, source in enumerate(self.sources):
            picks = [replace(pick, source=number) for pick in source.epoch(epoch)]
            whole = range(0, len(picks) - self.batch_size + 1, self.batch_size)
            batches += [picks[first : first + self.batch_size] for first in whole]
        order = np.random.default_rng([self.seed, epoch]).permutation(len(batches))
        return [pick for number in order for pick in batches[number]]

    def __len__(self) -> int:
        """Windows in an epoch."""
        return sum(len(source) // self.batch_size * self.batch_size for source in self.sources)

    def __getitem__(self, pick: Pick) -> Tensor:
        """As `RadarWindows`, of the source of the pick."""
        return self.sources[pick.source][pick]

    def __getitems__(self, picks: Sequence[Pick]) -> list[Tensor]:
        """The windows of several picks, all of one source."""
        return self.sources[picks[0].source].__getitems__(picks)


def source_of(windows: Windows, pick: Pick) -> Windows:
    """Return the windows of the series that a pick is from."""
    return windows.sources[pick.source] if isinstance(windows, ManyWindows) else windows
