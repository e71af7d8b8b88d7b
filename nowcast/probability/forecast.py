"""A forecast: rates, and with some methods probabilities."""

from dataclasses import dataclass

from torch import Tensor

from nowcast.probability.ladder import Probabilities


@dataclass(frozen=True)
class Forecast:
    """The forecast of a method.

    Args:
        rates: (b, lead, m, h, w) in mm/h of m members, NaN = missing.
        probabilities: (b, lead, k, h, w) for the same times and pixels; None if the method has
            none.
        members: (b, lead, n, h, w) in mm/h of n members drawn from the probabilities, or without
            probabilities the rates of n models, NaN = missing; None without members.

    Raises:
        ValueError: the fields are not for the same times and pixels.
    """

    rates: Tensor
    probabilities: Probabilities | None = None
    members: Tensor | None = None

    def __post_init__(self) -> None:
        values = self.probabilities.values if self.probabilities is not None else None
        for name, field in (("probabilities", values), ("members", self.members)):
            if field is not None and _times_and_pixels(field) != _times_and_pixels(self.rates):
                raise ValueError(
                    f"{name}: {tuple(field.shape)} must be for the times and pixels of the rates,"
                    f" {tuple(self.rates.shape)}."
                )

    def cpu(self) -> "Forecast":
        """Return the forecast on the CPU."""
        known, members = self.probabilities, self.members
        return Forecast(
            self.rates.cpu(),
            None if known is None else Probabilities(known.thresholds, known.values.cpu()),
            None if members is None else members.cpu(),
        )


def _times_and_pixels(field: Tensor) -> tuple[int, ...]:
    """(b, lead, n, h, w) → b, lead, h, w."""
    return (*field.shape[:2], *field.shape[3:])
