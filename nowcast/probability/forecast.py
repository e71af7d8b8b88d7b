"""A forecast: rates, and with some methods probabilities."""

from dataclasses import dataclass

from torch import Tensor

from nowcast.probability.ladder import Probabilities


@dataclass(frozen=True)
class Forecast:
    """What a method expects of the rates ahead.

    Args:
        rates: (b, lead, m, h, w) in mm/h of m members, NaN = missing.
        probabilities: (b, lead, k, h, w) for the same times and pixels; None if the method gives
            none.

    Raises:
        ValueError: the two are not for the same times and pixels.
    """

    rates: Tensor
    probabilities: Probabilities | None = None

    def __post_init__(self) -> None:
        if self.probabilities is None:
            return
        rates, values = self.rates.shape, self.probabilities.values.shape
        if (*rates[:2], *rates[3:]) != (*values[:2], *values[3:]):
            raise ValueError(
                f"probabilities: {tuple(values)} must be for the times and pixels of the rates,"
                f" {tuple(rates)}."
            )
