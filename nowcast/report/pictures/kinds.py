"""Kinds of frames in a row: rates, sums or probabilities, each with its colours."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from nowcast.report.pictures.colours import (
    COLOURS,
    PROBABILITY_CLASSES,
    probability_colours,
    rate_colours,
)

if TYPE_CHECKING:
    from matplotlib.colors import BoundaryNorm, Colormap

Kind = Literal["rate", "amount", "probability"]

UNITS: Mapping[Kind, str] = {"rate": "mm/h", "amount": "mm", "probability": "probability"}
"""The label of each kind's colour scale; rows of these kinds follow in this order."""
BLANK: Mapping[Kind, str] = {
    "rate": "not observed", "amount": "no sum", "probability": "no probability",
}  # fmt: skip
"""The words in place of an absent frame: a film begins before the first sum has ended."""


def colours_of(kind: Kind, colours: str) -> tuple["Colormap", "BoundaryNorm"]:
    """Return the discrete colours of a kind; a sum in mm has the colour of that rate in mm/h."""
    return probability_colours() if kind == "probability" else rate_colours(colours)


def white_of(kind: Kind, colours: str) -> str:
    """Return the meaning of white, for a legend."""
    if kind == "probability":
        return f"probability below {min(PROBABILITY_CLASSES):g}"
    below = f"below {min(COLOURS[colours]):g} {UNITS[kind]}"
    return f"dry, {below}" if kind == "rate" else below
