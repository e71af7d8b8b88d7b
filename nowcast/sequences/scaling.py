"""Scale rain rates in mm/h to a model's input values, and back.

Dry is exactly 0, so zero padding means "no rain".
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nowcast.errors import ConfigError

if TYPE_CHECKING:  # the configuration uses this module without PyTorch
    from torch import Tensor


@dataclass(frozen=True)
class Scaling:
    """An invertible scaling of precipitation rates R ≥ 0 [mm/h] that maps 0 to 0 and `maximum` to
    1.

    kind 'log':    log(1 + R / reference) / log(1 + maximum / reference), logarithmic above
                   `reference`
    kind 'linear': R / maximum

    NaN stays NaN. Rates above `maximum` become more than 1; nothing is clipped.
    """

    kind: str
    maximum: float
    reference: float

    def __post_init__(self) -> None:
        if self.kind not in ("log", "linear"):
            raise ConfigError(f"scaling.kind: {self.kind!r} is unknown; choose 'log' or 'linear'.")
        for name in ("maximum", "reference"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ConfigError(
                    f"scaling.{name}: {getattr(self, name)} is not a rate; give a number above 0"
                    " in mm/h."
                )

    def scale(self, rates: "Tensor") -> "Tensor":
        """Rates in mm/h → scaled values, for any shape."""
        if self.kind == "linear":
            return rates / self.maximum
        return (rates / self.reference).log1p() / math.log1p(self.maximum / self.reference)

    def unscale(self, values: "Tensor") -> "Tensor":
        """Scaled values → rates in mm/h; values below 0 become dry."""
        values = values.clamp(min=0)
        if self.kind == "linear":
            return values * self.maximum
        return self.reference * (values * math.log1p(self.maximum / self.reference)).expm1()
