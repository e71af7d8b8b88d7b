"""Scores of ensembles, from the sums of `ensembles`, and of probabilities, from those of `ladders`,
which are counted in hundredths like members of an ensemble of 100.

If a divisor is 0 the score is undefined: NaN, never 0 or 1.

Sums are arrays (numpy or torch) with any leading shape, added over anything; scores are float64 of
that leading shape.
    probability: (…, M + 1, 2), pixels with k = 0 … M members at or above the threshold × no event,
        event observed: n0_k, n1_k; n_k = n0_k + n1_k, N1 = Σ_k n1_k, N = Σ_k n_k
    members: m of each forecast, a number or an array that broadcasts against the leading shape.
        If an array holds several forecasts, M is the largest m, and the counts of the others are 0
        beyond their own m, which does not change their scores.
        Errors: DataError if more members were counted.

References:
    Brier 1950, Verification of forecasts expressed in terms of probability, Monthly Weather Review
    78, 1-3. Murphy 1973, A new vector partition of the probability score, Journal of Applied
    Meteorology 12, 595-600. Mason 1982, A model for assessment of weather forecasts, Australian
    Meteorological Magazine 30, 291-303: the ROC. Mason and Graham 2002, Areas beneath the ROC and
    ROL curves, Quarterly Journal of the RMS 128, 2145-2166. Hersbach 2000, Decomposition of the
    CRPS for ensemble prediction systems, Weather and Forecasting 15, 559-570. Hamill 2001,
    Interpretation of rank histograms for verifying ensemble forecasts, Monthly Weather Review 129,
    550-560. Ferro 2014, Fair scores for ensemble forecasts, Quarterly Journal of the RMS 140,
    1917-1923. https://doi.org/10.1002/qj.2270
"""

from typing import Any

import numpy as np

from nowcast.errors import DataError
from nowcast.verification.scores import Scores, as_float64, ratio

_LEAST_SHARE = 0.01
"""Least fraction of the pixels for a tenth of probability to count."""


def crps(error: Any, spread: Any, pixels: Any, members: Any) -> Scores:
    """Continuous ranked probability score: Σ error / N − Σ spread / (m² N), mm/h.

    Range 0 to ∞, perfect 0. Hersbach 2000.

    error, spread: `crps_error` and `crps_spread`; pixels: N. This is exactly the score of the
    distribution that gives 1/m to each member, so it is the mean absolute error if m = 1. For
    probabilities, `ladders.ladder_crps` is the whole sum, and the spread is 0.
    """
    return _crps(error, spread, pixels, as_float64(members) ** 2)


def crps_fair(error: Any, spread: Any, pixels: Any, members: Any) -> Scores:
    """Fair CRPS: Σ error / N − Σ spread / (m (m − 1) N), mm/h.

    Range −∞ to ∞, smallest in expectation if members come from the distribution of the truth. Ferro
    2014.

    The expected score of an infinite ensemble drawn from the same distribution. So it allows to
    compare ensembles of different sizes. NaN if m = 1.
    """
    m = as_float64(members)
    return _crps(error, spread, pixels, m * (m - 1))


def spread_error(pairs: Any, error: Any, ranked: Any) -> Scores:
    """Spread over error of an ensemble: the mean of |x_i − x_j| over that of |x_i − y|.

    Range 0 to ∞, perfect 1: members differ from each other as much as from the observation y. Below
    1 the ensemble is overconfident.
    pairs: Σ_{i<j} |x_i − x_j| / (m (m − 1)); error: `crps_error`; ranked: pixels whose observation
    has a rank. NaN for probabilities and if m = 1.
    """
    has_members = as_float64(ranked) > 0
    return ratio(2 * as_float64(pairs), np.where(has_members, as_float64(error), 0.0))


def brier(probability: Any, members: Any) -> Scores:
    """Brier score: Σ_k (n1_k (1 − k/m)² + n0_k (k/m)²) / N.

    Range 0 to 1, perfect 0. Brier 1950, in its half form; Wilks 2019.
    """
    k, m = _k_m(probability, members)
    n0, n1 = _n0_n1(probability)
    return ratio((n1 * (m - k) ** 2 + n0 * k**2).sum(-1), m[..., 0] ** 2 * (n0 + n1).sum(-1))


def brier_reliability(probability: Any, members: Any) -> Scores:
    """Reliability: Σ_k n_k (k/m − n1_k / n_k)² / N. Range 0 to 1, perfect 0. Murphy 1973.

    brier = reliability − resolution + uncertainty, exactly: an ensemble has only m + 1 different
    probabilities, so no binning is needed.
    """
    k, m = _k_m(probability, members)
    n0, n1 = _n0_n1(probability)
    n = n0 + n1
    return ratio((n * _zero_where_undefined(k / m - ratio(n1, n)) ** 2).sum(-1), n.sum(-1))


def reliability_distance(probability: Any, members: Any) -> Scores:
    """Largest distance from the diagonal of the reliability diagram, in tenths of probability.

    Range 0 to 1, perfect 0. Only tenths (0 to 0.1, …, 0.9 to 1) with at least 1 % of the pixels
    count; in each, the mean forecast probability is compared with the observed frequency.
    """
    given, n, observed = tenths(probability, members)
    enough = (n > 0) & (n >= _LEAST_SHARE * n.sum(-1, keepdims=True))
    distance = np.where(enough, np.abs(given - observed), -1.0).max(-1)
    return np.where(enough.any(-1), distance, np.nan)


def tenths(probability: Any, members: Any) -> tuple[Scores, Scores, Scores]:
    """Return for each tenth of probability, (…, 10): the mean forecast probability, the number of
    pixels, and the observed frequency; NaN if never forecast.
    """
    k, m = _k_m(probability, members)
    n0, n1 = _n0_n1(probability)
    share = k / m
    place = np.minimum(np.floor(10 * k / m), 9)
    inside = [place == tenth for tenth in range(10)]
    pixels, events, sums = (
        np.stack([np.where(one, values, 0.0).sum(-1) for one in inside], axis=-1)
        for values in (n0 + n1, n1, (n0 + n1) * share)
    )
    return ratio(sums, pixels), pixels, ratio(events, pixels)


def brier_resolution(probability: Any) -> Scores:
    """Resolution: Σ_k n_k (n1_k / n_k − N1 / N)² / N.

    Range 0 to the uncertainty; larger is better. Murphy 1973.

    0 for a forecast that is the same everywhere, such as a climatological probability.
    """
    n0, n1 = _n0_n1(probability)
    n = n0 + n1
    apart = ratio(n1, n) - observed_base_rate(probability)[..., None]
    return ratio((n * _zero_where_undefined(apart) ** 2).sum(-1), n.sum(-1))


def brier_uncertainty(probability: Any) -> Scores:
    """Uncertainty: N1 (N − N1) / N², only of the observations. Range 0 to 1/4. Murphy 1973."""
    n0, n1 = (n.sum(-1) for n in _n0_n1(probability))
    return ratio(n1 * n0, (n0 + n1) ** 2)


def observed_base_rate(probability: Any) -> Scores:
    """Fraction of pixels with an observed event: N1 / N. Range 0 to 1."""
    n0, n1 = (n.sum(-1) for n in _n0_n1(probability))
    return ratio(n1, n0 + n1)


def forecast_probability(members: Any, largest: int) -> Scores:
    """Abscissa of the reliability diagram: k/m for k = 0 … `largest`, (…, largest + 1).

    NaN for k > m.
    """
    k, m = np.arange(largest + 1), as_float64(members)[..., None]
    return np.where(k <= m, k / m, np.nan)


def observed_frequency(probability: Any) -> Scores:
    """Ordinate of the reliability diagram: n1_k / n_k, (…, M + 1).

    Range 0 to 1, perfect k/m. Wilks 2019. NaN if never forecast.
    """
    n0, n1 = _n0_n1(probability)
    return ratio(n1, n0 + n1)


def probability_pixels(probability: Any) -> Any:
    """Pixels of each point of the reliability diagram: n_k, (…, M + 1) int64."""
    return np.asarray(probability).sum(-1)


def roc_pod(probability: Any) -> Scores:
    """Probability of detection of 'at least k members', k = 0 … M: Σ_{j ≥ k} n1_j / N1, (…, M + 1).

    Mason 1982.

    1 at k = 0, 0 beyond m; NaN without observed events.
    """
    _, n1 = _n0_n1(probability)
    return ratio(_at_least(n1), n1.sum(-1, keepdims=True))


def roc_pofd(probability: Any) -> Scores:
    """Probability of false detection of 'at least k members', k = 0 … M: Σ_{j ≥ k} n0_j / N0, (…, M
    + 1). Mason 1982.

    1 at k = 0, 0 beyond m; NaN if all pixels have an observed event.
    """
    n0, _ = _n0_n1(probability)
    return ratio(_at_least(n0), n0.sum(-1, keepdims=True))


def roc_area(probability: Any) -> Scores:
    """Area under the ROC curve, by trapezoids from (0, 0) to (1, 1).

    Range 0 to 1, perfect 1, chance 1/2. Mason and Graham 2002.

    Σ_k n0_k (A_k + A_{k+1}) / (2 N0 N1), A_k = Σ_{j ≥ k} n1_j: the probability that, of two pixels
    with and without an observed event, more members forecast the event at the first; ties count
    half. NaN if no pixel has an observed event, or if all have.
    """
    n0, n1 = _n0_n1(probability)
    both_ends = 2 * _at_least(n1) - n1
    return ratio((n0 * both_ends).sum(-1), 2 * n0.sum(-1) * n1.sum(-1))


def rank_frequency(rank: Any, members: Any) -> Scores:
    """Rank histogram: the fraction of pixels whose observation has rank r = 0 … M among the
    members, (…, M + 1). Hamill 2001.

    rank: (…, M + 1, M + 1), pixels by members below and members equal. Perfect is flat, 1 / (m +
    1); NaN for r > m.

    An observation with b members below it and e equal to it is shared among the ranks b … b + e,
    with 1 / (e + 1) each. This is the average of the usual choice of a random rank among ties.
    Pixels where all members equal the observation, nearly always dry ones, would add the same to
    every rank; they are left out, which keeps a flat histogram flat.
    """
    counts = as_float64(rank)
    m = as_float64(members)
    size = counts.shape[-1]
    counts = np.where(np.arange(size) == m[..., None, None], 0.0, counts)
    below, equal, ranks = np.ogrid[:size, :size, :size]
    share = ((below <= ranks) & (ranks <= below + equal)) / (equal + 1)
    shared = counts.reshape(*counts.shape[:-2], size**2) @ share.reshape(size**2, size)
    _check_members(shared, members)
    frequency = ratio(shared, counts.sum((-1, -2))[..., None])
    return np.where(np.arange(size) > m[..., None], np.nan, frequency)


def _crps(error: Any, spread: Any, pixels: Any, pairs: Scores) -> Scores:
    error, spread, n = as_float64(error), as_float64(spread), as_float64(pixels)
    return ratio(error * pairs - spread, n * pairs)


def _n0_n1(probability: Any) -> tuple[Scores, Scores]:
    counts = as_float64(probability)
    return counts[..., 0], counts[..., 1]


def _k_m(probability: Any, members: Any) -> tuple[Scores, Scores]:
    """k, (M + 1,), and m, (…, 1)."""
    pixels = probability_pixels(probability)
    _check_members(pixels, members)
    return np.arange(pixels.shape[-1], dtype=np.float64), as_float64(members)[..., None]


def _check_members(pixels: Any, members: Any) -> None:
    """Errors: DataError if pixels, (…, M + 1), are counted beyond the members of their forecast."""
    if np.any((np.arange(pixels.shape[-1]) > np.asarray(members)[..., None]) & (pixels > 0)):
        raise DataError(
            f"members: some counts are from more than {members} members; give the number that was"
            " counted."
        )


def _at_least(counts: Scores) -> Scores:
    """Return sums over j ≥ k on the last axis."""
    return np.flip(np.flip(counts, -1).cumsum(-1), -1)


def _zero_where_undefined(values: Scores) -> Scores:
    return np.where(np.isnan(values), 0.0, values)
