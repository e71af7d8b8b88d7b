"""Options for reading radar files. No heavy imports, since they are part of the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

ZR = tuple[float, float]
"""a and b of Z = a R^b."""

if TYPE_CHECKING:
    Relation = ZR | None
    Numbers = float | Sequence[float] | None
else:  # OmegaConf does not support a union of number and list; RadarConfig checks the values
    Relation = Numbers = Any


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading files. They are used for what a file does not state; `format`, `units`,
    `missing_value` and `dry_value` override the file.

    missing_value, dry_value: stored numbers that mean "not covered", and "no rain".

    Example:
        >>> ReadOptions(units="mm", accumulation_minutes=5).max_rate
        1000.0
    """

    format: str = "auto"
    variable: str | None = None
    units: str | None = None
    accumulation_minutes: float | None = None
    zr: Relation = None
    missing_value: Numbers = None
    dry_value: Numbers = None
    max_rate: float = 1000.0
    above_max_rate: str = "mask"
