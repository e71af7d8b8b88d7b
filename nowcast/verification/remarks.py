"""Remarks on the scored cases, stored as sentences in counts and scores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

_KEY = "remarks"

WITH_CUTS = " (cuts)"
"""Added to the name of a forecast whose rates are made with fitted cuts."""

WITH_MEMBERS = " (members)"
"""Added to the name of a forecast for the members drawn from its probabilities."""

AMOUNT_TITLE = "amounts"
"""The attribute of counts and scores of rain sums with their heading."""

CUTS_FITTED_ON = "cuts_fitted_on"
"""The attribute of counts and scores with the days on which cuts were fitted."""


def remarks_attr(remarks: Sequence[str]) -> dict[str, str]:
    """Return remarks as an attribute of counts: one per line, without repetition; {} if none."""
    return {_KEY: "\n".join(dict.fromkeys(remarks))} if remarks else {}


def remarks_of(dataset: "xr.Dataset") -> list[str]:
    """Return the remarks of counts, or of scores made from them."""
    return str(dataset.attrs[_KEY]).split("\n") if _KEY in dataset.attrs else []
