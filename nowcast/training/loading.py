"""Windows, loaded batch after batch and brought to the device."""

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
"""The windows of a batch that this process takes."""


def load(
    windows: Windows,
    batches: Sequence[Sequence[Pick]],
    inputs: Inputs,
    device: torch.device,
    workers: int = 0,
    part: Part = list,
) -> Iterator[Batch]:
    """Yield the windows of each batch, on the device; where `part` takes none of them, one without
    a measured pixel, which weighs nothing.

    A GPU is not waited for: windows come from pinned memory. PyTorch's own collating lets workers
    stack them in shared memory at once.
    """
    mine = [part(picks) for picks in batches]
    loaded = [own or list(picks[:1]) for own, picks in zip(mine, batches, strict=True)]
    loader: DataLoader[Tensor] = DataLoader(
        cast(Dataset[Tensor], windows),
        # the windows know what an index means
        batch_sampler=cast(Sampler[list[int]], loaded),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        # each loader draws a seed: from a stream of its own, or a resumed run's were one ahead
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
    """The motion that windows are still to be taken along, (b, 2, hc, wc)."""
    if not isinstance(source, RadarWindows) or source.motion is None or source.take_along:
        return None
    return source.motions(picks).to(device)


class Waited:
    """What an iterator gives, and the seconds that were spent waiting for it."""

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
