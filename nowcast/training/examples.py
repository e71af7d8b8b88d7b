"""Forecasts of a few validation cases, the same in every epoch, to look at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.motion.advection import displacements
from nowcast.motion.frames import take_forward
from nowcast.probability.calibration import Calibration
from nowcast.probability.ladder import Probabilities
from nowcast.sequences.batch import Batch
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick

CASES, LEADS = 4, 4
"""The largest number of cases shown, and of lead times for each."""


@dataclass(frozen=True)
class Example:
    """A validation case and its forecast.

    number: 1 for the first case, 2 for the next, …
    pick: its window.
    leads: (n,) the lead times, in time steps.
    observed, forecast: (n, h, w) in mm/h in the fixed frame of reference, NaN = missing.
    """

    number: int
    pick: Pick
    leads: tuple[int, ...]
    observed: NDArray[np.float32]
    forecast: NDArray[np.float32]


@dataclass(frozen=True)
class _Seen:
    """The data of a case that are kept until it can be calibrated: `values` (n, c, h, w), the
    model's output, NaN where it saw no measured pixel; `observed` (n, h, w) and `newest` (h, w) in
    mm/h; and `motion` (2, hc, wc).
    """

    wet: float
    case: int
    pick: Pick
    values: Tensor
    observed: Tensor
    newest: Tensor
    motion: Tensor | None


class Examples:
    """Choose cases during validation: the windows are divided into four equal parts, and from each
    part the one with the most observed rain is taken. The choice is the same in every epoch.

    Args:
        picks: the windows of validation, in order.
        lead_steps: frames of a forecast.
    """

    def __init__(self, picks: Sequence[Pick], lead_steps: int) -> None:
        self.picks = picks
        self.leads = tuple(sorted({max(1, lead_steps * n // LEADS) for n in range(1, LEADS + 1)}))
        self.seen: dict[int, _Seen] = {}

    def add(self, forecast: Tensor, batch: Batch, first_case: int) -> None:
        """Add windows, numbered from `first_case` on; forecast: (b, lead, c, h, w), the model's
        output.
        """
        wet = batch.observed.nan_to_num(0.0).mean(dim=(1, 2, 3, 4)).tolist()
        for k, amount in enumerate(wet):
            case = first_case + k
            part = CASES * case // len(self.picks)
            if part not in self.seen or amount > self.seen[part].wet:
                self.seen[part] = self._kept(k, case, amount, forecast, batch)

    def _kept(self, k: int, case: int, wet: float, forecast: Tensor, batch: Batch) -> _Seen:
        at = [lead - 1 for lead in self.leads]
        unseen = batch.rates[k, : batch.input_steps].isnan().all(dim=0)
        return _Seen(
            wet,
            case,
            self.picks[case],
            forecast[k, at].float().masked_fill(unseen, math.nan).cpu(),
            batch.observed[k, at, 0].float().cpu(),
            batch.newest_rates[k].float().cpu(),
            None if batch.motion is None else batch.motion[k].cpu(),
        )

    def made(self, scaling: Scaling, calibration: Calibration | None) -> list[Example]:
        """Return the cases with their forecasts as rates, as `predict` computes them with
        `rate=csi`. For the model of a region, `predict` uses more pixels around the region.

        calibration: for a model of probabilities, else None.
        """
        return [
            Example(
                number,
                one.pick,
                self.leads,
                one.observed.numpy(),
                self._rates(one, scaling, calibration).numpy(),
            )
            for number, (_, one) in enumerate(sorted(self.seen.items()), 1)
        ]

    def _rates(self, one: _Seen, scaling: Scaling, calibration: Calibration | None) -> Tensor:
        """(n, h, w) in mm/h."""
        fields = one.values.sigmoid() if calibration else scaling.unscale(one.values)
        fields = fields[None]
        if one.motion is not None:
            fields = self._forward(fields, one.motion).masked_fill(one.newest.isnan(), math.nan)
        if calibration is None:
            return fields[0, :, 0]
        own = calibration.at(self.leads)
        probabilities: Probabilities = own.probabilities(fields.logit())
        return own.rates(probabilities, "csi")[0, :, 0]

    def _forward(self, fields: Tensor, motion: Tensor) -> Tensor:
        """Fields (1, n, c, h, w) of the moving frame → the same in the fixed frame."""
        way = displacements(motion[None], self.leads[-1], backward=True)
        steps = [
            take_forward(fields[:, k : k + 1], way[:, lead - 1 : lead])
            for k, lead in enumerate(self.leads)
        ]
        return torch.cat(steps, dim=1)


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Return the cases chosen from those of several processes."""
    joined, *others = parts
    for other in others:
        for part, one in other.seen.items():
            before = joined.seen.setdefault(part, one)
            joined.seen[part] = max(before, one, key=lambda seen: (seen.wet, -seen.case))
    return joined
