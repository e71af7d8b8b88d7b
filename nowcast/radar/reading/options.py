"""What a user may say about radar files. Nothing heavy is imported: it is part of a
configuration, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

ZR = tuple[float, float]
"""a and b of Z = a R^b."""

if TYPE_CHECKING:
    Relation = ZR | None
    Numbers = float | Sequence[float] | None
else:  # OmegaConf knows no union of a number and a list; RadarConfig checks what it is given
    Relation = Numbers = Any


@dataclass(frozen=True)
class ReadOptions:
    """What a user may say about files: each is for what a file leaves open, but `format` and
    `units`, which overrule the file.

    missing_value, dry_value: numbers as stored that mean "not covered", and "no rain"; both
    overrule what the file calls them.

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
