"""Events counted in the windows around each pixel: the sums of `scores.fss`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nowcast.errors import DataError
from nowcast.verification.counts import check_pair, missing_in_both, refuse_infinite

_PIXELS_AT_ONCE = 2**16
"""A frame of 256 × 256: arrays that are written repeatedly then stay in a processor's cache."""
_PIXELS_AT_ONCE_ON_A_GPU = 2**23
_SPARE = 8
"""Columns after each row to be transposed: rows whose distance is a power of two share few cache
lines.
"""


def fss_sums(
    forecast: Tensor, observed: Tensor, thresholds: Sequence[float], scales: Sequence[int]
) -> dict[str, Tensor]:
    """Return the sums of the FSS for forecast and observed rain, mm/h, both (b, lead, h, w), on any
    device.

    With n_f and n_o the number of forecast and observed events in the window of scale × scale
    pixels around each pixel:
        fss_difference  Σ (n_f − n_o)²
        fss_reference   Σ n_f² + n_o²
    each (b, lead, K, S) int64 on the CPU, exact: sums of parts are the sum of the whole.

    An event is `value >= threshold`, compared in the dtype of the field. The sums are over every
    pixel of the grid; outside the grid there are no events (Roberts & Lean 2008). A pixel that is
    NaN in either field is no event, neither forecast nor observed. At scale 1 the difference is the
    number of misses and false alarms, and the reference is this number plus twice the hits.

    Errors: DataError if shapes, dtypes or devices differ, a scale is not an odd number of pixels,
    or a sum could exceed int64; InternalError if a field is infinite.
    """
    check_pair(forecast, observed)
    if not all(scale >= 1 and scale % 2 == 1 for scale in scales):
        raise DataError(f"FSS scales are {list(scales)} pixels; give odd widths, such as 3 or 9.")
    # mps has no float64
    device = torch.device("cpu") if forecast.device.type == "mps" else forecast.device
    b, lead, h, w = forecast.shape
    at_once = max(
        1, (_PIXELS_AT_ONCE if device.type == "cpu" else _PIXELS_AT_ONCE_ON_A_GPU) // (h * w)
    )
    fields = [
        field.detach().to(device).flatten(0, 1).split(at_once) for field in (forecast, observed)
    ]
    windows = _Windows(h, w, scales)
    parts = [windows.squares(f, o, thresholds) for f, o in zip(*fields, strict=True)]
    squared_sum, difference = torch.cat(parts).unflatten(0, (b, lead)).unbind(-1)
    return {"fss_difference": difference, "fss_reference": (squared_sum + difference) // 2}


Box = tuple[tuple[int, int], tuple[int, int]]
"""First and end row, and first and end column; the end is exclusive."""


class _Windows:
    """The events in every window of some frames (h, w).

    Only n_f + n_o and n_f − n_o are counted; their squares add up to all that the FSS needs. A
    count is a combination of four entries of a table of cumulative sums. The table may overflow its
    dtype: modulo 2^16 or 2^32 the combination is still right, and a count fits.
    """

    def __init__(self, h: int, w: int, scales: Sequence[int]) -> None:
        most = 2 * max((min(scale, h) * min(scale, w) for scale in scales), default=1)
        largest_sum = h * w * most**2
        if largest_sum >= 2**63:
            raise DataError(
                f"FSS at scales {list(scales)}: sums over {h} × {w} pixels exceed 64 bits; leave"
                " the widest scale out."
            )
        self.size = h, w
        self.reaches = [[min(scale // 2, side) for side in self.size] for scale in scales]
        self.margins = [2 * max(reach, default=0) for reach in zip(*self.reaches, strict=True)]
        self.count = torch.int16 if most < 2**15 else torch.int32
        # float64 is faster, and exact up to 2^53
        self.factor = np.float64 if largest_sum <= 2**53 else np.int64

    def squares(self, forecast: Tensor, observed: Tensor, thresholds: Sequence[float]) -> Tensor:
        """Return (frames, K, S, 2) int64 on the CPU: Σ (n_f + n_o)² and Σ (n_f − n_o)², for fields
        (frames, h, w).
        """
        infinite = {"nan": 0.0, "posinf": torch.inf, "neginf": torch.inf}
        refuse_infinite(*[field.nan_to_num(**infinite).amax() for field in (forecast, observed)])
        fields = missing_in_both(forecast, observed)
        edges = [torch.tensor(thresholds, dtype=field.dtype) for field in fields]
        boxes = _boxes_of_events(fields, edges)
        sums = np.zeros((len(forecast), len(thresholds), len(self.reaches), 2), np.int64)
        for k, box in enumerate(boxes):
            if box is not None:
                cut = [field[:, slice(*box[0]), slice(*box[1])] for field in fields]
                table = self._table(cut, [edge[k].item() for edge in edges])
                for s, reaches in enumerate(self.reaches):
                    sums[:, k, s] = self._squares(self._counts(table, box, reaches))
        return torch.from_numpy(sums)

    def _table(self, fields: Sequence[Tensor], edges: Sequence[float]) -> Any:
        """Return the cumulative sums of `_events` above and left of each pixel of a box and a
        margin
        around it: (frames, 2, w, h). It is transposed, because sums along the last axis are faster.
        On a CPU it is an array, because NumPy slices with less overhead.
        """
        events = _events(fields, edges)
        h, w = events.shape[-2:]
        down, right = self.margins
        along_rows = events.new_empty(*events.shape[:-1], w + _SPARE, dtype=self.count)[..., :w]
        torch.cumsum(events.to(self.count), -1, out=along_rows)
        table = events.new_zeros(
            *events.shape[:2], 2 * right + w + 1, 2 * down + h + 1, dtype=self.count
        )
        inside = table[:, :, right + 1 : right + 1 + w, down + 1 : down + 1 + h]
        torch.cumsum(along_rows.mT.contiguous(), -1, out=inside)
        table[:, :, right + 1 + w :] = table[:, :, right + w, None]
        table[..., down + 1 + h :] = table[..., down + h, None]
        return table if table.is_cuda else table.numpy()

    def _counts(self, table: Any, box: Box, reaches: Sequence[int]) -> Any:
        """Return n_f + n_o and n_f − n_o for each window that overlaps the box: (frames, 2,
        columns, rows).
        """
        (top, bottom), (left, right) = (
            _edges_of_windows(span, size, reach, margin)
            for span, size, reach, margin in zip(box, self.size, reaches, self.margins, strict=True)
        )
        used = table[..., top.start : bottom.stop]
        strips = used[:, :, right] - used[:, :, left]
        rows = top.stop - top.start
        return strips[..., -rows:] - strips[..., :rows]

    def _squares(self, counts: Any) -> Any:
        """Return the sums of the squares of counts (frames, 2, columns, rows): (frames, 2)."""
        if isinstance(counts, Tensor):
            return counts.long().square().sum((2, 3)).cpu().numpy()
        n = counts.astype(self.factor).reshape(*counts.shape[:2], -1)
        # not by BLAS: its threads and those of PyTorch would wait for each other
        return np.einsum("fkp,fkp->fk", n, n)


def _events(fields: Sequence[Tensor], edges: Sequence[float]) -> Tensor:
    """Return forecast plus observed, and forecast minus observed events: (frames, 2, h, w)."""
    events = torch.empty(len(fields[0]), 2, *fields[0].shape[1:], device=fields[0].device)
    forecast, observed = events.unbind(1)
    for into, field, edge in zip((forecast, observed), fields, edges, strict=True):
        torch.ge(field, edge, out=into)
    forecast += observed
    torch.sub(forecast, observed, alpha=2, out=observed)  # the sum minus twice the observed
    return events


def _boxes_of_events(fields: Sequence[Tensor], edges: Sequence[Tensor]) -> list[Box | None]:
    """Return for each threshold the box (first to last row and column) in which fields (frames, h,
    w) have events; None if they have none.

    Windows that do not overlap the box add nothing.
    """
    filled = [field.nan_to_num(nan=-torch.inf) for field in fields]
    spans = []
    for across in ((0, 2), (0, 1)):
        reached = [
            field.amax(across).cpu() >= edge[:, None]
            for field, edge in zip(filled, edges, strict=True)
        ]
        there = torch.logical_or(*reached).numpy()
        ends = there.shape[1] - there[:, ::-1].argmax(1)
        spans.append(list(zip(there.argmax(1).tolist(), ends.tolist(), strict=True)))
    boxes = zip(*spans, strict=True)
    return [box if row.any() else None for box, row in zip(boxes, there, strict=True)]


def _edges_of_windows(
    span: tuple[int, int], size: int, reach: int, margin: int
) -> tuple[slice, slice]:
    """Return the indices in the table before and at the end of each window that overlaps a span and
    has its centre in the grid.
    """
    start, stop = span
    first, last = max(start - reach, 0), min(stop + reach, size)
    before = slice(first - reach - start + margin, last - reach - start + margin)
    return before, slice(before.start + 2 * reach + 1, before.stop + 2 * reach + 1)
