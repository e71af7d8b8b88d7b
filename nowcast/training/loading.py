"""Load windows batch by batch and move them to the device."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nowcast.sequences.batch import Batch, build_batch
from nowcast.sequences.inputs import Inputs
from nowcast.sequences.many import source_of
from nowcast.sequences.windows import Pick, RadarWindows, Windows

Part = Callable[[Sequence[Pick]], list[Pick]]
"""Selects the windows of a batch that this process takes."""


def load(
    windows: Windows,
    batches: Sequence[Sequence[Pick]],
    inputs: Inputs,
    device: torch.device,
    workers: int = 0,
    part: Part = list,
) -> Iterator[Batch]:
    """Yield the windows of each batch on the device. If `part` takes none of them, yield a window
    without any measured pixel, which has no weight.

    Transfers to a GPU do not wait: windows come from pinned memory. PyTorch's own collating lets
    workers stack them directly in shared memory.
    """
    mine = [part(picks) for picks in batches]
    loaded = [own or list(picks[:1]) for own, picks in zip(mine, batches, strict=True)]
    loader: DataLoader[Tensor] = DataLoader(
        cast(Dataset[Tensor], windows),
        # the windows take picks as indices
        batch_sampler=cast(Sampler[list[int]], loaded),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        # each loader draws a seed; its own generator keeps a resumed run on the same random stream
        generator=torch.Generator(),
    )
    for raw, picks, own in zip(loader, loaded, mine, strict=True):
        raw = raw.to(device, non_blocking=True)
        source = source_of(windows, picks[0])
        yield build_batch(
            raw if own else torch.full_like(raw, torch.nan),
            source.scaling,
            source.input_steps,
            inputs,
            [pick.weight for pick in picks],
            _motion(source, picks, device),
            source.spacing if isinstance(source, RadarWindows) else None,
        )


def _motion(source: Windows, picks: Sequence[Pick], device: torch.device) -> Tensor | None:
    """Return the motion (b, 2, hc, wc) if the windows are still to be advected, else None."""
    if not isinstance(source, RadarWindows) or source.motion is None or source.take_along:
        return None
    return source.motions(picks).to(device)


class Waited:
    """An iterator that measures the seconds spent waiting for its items."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches, self.seconds = iter(batches), 0.0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        started = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self.seconds += time.perf_counter() - started
