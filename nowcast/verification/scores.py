"""Scores: each the one division at the end of counting. Where the divisor is 0 a score is undefined: NaN, never 0 or 1.

A table holds hits a, false alarms b, misses c and correct negatives d, as arrays (numpy or torch) of one shape; `Counts` is
such a table, (lead, K). A score is float64 of that shape. Products are taken in float64, for those of int64 can overflow.

References:
    Wilks 2019, Statistical Methods in the Atmospheric Sciences, 4th ed., ch. 9. https://doi.org/10.1016/C2017-0-03921-6
    Finley 1884, Tornado predictions, American Meteorological Journal 1, 85-88: the table of the examples.
    Shi et al. 2017, Deep Learning for Precipitation Nowcasting: A Benchmark and A New Model. https://arxiv.org/abs/1706.03458
"""

from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from nowcast.verification.counts import Counts

Scores: TypeAlias = npt.NDArray[np.float64]


class Table(Protocol):
    """What a score is made of: `Counts`, `Contingency`, or anything with these four."""

    @property
    def hits(self) -> Any: ...
    @property
    def false_alarms(self) -> Any: ...
    @property
    def misses(self) -> Any: ...
    @property
    def correct_negatives(self) -> Any: ...


class Contingency(NamedTuple):
    """A 2×2 table, or arrays of them: `csi(Contingency(28, 72, 23, 2680))`."""

    hits: Any
    false_alarms: Any
    misses: Any
    correct_negatives: Any


def pod(table: Table) -> Scores:
    """Probability of detection: a / (a + c). Range 0 to 1, perfect 1. Wilks 2019, hit rate. NaN without observed events."""
    a, _, c, _ = _abcd(table)
    return _ratio(a, a + c)


def far(table: Table) -> Scores:
    """False alarm ratio: b / (a + b). Range 0 to 1, perfect 0. Wilks 2019. NaN without forecast events."""
    a, b, _, _ = _abcd(table)
    return _ratio(b, a + b)


def pofd(table: Table) -> Scores:
    """Probability of false detection, the false alarm rate: b / (b + d). Range 0 to 1, perfect 0. Wilks 2019."""
    _, b, _, d = _abcd(table)
    return _ratio(b, b + d)


def csi(table: Table) -> Scores:
    """Critical success index, threat score: a / (a + b + c). Range 0 to 1, perfect 1. Wilks 2019; Shi et al. 2017."""
    a, b, c, _ = _abcd(table)
    return _ratio(a, a + b + c)


def hss(table: Table) -> Scores:
    """Heidke skill score: 2(ad − bc) / ((a + c)(c + d) + (a + b)(b + d)). Range −1 to 1, perfect 1, chance 0. Wilks 2019."""
    a, b, c, d = _abcd(table)
    return _ratio(2 * (a * d - b * c), (a + c) * (c + d) + (a + b) * (b + d))


def ets(table: Table) -> Scores:
    """Equitable threat score, Gilbert: (a − r) / (a + b + c − r), r = (a + b)(a + c) / n. Range −1/3 to 1, perfect 1. Wilks 2019.

    Multiplied by n, since n(a − r) = ad − bc exactly: a table with nothing but hits is then 0/0, whatever the rounding.
    """
    a, b, c, d = _abcd(table)
    skill = a * d - b * c
    return _ratio(skill, skill + (a + b + c + d) * (b + c))


def frequency_bias(table: Table) -> Scores:
    """Events forecast for each observed: (a + b) / (a + c). Range 0 to ∞, perfect 1. Wilks 2019. NaN without observed events."""
    a, b, c, _ = _abcd(table)
    return _ratio(a + b, a + c)


def mse(counts: Counts) -> Scores:
    """Mean squared error: Σ (forecast − observed)² / pixels, (lead,), mm² h⁻². Range 0 to ∞, perfect 0."""
    return _ratio(_float64(counts.squared_error), _float64(counts.pixels))


def mae(counts: Counts) -> Scores:
    """Mean absolute error: Σ |forecast − observed| / pixels, (lead,), mm/h. Range 0 to ∞, perfect 0."""
    return _ratio(_float64(counts.absolute_error), _float64(counts.pixels))


def mean_error(counts: Counts) -> Scores:
    """Mean error: Σ (forecast − observed) / pixels, (lead,), mm/h. Range −∞ to ∞, perfect 0; above 0 is too wet."""
    return _ratio(_float64(counts.error), _float64(counts.pixels))


def _abcd(table: Table) -> tuple[Scores, Scores, Scores, Scores]:
    return _float64(table.hits), _float64(table.false_alarms), _float64(table.misses), _float64(table.correct_negatives)


def _float64(values: Any) -> Scores:
    return np.asarray(values).astype(np.float64)


def _ratio(numerator: Scores, denominator: Scores) -> Scores:
    """The quotient, NaN where the denominator is 0."""
    quotient = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient
