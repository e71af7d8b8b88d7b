"""Which cases a report shows: the best, the median and the worst by one score, not all of one hour."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nowcast.commands.cases import Cases, Source, label_of
from nowcast.verification import Counts, Showcase, scores

LEAST_WET = 0.005
"""Share of the observed pixels of a case that reach the threshold, from which its score says something."""
APART = np.timedelta64(3, "h")
"""Cases shown are so far from one another, where there are enough."""


def judged_threshold(thresholds: Sequence[float]) -> int:
    """Which threshold cases are compared at: the one nearest to 1 mm/h."""
    return int(np.argmin(np.abs(np.log(np.asarray(thresholds)))))


def case_csi(counts: Counts) -> NDArray[np.float64]:
    """(b,): CSI of each case over all lead times at the judged threshold; NaN for cases with hardly any rain."""
    threshold = judged_threshold(counts.thresholds)
    whole = counts.pooled()
    observed = (whole.hits + whole.misses)[:, 0, threshold]
    share = observed / whole.pixels[:, 0].clamp(min=1)
    csi: NDArray[np.float64] = scores.csi(whole)[:, 0, threshold]
    return np.where(share.numpy() >= LEAST_WET, csi, np.nan)


def choose(quality: NDArray[np.float64], times: NDArray[np.datetime64], each: int = 3) -> dict[str, list[int]]:
    """The cases that are best, nearest the median, and worst, `each` of them, none twice; undefined ones are left out."""
    defined = np.flatnonzero(np.isfinite(quality))
    if defined.size == 0:
        return {}
    median = np.median(quality[defined])
    orders = {
        "best": defined[np.argsort(-quality[defined], kind="stable")],
        "worst": defined[np.argsort(quality[defined], kind="stable")],
        "median": defined[np.argsort(np.abs(quality[defined] - median), kind="stable")],
    }
    chosen: dict[str, list[int]] = {}
    for label, order in orders.items():
        taken = [index for some in chosen.values() for index in some]
        chosen[label] = _apart([int(index) for index in order if index not in taken], times, taken, each)
    return {label: chosen[label] for label in ("best", "median", "worst") if chosen[label]}


def showcases_of(source: Source, quality: NDArray[np.float64]) -> list[Showcase]:
    """The chosen cases with their frames, forecast or read once more."""
    return [
        _showcase(label, label_of(source.times[index], source), float(quality[index]), source.read([index]))
        for label, indices in choose(quality, source.times).items()
        for index in indices
    ]


def _apart(order: Sequence[int], times: NDArray[np.datetime64], taken: Sequence[int], each: int) -> list[int]:
    """The first of `order` that are APART from one another and from those taken; where they are too few, what comes next."""
    picked: list[int] = []
    for index in order:
        if len(picked) < each and all(abs(times[index] - times[other]) >= APART for other in [*picked, *taken]):
            picked.append(index)
    rest = [index for index in order if index not in picked]
    return picked + rest[: each - len(picked)]


def _showcase(label: str, case: str, score: float, cases: Cases) -> Showcase:
    frames = {name: forecast.mean(dim=2) for name, forecast in cases.forecasts.items()}
    rows = {name: field[0].float().cpu().numpy() for name, field in {"observed": cases.observed, **frames}.items()}
    return Showcase(label, case, score, rows)
