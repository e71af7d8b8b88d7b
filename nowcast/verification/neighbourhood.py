"""Events counted in the windows round each pixel, the sums of `scores.fss`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nowcast.errors import DataError
from nowcast.verification.counts import check_pair, refuse_infinite

_PIXELS_AT_ONCE = 2**16
"""A frame of 256 × 256: what is written again and again then stays in a processor's cache."""
_PIXELS_AT_ONCE_ON_A_GPU = 2**23


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
    windows = _Windows(min(at_once, b * lead), h, w, scales, device)
    parts = []
    for f, o in zip(*fields, strict=True):
        if len(f) != windows.frames:  # the last ones
            windows = _Windows(len(f), h, w, scales, device)
        parts.append(windows.products(f, o, thresholds))
    products = torch.cat(parts).unflatten(0, (b, lead)).cpu()
    reference = products[..., 0, 0] + products[..., 1, 1]
    return {"fss_difference": reference - 2 * products[..., 0, 1], "fss_reference": reference}


class _Windows:
    """Events in every window of some frames.

    Its tensors are written again for each threshold and scale.

    A count is a difference of four entries in a table of the events above and left of each pixel.
    The table may overflow its dtype; modulo 2^16 or 2^32 the difference is right all the same, and
    a count fits.
    """

    def __init__(
        self, frames: int, h: int, w: int, scales: Sequence[int], device: torch.device
    ) -> None:
        self.frames = frames
        most = max((min(scale, h) * min(scale, w) for scale in scales), default=1)
        largest_sum = 2 * h * w * most**2
        if largest_sum >= 2**63:
            raise DataError(
                f"FSS at scales {list(scales)}: sums over {h} × {w} pixels exceed 64 bits; leave"
                " the widest scale out."
            )
        count = torch.int16 if most < 2**15 else torch.int32
        # the first is the faster, and exact up to here
        factor = torch.float64 if largest_sum <= 2**53 else torch.int64

        # Everything behind `along_rows` is transposed, (w, h): sums along the last axis are the
        # fast ones, and windows are square.
        self.events = torch.empty(frames, 2, h, w, device=device)
        self.as_counts, self.along_rows = (
            torch.empty(frames, 2, h, w, dtype=count, device=device) for _ in range(2)
        )
        self.transposed = torch.empty(frames, 2, w, h, dtype=count, device=device)
        margins = [min(max(scales, default=1) // 2, size) for size in (w, h)]
        first_w, first_h = (margin + 1 for margin in margins)
        table = torch.zeros(
            frames, 2, 2 * margins[0] + 1 + w, 2 * margins[1] + 1 + h, dtype=count, device=device
        )
        self.table = table[:, :, first_w : first_w + w, first_h : first_h + h]
        self.beyond = [
            (table[:, :, first_w + w :], table[:, :, first_w + w - 1 : first_w + w]),
            (table[..., first_h + h :], table[..., first_h + h - 1 : first_h + h]),
        ]
        self.strips = torch.empty(frames, 2, w, table.shape[-1], dtype=count, device=device)
        self.counts = torch.empty(frames, 2, w, h, dtype=count, device=device)
        self.factors = torch.empty(frames, 2, w, h, dtype=factor, device=device)
        self.sides = []
        for scale in scales:
            (top, bottom), (left, right) = (
                (margin - min(scale // 2, size), margin + min(scale // 2, size) + 1)
                for margin, size in zip(margins, (w, h), strict=True)
            )
            self.sides.append(
                (
                    (table[:, :, bottom : bottom + w], table[:, :, top : top + w]),
                    (self.strips[..., right : right + h], self.strips[..., left : left + h]),
                )
            )

    def products(self, forecast: Tensor, observed: Tensor, thresholds: Sequence[float]) -> Tensor:
        """(frames, K, S, 2, 2) int64: Σ n_f², Σ n_f n_o | Σ n_o n_f, Σ n_o², of fields (frames,
        h, w).
        """
        infinite = {"nan": 0.0, "posinf": torch.inf, "neginf": torch.inf}
        highest = torch.stack(
            [field.nan_to_num(**infinite).amax().double() for field in (forecast, observed)]
        )
        refuse_infinite(highest)
        forecast, observed = _missing_in_both(forecast, observed)
        highest_forecast, highest_observed = highest.tolist()
        edges = [
            torch.tensor(thresholds, dtype=field.dtype).tolist() for field in (forecast, observed)
        ]
        n = self.factors.flatten(2)
        products = torch.zeros(
            len(thresholds), len(self.sides), self.frames, 2, 2, dtype=n.dtype, device=n.device
        )
        for k, (edge_forecast, edge_observed) in enumerate(zip(*edges, strict=True)):
            if edge_forecast > highest_forecast and edge_observed > highest_observed:
                continue
            torch.ge(forecast, edge_forecast, out=self.events[:, 0])
            torch.ge(observed, edge_observed, out=self.events[:, 1])
            self._fill_table()
            for s, (vertical, horizontal) in enumerate(self.sides):
                torch.sub(*vertical, out=self.strips)
                torch.sub(*horizontal, out=self.counts)
                self.factors.copy_(self.counts)
                if n.is_floating_point():
                    torch.bmm(n, n.mT, out=products[k, s])
                else:
                    products[k, s] = (n[:, :, None] * n[:, None]).sum(-1)
        return products.to(torch.int64).permute(2, 0, 1, 3, 4)

    def _fill_table(self) -> None:
        torch.cumsum(self.as_counts.copy_(self.events), -1, out=self.along_rows)
        torch.cumsum(self.transposed.copy_(self.along_rows.mT), -1, out=self.table)
        for beyond, border in self.beyond:
            beyond.copy_(border.expand_as(beyond))


def _missing_in_both(forecast: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Each field with NaN where either is: x − x is 0, or NaN.

    Several times faster on a CPU than a mask.
    """
    return forecast + (observed - observed).to(forecast.dtype), observed + (forecast - forecast).to(
        observed.dtype
    )
