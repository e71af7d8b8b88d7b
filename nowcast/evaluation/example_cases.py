"""Select the cases that a report shows: the best, the median and the worst by one score, spread
over time.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nowcast.evaluation.cases import Cases, Source, label_of
from nowcast.report.page import ExampleCase
from nowcast.verification import scores
from nowcast.verification.counts import Counts

LEAST_WET = 0.005
"""Least fraction of the observed pixels of a case that must reach the threshold for its score to be
meaningful.
"""
APART = np.timedelta64(3, "h")
"""Least time between two cases shown, if enough cases exist."""


DRAWN = 1.0
"""The rate in mm/h whose probability is drawn."""


def judged_threshold(thresholds: Sequence[float]) -> int:
    """Return the index of the threshold at which cases are compared: the nearest to 1 mm/h."""
    return int(np.argmin(np.abs(np.log(np.asarray(thresholds)))))


def case_csi(counts: Counts) -> NDArray[np.float64]:
    """(b,): CSI of each case over all lead times at the judged threshold; NaN for cases with hardly
    any rain.
    """
    threshold = judged_threshold(counts.thresholds)
    whole = counts.pooled()
    observed = (whole.hits + whole.misses)[:, 0, threshold]
    share = observed / whole.pixels[:, 0].clamp(min=1)
    csi: NDArray[np.float64] = scores.csi(whole)[:, 0, threshold]
    return np.where(share.numpy() >= LEAST_WET, csi, np.nan)


def choose(
    quality: NDArray[np.float64], times: NDArray[np.datetime64], each: int = 3
) -> dict[str, list[int]]:
    """Choose the best of the upper third of all cases, the worst of the lower third, and in between
    those nearest to the median. At most `each` of them, none twice; undefined ones are left out.
    """
    defined = np.flatnonzero(np.isfinite(quality))
    if defined.size == 0:
        return {}
    falling = defined[np.argsort(-quality[defined], kind="stable")]
    third = max(1, falling.size // 3)
    between = falling[third : max(third, falling.size - third)]
    middle = np.abs(quality[between] - np.median(quality[defined]))
    orders = {
        "best": falling[:third],
        "median": between[np.argsort(middle, kind="stable")],
        "worst": falling[third:][: -third - 1 : -1],
    }
    chosen = {label: _apart(order.tolist(), times, each) for label, order in orders.items()}
    return {label: indices for label, indices in chosen.items() if indices}


def example_cases_of(source: Source, quality: NDArray[np.float64]) -> list[ExampleCase]:
    """Return the chosen cases with their frames, forecast or read again."""
    return [
        _example_case(
            label,
            label_of(source.times[index], source),
            float(quality[index]),
            source.read([index]),
            None if source.grid is None else source.times[index],
        )
        for label, indices in choose(quality, source.times).items()
        for index in indices
    ]


def _apart(order: Sequence[int], times: NDArray[np.datetime64], each: int) -> list[int]:
    """Return the first of `order` that are APART from one another; if too few, add the next ones.
    The order is kept.
    """
    picked: list[int] = []
    for index in order:
        if len(picked) < each and all(
            abs(times[index] - times[other]) >= APART for other in picked
        ):
            picked.append(index)
    rest = [index for index in order if index not in picked]
    return sorted(picked + rest[: each - len(picked)], key=order.index)


def _example_case(
    label: str, case: str, score: float, cases: Cases, time: np.datetime64 | None
) -> ExampleCase:
    frames = {name: forecast.mean(dim=2) for name, forecast in cases.forecasts.items()}
    rows = {
        name: field[0].float().cpu().numpy()
        for name, field in {"observed": cases.observed, **frames}.items()
    }
    return ExampleCase(label, case, score, rows, drawn_probability(cases), time)


def drawn_probability(cases: Cases) -> dict[str, NDArray[np.floating]]:
    """Return the probability (lead, h, w) of `DRAWN` in the first case, by the name of its row: for
    the first forecast that has it; {} if none has.
    """
    for name, one in cases.probabilities.items():
        if one.thresholds[0] <= DRAWN <= one.thresholds[-1]:
            values = one.at([DRAWN])[0, :, 0].float().cpu().numpy()
            if np.isnan(values).all():  # a case without probabilities
                continue
            return {f"{name}: probability of ≥ {DRAWN:g} mm/h": values}
    return {}
