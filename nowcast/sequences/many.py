"""Windows of several radars; each batch comes from one of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick, RadarWindows, Windows


class ManyWindows:
    """The windows of several series, in batches of one series each, in an order drawn at random.

    The series may have different grids, time steps, and numbers of input and lead steps.

    Args:
        sources: windows of each series. An epoch takes as many windows of each as the source draws.
        batch_size: windows of one batch; an incomplete last batch of a source is dropped.
        seed: the order depends only on it and on the number of the epoch.
    """

    def __init__(self, sources: Sequence[RadarWindows], batch_size: int, seed: int = 0) -> None:
        self.sources, self.batch_size, self.seed = list(sources), batch_size, seed
        self.scaling: Scaling = sources[0].scaling
        self.input_steps, self.lead_steps = sources[0].input_steps, sources[0].lead_steps

    def epoch(self, epoch: int) -> list[Pick]:
        """Return the picks of one epoch."""
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
        """Return the window of a pick, as `RadarWindows` does, from the pick's source."""
        return self.sources[pick.source][pick]

    def __getitems__(self, picks: Sequence[Pick]) -> list[Tensor]:
        """Return the windows of several picks, all from one source."""
        return self.sources[picks[0].source].__getitems__(picks)


def source_of(windows: Windows, pick: Pick) -> Windows:
    """Return the windows of the series from which a pick was drawn."""
    return windows.sources[pick.source] if isinstance(windows, ManyWindows) else windows
