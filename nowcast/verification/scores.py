"""Scores: each is one division after all counting.

If the divisor is 0 the score is undefined: NaN, never 0 or 1.

A categorical score takes a table of hits a, false alarms b, misses c and correct negatives d, as
arrays (numpy, torch or xarray) of one shape; `Counts` is such a table, (…, K). A continuous score
takes the sums of `error_sums` by name, with `pixels`, the number of pixels in each sum, and
`frames`, the number of frames that have such a pixel. A score is float64 and has the shape of its
input. Products are computed in float64, because int64 can overflow.

`scoring.SCORES` lists all scores, with names, units, range and the score of a perfect forecast.

References:
    Wilks 2019, Statistical Methods in the Atmospheric Sciences, 4th ed., ch. 9.
    https://doi.org/10.1016/C2017-0-03921-6 Finley 1884, Tornado predictions, American
    Meteorological Journal 1, 85-88: the table of the examples. Peirce 1884, The numerical measure
    of the success of predictions, Science 4, 453-454.
        https://doi.org/10.1126/science.ns-4.93.453-a
    Hanssen & Kuipers 1965, On the relationship between the frequency of rain and various
    meteorological parameters,
        Mededelingen en Verhandelingen 81, KNMI.
    Ferro & Stephenson 2011, Extremal dependence indices: improved verification measures for
    deterministic forecasts of rare
        binary events, Weather and Forecasting 26, 699-713. https://doi.org/10.1175/WAF-D-10-05030.1
    Shi et al. 2015, Convolutional LSTM Network: A Machine Learning Approach for Precipitation
    Nowcasting.
        https://arxiv.org/abs/1506.04214
    Shi et al. 2017, Deep Learning for Precipitation Nowcasting: A Benchmark and A New Model.
    https://arxiv.org/abs/1706.03458
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Scores: TypeAlias = npt.NDArray[np.float64]
Sums: TypeAlias = Mapping[Any, Any]
"""Sums by name, arrays that broadcast against each other: a dict, or a dataset."""

ERROR_SUMS = (
    "squared_error", "absolute_error", "error", "forecast_sum", "observed_sum", "forecast_square",
    "observed_square", "product", "weighted_squared_error", "weighted_absolute_error",
)  # fmt: skip
"""What `continuous.error_sums` returns for each frame, by name and in this order."""
_ROUNDING = 1e-12
"""Fraction of a sum of squares that counts as rounding in a variance."""


class Table(Protocol):
    """Input of a categorical score: `Counts`, `Contingency`, or anything with these four."""

    @property
    def hits(self) -> Any: ...
    @property
    def false_alarms(self) -> Any: ...
    @property
    def misses(self) -> Any: ...
    @property
    def correct_negatives(self) -> Any: ...


class Contingency(NamedTuple):
    """A 2×2 table, or arrays of them.

    Attributes:
        hits, false_alarms, misses, correct_negatives: counts of any shape.

    Example:
        >>> Contingency(28, 72, 23, 2680).hits
        28
    """

    hits: Any
    false_alarms: Any
    misses: Any
    correct_negatives: Any


def csi(table: Table) -> Scores:
    """Critical success index, threat score: a / (a + b + c).

    Range 0 to 1, perfect 1. Wilks 2019; Shi et al. 2017.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(csi(Contingency(28, 72, 23, 2680))), 3)
        0.228
    """
    a, b, c, _ = _abcd(table)
    return ratio(a, a + b + c)


def hss(table: Table) -> Scores:
    """Heidke skill score: 2(ad − bc) / ((a + c)(c + d) + (a + b)(b + d)).

    Range −1 to 1, perfect 1, chance 0. Wilks 2019.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(hss(Contingency(28, 72, 23, 2680))), 3)
        0.355
    """
    a, b, c, d = _abcd(table)
    return ratio(2 * (a * d - b * c), (a + c) * (c + d) + (a + b) * (b + d))


def pod(table: Table) -> Scores:
    """Probability of detection: a / (a + c).

    Range 0 to 1, perfect 1. Wilks 2019, hit rate. NaN without observed events.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(pod(Contingency(28, 72, 23, 2680))), 3)
        0.549
    """
    a, _, c, _ = _abcd(table)
    return ratio(a, a + c)


def far(table: Table) -> Scores:
    """False alarm ratio: b / (a + b).

    Range 0 to 1, perfect 0. Wilks 2019. NaN without forecast events.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(far(Contingency(28, 72, 23, 2680))), 3)
        0.72
    """
    a, b, _, _ = _abcd(table)
    return ratio(b, a + b)


def pofd(table: Table) -> Scores:
    """Probability of false detection, the false alarm rate: b / (b + d).

    Range 0 to 1, perfect 0. Wilks 2019.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(pofd(Contingency(28, 72, 23, 2680))), 3)
        0.026
    """
    _, b, _, d = _abcd(table)
    return ratio(b, b + d)


def ets(table: Table) -> Scores:
    """Equitable threat score, Gilbert: (a − r) / (a + b + c − r), r = (a + b)(a + c) / n.

    Range −1/3 to 1, perfect 1. Wilks 2019.

    Computed multiplied by n, because n(a − r) = ad − bc exactly: so a table with only hits is 0/0,
    without any rounding.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(ets(Contingency(28, 72, 23, 2680))), 3)
        0.216
    """
    a, b, c, d = _abcd(table)
    skill = a * d - b * c
    return ratio(skill, skill + (a + b + c + d) * (b + c))


def frequency_bias(table: Table) -> Scores:
    """Number of forecast events per observed event: (a + b) / (a + c).

    Range 0 to ∞, perfect 1. Wilks 2019. NaN without observed events.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(frequency_bias(Contingency(28, 72, 23, 2680))), 3)
        1.961
    """
    a, b, c, _ = _abcd(table)
    return ratio(a + b, a + c)


def accuracy(table: Table) -> Scores:
    """Fraction of correct pixels: (a + d) / n.

    Range 0 to 1, perfect 1. Wilks 2019, proportion correct.

    For a rare event, a forecast that never predicts it scores near 1: Finley's 0.966 is less than
    the 0.982 of never forecasting a tornado.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(accuracy(Contingency(28, 72, 23, 2680))), 3)
        0.966
    """
    a, b, c, d = _abcd(table)
    return ratio(a + d, a + b + c + d)


def pss(table: Table) -> Scores:
    """Peirce skill score: a / (a + c) − b / (b + d) = (ad − bc) / ((a + c)(b + d)).

    Range −1 to 1, perfect 1, chance 0.

    POD − POFD, also called Hanssen & Kuipers' discriminant and the true skill statistic (Peirce
    1884; Hanssen & Kuipers 1965; Wilks 2019). NaN without observed events, or without observed
    non-events.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(pss(Contingency(28, 72, 23, 2680))), 3)
        0.523
    """
    a, b, c, d = _abcd(table)
    return ratio(a * d - b * c, (a + c) * (b + d))


def sedi(table: Table) -> Scores:
    """Symmetric extremal dependence index, of H = a / (a + c) and F = b / (b + d):

        (ln F − ln H − ln(1 − F) + ln(1 − H)) / (ln F + ln H + ln(1 − F) + ln(1 − H))

    Range −1 to 1, perfect 1, chance 0 (Ferro & Stephenson 2011). Unlike the others it does not tend
    to 0 as an event becomes rare. NaN if a, b, c or d is 0, because a logarithm is then infinite:
    so a perfect forecast is approached, never reached.

    Args:
        table: counts a, b, c, d of any shape: hits, false alarms, misses, correct negatives.

    Returns:
        The score, of that shape; NaN if undefined.

    Example:
        >>> round(float(sedi(Contingency(28, 72, 23, 2680))), 3)
        0.753
    """
    a, b, c, d = _abcd(table)
    full = (a > 0) & (b > 0) & (c > 0) & (d > 0)
    a, b, c, d = (np.where(full, count, 1.0) for count in (a, b, c, d))
    h, not_h = np.log(a / (a + c)), np.log(c / (a + c))
    f, not_f = np.log(b / (b + d)), np.log(d / (b + d))
    return np.where(full, (f - h - not_f + not_h) / (f + h + not_f + not_h), np.nan)


def mse(sums: Sums) -> Scores:
    """Mean squared error: Σ (f − o)² / n, mm² h⁻².

    Range 0 to ∞, perfect 0. The Rainfall-MSE of Shi et al. 2015.
    """
    return _mean(sums, "squared_error")


def rmse(sums: Sums) -> Scores:
    """Root mean squared error: √(Σ (f − o)² / n), mm/h.

    Range 0 to ∞, perfect 0. Wilks 2019. The root is taken once, at the end.
    """
    return np.sqrt(mse(sums))


def mae(sums: Sums) -> Scores:
    """Mean absolute error: Σ |f − o| / n, mm/h. Range 0 to ∞, perfect 0. Wilks 2019."""
    return _mean(sums, "absolute_error")


def mean_error(sums: Sums) -> Scores:
    """Mean error: Σ (f − o) / n, mm/h.

    Range −∞ to ∞, perfect 0; positive is too wet. Wilks 2019, bias.
    """
    return _mean(sums, "error")


def pearson(sums: Sums) -> Scores:
    """Pearson's correlation: Σ (f − f̄)(o − ō) / √(Σ (f − f̄)² Σ (o − ō)²), the means over all n
    pixels. Range −1 to 1, perfect 1.

    Wilks 2019. NaN if either field is constant. Computed from sums: Σ (f − f̄)² = Σf² − (Σf)² / n,
    with a rounding of about 1e-15 of Σf². Rain, mostly dry, has a far larger variance. A variance
    below 1e-12 of Σf² (a standard deviation of a millionth of the mean) counts as constant.
    """
    n, f, o = (as_float64(sums[name]) for name in ("pixels", "forecast_sum", "observed_sum"))
    ff, oo, fo = (
        as_float64(sums[name]) for name in ("forecast_square", "observed_square", "product")
    )
    covariance = fo - f * ratio(o, n)
    f_variance, o_variance = ff - f * ratio(f, n), oo - o * ratio(o, n)
    f_variance = np.where(f_variance > _ROUNDING * ff, f_variance, 0.0)
    o_variance = np.where(o_variance > _ROUNDING * oo, o_variance, 0.0)
    return np.clip(ratio(covariance, np.sqrt(f_variance) * np.sqrt(o_variance)), -1.0, 1.0)


def correlation(sums: Sums) -> Scores:
    """Correlation of Shi et al. 2015, uncentred: Σ f·o / √(Σf² Σo²).

    Range 0 to 1 for rates, perfect 1. NaN if either field is all dry.

    The means are not subtracted, so it is usually larger than Pearson's. The paper computes it for
    each frame and averages, with a small ε in the divisor that makes a dry frame 0; here it is
    computed once, over the pixels of all frames.
    """
    ff, oo, fo = (
        as_float64(sums[name]) for name in ("forecast_square", "observed_square", "product")
    )
    return np.minimum(ratio(fo, np.sqrt(ff) * np.sqrt(oo)), 1.0)


def b_mse(sums: Sums) -> Scores:
    """Balanced squared error of a frame: Σ w(o) (f − o)² / frames, mm² h⁻².

    Range 0 to ∞, perfect 0. Shi et al. 2017.

    w = 1, 1, 2, 5, 10, 30 from o = 0, 0.5, 2, 5, 10, 30 mm/h. It is a sum over the pixels of a
    frame, so it grows with the grid. The errors are those of rates. Shi et al. print those of pixel
    values (dBZ + 10) / 70, whose numbers differ.
    """
    return _of_frame(sums, "weighted_squared_error")


def b_mae(sums: Sums) -> Scores:
    """Balanced absolute error of a frame: Σ w(o) |f − o| / frames, mm/h.

    Range 0 to ∞, perfect 0. As `b_mse`.
    """
    return _of_frame(sums, "weighted_absolute_error")


def ssim(sums: Sums) -> Scores:
    """Structural similarity, mean over frames: Σ SSIM / frames.

    Range −1 to 1, perfect 1. `structure.ssim_sums` has the formula of a frame.
    """
    return _of_frame(sums, "ssim")


def fss(difference: Any, reference: Any) -> Scores:
    """Fractions skill score: 1 − Σ (p_f − p_o)² / Σ (p_f² + p_o²).

    Range 0 to 1, perfect 1. NaN without any event.

    p_f and p_o are the fractions of events in the windows around each pixel. `difference` and
    `reference` are arrays of one shape, from `neighbourhood.fss_sums`, added over cases: they use
    counts instead of fractions, because the divisor cancels. `fss_sums` also describes the border.
    Roberts & Lean call a scale useful if FSS ≥ 1/2 + (observed fraction of pixels with events) / 2.

    Roberts & Lean 2008, Monthly Weather Review 136, 78-97. https://doi.org/10.1175/2007MWR2123.1
    """
    difference, reference = as_float64(difference), as_float64(reference)
    return ratio(reference - difference, reference)


def _abcd(table: Table) -> tuple[Scores, Scores, Scores, Scores]:
    return (
        as_float64(table.hits),
        as_float64(table.false_alarms),
        as_float64(table.misses),
        as_float64(table.correct_negatives),
    )


def _mean(sums: Sums, name: str) -> Scores:
    return ratio(as_float64(sums[name]), as_float64(sums["pixels"]))


def _of_frame(sums: Sums, name: str) -> Scores:
    return ratio(as_float64(sums[name]), as_float64(sums["frames"]))


def as_float64(values: Any) -> Scores:
    """Return numbers of any kind in double precision."""
    return np.asarray(values).astype(np.float64)


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Scores:
    """Return the quotient, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    quotient = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient
