"""One record per score. Files, headlines and the report take all facts about a score from here.

A score added to `SCORES` appears in scores.nc and scores.csv if the sums it needs are counted, and
in the report as its `Place` says.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from nowcast.verification import probabilistic, scores
from nowcast.verification.scores import ERROR_SUMS, Contingency, Scores, Sums

TABLE = Contingency._fields
FRACTIONS = ("fss_difference", "fss_reference")
UNITS_IN_WORDS = {"1": "", "mm h-1": "mm/h", "mm2 h-2": "mm²/h²", "mm": "mm", "mm2": "mm²"}
AMOUNT_UNITS = "mm"
"""The unit of rain sums; that of rates is mm h-1."""
OF_SUMS = {"1": "1", "mm h-1": AMOUNT_UNITS, "mm2 h-2": "mm2"}
"""The unit of a score of rates → that of the same score of rain sums."""


@dataclass(frozen=True)
class Place:
    """Where a score is shown. A number orders the scores of one place; None means not shown there.

    terminal: in the headline for the terminal and for logs.
    headline: in the first tables of the report; in these and in the terminal it has its interval.
    by_lead: in the report's figures by lead time.
    numbers: the section of the report whose table of all numbers contains it.
    defined: whether the report prints its definition, the first paragraph of its function.
    """

    terminal: int | None = None
    headline: int | None = None
    by_lead: int | None = None
    numbers: Literal["all", "ensembles"] | None = None
    defined: bool = True


@dataclass(frozen=True)
class Score:
    """A score of sums (n, forecast, lead_time, …).

    function: the documented function of the score.
    needs: the sums that it is computed from.
    takes: extracts the arguments of `function` from these sums.
    name, long_name, label: in files and code; in full; and in tables and figures.
    units: of its value; "1" if it has none.
    perfect: the value of a perfect forecast, if there is a single one.
    range: the lowest and the highest possible value.
    dims: dimensions after lead_time.
    decimals: printed in headlines and the report; None prints three significant figures.
    """

    name: str
    function: Callable[..., Scores]
    long_name: str
    label: str
    range: tuple[float, float]
    perfect: float | None
    needs: tuple[str, ...]
    takes: Callable[[Sums], tuple[Any, ...]]
    units: str = "1"
    dims: tuple[str, ...] = ()
    decimals: int | None = 3
    place: Place = Place()

    def of(self, sums: Sums) -> Scores:
        """Return the score for sums (n, forecast, lead_time, …), in their shape up to `dims`."""
        return self.function(*self.takes(sums))

    @property
    def title(self) -> str:
        """The label with the units for rates: 'MSE, mm²/h²'."""
        return ", ".join(filter(None, (self.label, UNITS_IN_WORDS[self.units])))

    def title_in(self, scores: Mapping[Any, Any]) -> str:
        """Return the label with the units in a dataset of scores: 'MSE, mm²' for rain sums."""
        return replace(self, units=scores[f"{self.name}_mean"].attrs["units"]).title

    @property
    def heading(self) -> str:
        """The long name with a capital letter."""
        return self.long_name[0].upper() + self.long_name[1:]

    @property
    def of_events(self) -> bool:
        """Whether it has a value for each threshold."""
        return "threshold" in self.dims

    def decimals_of(self, values: Any) -> int:
        """Return how many decimals to print of these values, which may be NaN."""
        largest = np.nanmax(np.abs(values), initial=0.0)
        if self.decimals is not None:
            return self.decimals
        if largest == 0:
            return 3
        return int(np.clip(2 - np.floor(np.log10(largest)), 0, 7))


def scores_of(sums: Sums, *, of_amounts: bool = False) -> dict[str, Score]:
    """Return the scores that can be computed from these sums, by name.

    of_amounts: whether amounts in mm were counted instead of rates. They have no balanced errors,
    because their weights apply to rates.
    """
    found = {name: score for name, score in SCORES.items() if set(score.needs) <= set(sums)}
    if not of_amounts:
        return found
    return {
        name: replace(score, units=OF_SUMS[score.units])
        for name, score in found.items()
        if name not in BALANCED
    }


def shown_in(place: Literal["terminal", "headline", "by_lead"], of_events: bool) -> list[Score]:
    """Return the scores of a place in their order: those of events, or all others."""
    here = [score for score in SCORES.values() if getattr(score.place, place) is not None]
    return sorted(
        (score for score in here if score.of_events == of_events),
        key=lambda score: int(getattr(score.place, place)),
    )


def ranked_events() -> list[Score]:
    """Return the event scores of the headline by which forecasts are ranked: without the frequency
    bias, which is best in the middle of its range.
    """
    every = shown_in("headline", of_events=True)
    return [score for score in every if score.range[1] == score.perfect]


def numbers_of(section: Literal["all", "ensembles"]) -> list[Score]:
    """Return the scores in the table of all numbers of a section of the report."""
    return [score for score in SCORES.values() if score.place.numbers == section]


def _picked(*names: str) -> Callable[[Sums], tuple[Any, ...]]:
    return lambda sums: tuple(sums[name] for name in names)


def _table(sums: Sums) -> tuple[Any, ...]:
    return (Contingency(*(sums[name] for name in TABLE)),)


def _all(sums: Sums) -> tuple[Any, ...]:
    return (sums,)


def _crps(pairs: str) -> Callable[[Sums], tuple[Any, ...]]:
    """`crps_sums` are divided by the number of pairs before they are added; so members is 1
    here.
    """
    return lambda sums: (sums["crps_error"], sums[pairs], sums["crps_pixels"], 1)


def _probability(sums: Sums) -> tuple[Any, ...]:
    return sums["probability"], sums["members"][..., None]


_UNIT, _SKILL, _POSITIVE, _REAL = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)
_event = partial(Score, needs=TABLE, takes=_table, dims=("threshold",), place=Place(numbers="all"))
_error = partial(Score, needs=(*ERROR_SUMS, "pixels", "frames"), takes=_all)
_rate = partial(_error, units="mm h-1", decimals=None)
_square = partial(_error, units="mm2 h-2", decimals=None)
_brier = partial(
    Score,
    needs=("probability", "members"),
    takes=_probability,
    dims=("threshold",),
    range=_UNIT,
    decimals=None,
    place=Place(numbers="ensembles", defined=False),
)
_ALL = (
    _event(
        "csi", scores.csi, "critical success index", "CSI", _UNIT, 1.0,
        place=Place(terminal=1, headline=1, by_lead=1, numbers="all"),
    ),
    _event(
        "hss", scores.hss, "Heidke skill score", "HSS", _SKILL, 1.0,
        place=Place(terminal=3, headline=3, by_lead=2, numbers="all"),
    ),
    _event("pod", scores.pod, "probability of detection", "POD", _UNIT, 1.0),
    _event("far", scores.far, "false alarm ratio", "FAR", _UNIT, 0.0),
    _event("pofd", scores.pofd, "probability of false detection", "POFD", _UNIT, 0.0),
    _event("ets", scores.ets, "equitable threat score", "ETS", (-1 / 3, 1.0), 1.0),
    _event(
        "frequency_bias", scores.frequency_bias, "frequency bias", "bias", _POSITIVE, 1.0,
        place=Place(terminal=2, headline=2, numbers="all"),
    ),
    _event("accuracy", scores.accuracy, "accuracy, proportion correct", "accuracy", _UNIT, 1.0),
    _event("pss", scores.pss, "Peirce skill score", "PSS", _SKILL, 1.0),
    _event("sedi", scores.sedi, "symmetric extremal dependence index", "SEDI", _SKILL, 1.0),
    _square(
        "mse", scores.mse, "mean squared error", "MSE", _POSITIVE, 0.0,
        place=Place(terminal=1, headline=1, by_lead=2),
    ),
    _rate("rmse", scores.rmse, "root mean squared error", "RMSE", _POSITIVE, 0.0),
    _rate(
        "mae", scores.mae, "mean absolute error", "MAE", _POSITIVE, 0.0,
        place=Place(terminal=2, headline=2, by_lead=1),
    ),
    _rate(
        "mean_error", scores.mean_error, "mean error, forecast minus observed", "mean error",
        _REAL, 0.0, place=Place(by_lead=3),
    ),
    _error(
        "pearson", scores.pearson, "Pearson correlation", "Pearson correlation", _SKILL, 1.0,
        place=Place(headline=3, by_lead=4),
    ),
    _error(
        "correlation", scores.correlation, "correlation as in Shi et al. 2015, not centred",
        "correlation, not centred", _UNIT, 1.0,
    ),
    _square(
        "b_mse", scores.b_mse, "balanced squared error, sum over a frame", "B-MSE", _POSITIVE, 0.0,
        place=Place(by_lead=5),
    ),
    _rate(
        "b_mae", scores.b_mae, "balanced absolute error, sum over a frame", "B-MAE", _POSITIVE,
        0.0, place=Place(by_lead=6),
    ),
    Score(
        "ssim", scores.ssim, "structural similarity of a frame", "SSIM", _SKILL, 1.0,
        needs=("ssim", "frames"), takes=_all,
        place=Place(terminal=4, headline=4, by_lead=7, defined=False),
    ),
    Score(
        "fss", scores.fss, "fractions skill score", "FSS", _UNIT, 1.0,
        needs=FRACTIONS, takes=_picked(*FRACTIONS), dims=("threshold", "scale"),
    ),
    Score(
        "crps", probabilistic.crps, "continuous ranked probability score", "CRPS", _POSITIVE, 0.0,
        needs=("crps_error", "crps_pairs", "crps_pixels"), takes=_crps("crps_pairs"),
        units="mm h-1", decimals=None, place=Place(terminal=3, headline=5, by_lead=8),
    ),
    Score(
        "crps_fair", probabilistic.crps,
        "continuous ranked probability score, fair to ensembles of any size", "fair CRPS", _REAL,
        0.0, needs=("crps_error", "crps_pairs_fair", "crps_pixels"), takes=_crps("crps_pairs_fair"),
        units="mm h-1", decimals=None, place=Place(defined=False),
    ),
    Score(
        "spread_error", probabilistic.spread_error, "spread over error of an ensemble",
        "spread / error", _POSITIVE, 1.0, needs=("crps_pairs_fair", "crps_error", "rank"),
        takes=lambda sums: (
            sums["crps_pairs_fair"], sums["crps_error"], sums["rank"].sum((-1, -2)),
        ),
        place=Place(by_lead=9),
    ),
    _brier(
        "brier", probabilistic.brier, "Brier score", "Brier score", perfect=0.0,
        place=Place(numbers="ensembles"),
    ),
    _brier(
        "brier_reliability", probabilistic.brier_reliability,
        "reliability part of the Brier score", "its reliability", perfect=0.0,
    ),
    _brier(
        "brier_resolution", probabilistic.brier_resolution,
        "resolution part of the Brier score", "its resolution", perfect=None,
        takes=_picked("probability"),
    ),
    _brier(
        "brier_uncertainty", probabilistic.brier_uncertainty, "uncertainty in the Brier score",
        "its uncertainty", perfect=None, takes=_picked("probability"),
    ),
    _brier(
        "reliability_distance", probabilistic.reliability_distance,
        "largest distance from the diagonal of the reliability diagram", "off the diagonal",
        perfect=0.0, place=Place(numbers="ensembles"),
    ),
)  # fmt: skip
SCORES: dict[str, Score] = {score.name: score for score in _ALL}
"""Every score by name, in the order of scores.csv."""
BALANCED = ("b_mse", "b_mae")
"""Scores whose weights apply to rates in mm/h."""
CATEGORICAL = {name: score for name, score in SCORES.items() if score.needs == TABLE}
"""Scores whose function takes a `scores.Table`."""
CONTINUOUS = {name: score for name, score in SCORES.items() if set(ERROR_SUMS) <= set(score.needs)}
"""Scores whose function takes sums of errors."""
