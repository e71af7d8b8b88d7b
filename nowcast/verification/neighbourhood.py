"""Events counted in the windows round each pixel, the sums of `scores.fss`."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nowcast.errors import DataError
from nowcast.verification.counts import check_pair, refuse_infinite

_PIXELS_AT_ONCE = 2**16
"""A frame of 256 × 256: what is written again and again then stays in a processor's cache."""
_PIXELS_AT_ONCE_ON_A_GPU = 2**23
_ODD = 8
"""Columns behind a row: steps of a power of two share few lines of a cache."""


def fss_sums(
    forecast: Tensor, observed: Tensor, thresholds: Sequence[float], scales: Sequence[int]
) -> dict[str, Tensor]:
    """What the FSS is made of, for forecast and observed rain, mm/h, both (b, lead, h, w), on any
    device.

    With n_f and n_o the number of forecast and observed events in the window of scale × scale
    pixels round each pixel:
        fss_difference  Σ (n_f − n_o)²
        fss_reference   Σ n_f² + n_o²
    each (b, lead, K, S) int64 on the CPU, exact: sums of parts are the sum of the whole.

    An event is `value >= threshold`, compared in the dtype of the field. Border: the sums are over
    every pixel of the grid, and beyond the grid there is no event (Roberts & Lean 2008). Nor is
    there one, forecast or observed, where either field is
    NaN: at scale 1 the difference is the misses and false alarms, and the reference these and twice
    the hits.

    Errors: DataError where shapes, dtypes or devices do not fit, a scale is not an odd number of
    pixels, or a sum could exceed int64; InternalError where a field is infinite.
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
    products = torch.cat([windows.products(f, o, thresholds) for f, o in zip(*fields, strict=True)])
    products = products.unflatten(0, (b, lead)).cpu()
    reference = products[..., 0, 0] + products[..., 1, 1]
    return {"fss_difference": reference - 2 * products[..., 0, 1], "fss_reference": reference}


class _Windows:
    """The events in every window of some frames (h, w).

    A count is a difference of four entries in a table of the events above and left of each pixel.
    The table may overflow its dtype; modulo 2^16 or 2^32 the difference is right all the same, and
    a count fits.
    """

    def __init__(self, h: int, w: int, scales: Sequence[int]) -> None:
        most = max((min(scale, h) * min(scale, w) for scale in scales), default=1)
        largest_sum = 2 * h * w * most**2
        if largest_sum >= 2**63:
            raise DataError(
                f"FSS at scales {list(scales)}: sums over {h} × {w} pixels exceed 64 bits; leave"
                " the widest scale out."
            )
        self.size = h, w
        self.reaches = [[min(scale // 2, side) for side in self.size] for scale in scales]
        self.margins = [2 * max(reach, default=0) for reach in zip(*self.reaches, strict=True)]
        self.count = torch.int16 if most < 2**15 else torch.int32
        # the first is the faster, and exact up to here
        self.factor = torch.float64 if largest_sum <= 2**53 else torch.int64

    def products(self, forecast: Tensor, observed: Tensor, thresholds: Sequence[float]) -> Tensor:
        """(frames, K, S, 2, 2) int64: Σ n_f², Σ n_f n_o | Σ n_o n_f, Σ n_o², of fields (frames,
        h, w).
        """
        infinite = {"nan": 0.0, "posinf": torch.inf, "neginf": torch.inf}
        refuse_infinite(*[field.nan_to_num(**infinite).amax() for field in (forecast, observed)])
        fields = _missing_in_both(forecast, observed)
        edges = torch.stack([torch.tensor(thresholds, dtype=one.dtype).double() for one in fields])
        rows, columns = (_spans(fields, edges, across) for across in (2, 1))
        shape = len(forecast), len(thresholds), len(self.reaches), 2, 2
        products = torch.zeros(shape, dtype=torch.int64, device=forecast.device)
        for k, box in enumerate(zip(rows, columns, strict=True)):
            if box[0]:
                table = self._table([one[:, *map(_slice, box)] for one in fields], edges[:, k])
                for s, reaches in enumerate(self.reaches):
                    products[:, k, s] = _products(self._counts(table, box, reaches))
        return products

    def _table(self, fields: Sequence[Tensor], edges: Tensor) -> Tensor:
        """The events above and left of each pixel of a box, from a margin before it to one behind:
        (frames, 2, w, h), transposed, for sums along the last axis are the fast ones.
        """
        events = torch.empty(len(fields[0]), 2, *fields[0].shape[1:], device=fields[0].device)
        for into, field, edge in zip(events.unbind(1), fields, edges.tolist(), strict=True):
            torch.ge(field, edge, out=into)
        h, w = events.shape[-2:]
        down, right = self.margins
        along_rows = events.new_empty(*events.shape[:-1], w + _ODD, dtype=self.count)[..., :w]
        torch.cumsum(events.to(self.count), -1, out=along_rows)
        table = events.new_zeros(
            *events.shape[:2], 2 * right + w + 1, 2 * down + h + 1, dtype=self.count
        )
        inside = table[:, :, right + 1 : right + 1 + w, down + 1 : down + 1 + h]
        torch.cumsum(along_rows.mT.contiguous(), -1, out=inside)
        table[:, :, right + 1 + w :] = table[:, :, right + w, None]
        table[..., down + 1 + h :] = table[..., down + h, None]
        return table

    def _counts(self, table: Tensor, box: Sequence[range], reaches: Sequence[int]) -> Tensor:
        """The events in each window that reaches into the box: (frames, 2, pixels)."""
        (top, bottom), (left, right) = (
            _edges_of_windows(span, size, reach, margin)
            for span, size, reach, margin in zip(box, self.size, reaches, self.margins, strict=True)
        )
        strips = table[:, :, right] - table[:, :, left]
        counts = strips[..., bottom] - strips[..., top]
        return counts.to(self.factor).flatten(2)


def _spans(fields: Sequence[Tensor], edges: Tensor, across: int) -> list[range]:
    """From the first to the last row, or column, that holds an event, for each threshold.

    Windows elsewhere hold none, and add nothing.
    """
    highest = [field.nan_to_num(nan=-torch.inf).amax((0, across)) for field in fields]
    reached = torch.stack(highest).double().cpu()[:, None] >= edges[..., None]
    found = []
    for at in reached.any(0).numpy():
        where = np.flatnonzero(at)
        found.append(range(where[0], where[-1] + 1) if where.size else range(0))
    return found


def _edges_of_windows(span: range, size: int, reach: int, margin: int) -> tuple[slice, slice]:
    """Where the table holds what lies before, and up to the end of, each window that reaches into
    a span and whose centre is in the grid.
    """
    first, last = max(span.start - reach, 0), min(span.stop + reach, size)
    before = slice(first - reach - span.start + margin, last - reach - span.start + margin)
    return before, slice(before.start + 2 * reach + 1, before.stop + 2 * reach + 1)


def _slice(span: range) -> slice:
    return slice(span.start, span.stop)


def _products(n: Tensor) -> Tensor:
    """(frames, 2, pixels) → (frames, 2, 2), exact."""
    if n.device.type == "cpu":  # NumPy is several times faster
        pairs = [[f @ f, f @ o, f @ o, o @ o] for f, o in n.numpy()]
        return torch.tensor(pairs, dtype=torch.int64).view(-1, 2, 2)
    if n.is_floating_point():
        return torch.bmm(n, n.mT).to(torch.int64)
    return (n[:, :, None] * n[:, None]).sum(-1)


def _missing_in_both(forecast: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Each field with NaN where either is: x − x is 0, or NaN.

    Several times faster on a CPU than a mask.
    """
    return forecast + (observed - observed).to(forecast.dtype), observed + (forecast - forecast).to(
        observed.dtype
    )
