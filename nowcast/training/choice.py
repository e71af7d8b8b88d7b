"""Choose the best epoch: by the monitored score, and by the validation loss for equal scores."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nowcast.verification.counts import Counts
from nowcast.verification.scores import csi

EpochRow = dict[str, float]
"""The metrics of one epoch."""


def rank(row: EpochRow, monitor: str) -> tuple[float, float]:
    """Return a sort key of an epoch, larger is better; `monitor` is 'csi' or 'loss'.

    Epochs of equal CSI are ordered by their validation loss. An undefined CSI counts as 0: in both
    cases no event was forecast correctly.
    """
    skill = row["validation_csi"] if monitor == "csi" else 0.0
    return 0.0 if math.isnan(skill) else skill, -row["validation_loss"]


def best_row_before_ties(history: Sequence[EpochRow], monitor: str) -> EpochRow:
    """Return the epoch that nowcast 0.1.0 kept in best.pt: the first of those with equal CSI."""
    if monitor == "csi":
        return max(
            history,
            key=lambda row: (
                -math.inf if math.isnan(row["validation_csi"]) else row["validation_csi"]
            ),
        )
    return max(history, key=lambda row: rank(row, monitor))


def decided_by_loss(history: Sequence[EpochRow], best: EpochRow, monitor: str) -> int:
    """Return how many other epochs have the same CSI as the best one, so that only the loss decides
    between them; 0 if the loss is monitored.
    """
    if monitor == "loss":
        return 0
    return sum(rank(row, monitor)[0] == rank(best, monitor)[0] for row in history) - 1


def mean_csi(counts: Counts) -> float:
    """Return the mean CSI over the lead times and thresholds with an observed event, NaN without
    any.

    The observations are the same in every epoch, so every epoch averages the same terms.
    """
    observed, scores = _scored(counts)
    return float(scores[observed].mean()) if observed.any() else math.nan


def mean_csi_of_thresholds(counts: Counts) -> dict[float, float]:
    """Return the mean CSI over the lead times with an observed event, for each threshold in mm/h;
    NaN without any.
    """
    columns = zip(*(one.T for one in _scored(counts)), strict=True)
    means = [float(scores[there].mean()) if there.any() else math.nan for there, scores in columns]
    return dict(zip(counts.thresholds, means, strict=True))


def _scored(counts: Counts) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return where an event was observed, and the CSI, both (lead, k)."""
    return (counts.hits + counts.misses).numpy() > 0, np.asarray(csi(counts))
